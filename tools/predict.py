"""Find objects on photographs and draw their contours: python tools/predict.py PHOTO ..."""

from mmlevelset.experiments.prediction.command import main

if __name__ == "__main__":
    main()
