#!/bin/sh
# Finds a Python 3.10-3.12 that works and lets it set up .venv (see setup_venv.py).
# PYTHON=python3.11 selects one; otherwise an existing .venv keeps its own.
set -eu
cd "$(dirname "$0")/../.."

works() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    works "$PYTHON" || {
        echo "setup: PYTHON=$PYTHON is not a working Python 3.10, 3.11 or 3.12." >&2
        exit 2
    }
    exec "$PYTHON" tools/dev/setup_venv.py
fi

for candidate in "$(cat .venv/setup/python 2>/dev/null)" python3 python3.12 python3.11 python3.10; do
    if [ -n "$candidate" ] && works "$candidate"; then
        exec "$candidate" tools/dev/setup_venv.py
    fi
done
echo "setup: no working Python 3.10, 3.11 or 3.12 was found; install one, or name it:" \
    "PYTHON=/path/to/python3 make setup." >&2
exit 2
