"""Compare a network with a dense CRF: python tools/dense_crf.py CONFIG CHECKPOINT [options]."""

from mmlevelset.experiments.dense_crf import main

if __name__ == "__main__":
    main()
