#!/bin/sh
# The benchmarks of mmlevelset.ops on a GPU, one after another. Needs torch, triton (and for its first launch a C
# compiler with Python's headers) and this repository, and for one of them SciPy:
#   sh tools/benchmarks/gpu.sh [FOLDER]      writes FOLDER/benchmarks.md as well (default: work_dirs)
# A red check ends that benchmark, not the others; the exit status says whether there was one.
set -u
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" # runs without an installation
python=${PYTHON:-python3}
out=${1:-work_dirs}/benchmarks.md
mkdir -p "$(dirname "$out")"
: >"$out"
failed=0

run() {
    printf '\n## %s\n\n' "$*" | tee -a "$out"
    log=$(mktemp)
    if ! "$python" "tools/benchmarks/$@" --device cuda >"$log" 2>&1; then
        failed=1
    fi
    tee -a "$out" <"$log"
    rm -f "$log"
}

run evolution.py --regions 100 --dtype bfloat16 --rounds 21
run evolution.py --regions 100 --dtype float32 --rounds 21
run evolution.py --regions 100 --dtype bfloat16 --channels 67 --rounds 21
run region_energy.py
run signed_distance.py
run chan_vese.py
if "$python" -c "import scipy"; then
    run tree_filter.py # compared with SciPy
fi
exit "$failed"
