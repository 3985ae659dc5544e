#!/bin/sh
# Runs the benchmarks of mmlevelset.ops on a GPU, one after another:
#   sh tools/benchmarks/gpu.sh [FOLDER]      also writes FOLDER/benchmarks.md (default: work_dirs)
# It needs this repository, torch, NumPy and triton. Triton's first launch needs a C compiler and Python's headers.
# The tree filter also needs SciPy. A red check ends its benchmark, not the others. Then the exit status is 1.
set -u
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" # the package need not be installed
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
    run tree_filter.py # compares with SciPy
fi
exit "$failed"
