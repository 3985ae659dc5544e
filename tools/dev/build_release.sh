#!/bin/sh
# Builds and checks what a release has: dist/ (wheel, sdist) and build/release/ (weights, SHA256SUMS).
# It needs build, hatchling, twine and check-wheel-contents. PYTHON names the interpreter.
set -eu
cd "$(dirname "$0")/../.."
python="${PYTHON:-python}"
rm -rf dist build/release
"$python" -m build --no-isolation
"$python" -m twine check --strict dist/*
"$python" -m check_wheel_contents dist/*.whl
mkdir -p build/release
cp weights/*.pth weights/*.md build/release/
rm build/release/README.md
# sha256sum -c SHA256SUMS checks the files that lie beside it.
{ (cd dist && sha256sum -- *) && (cd weights && sha256sum -- *.pth); } >build/release/SHA256SUMS
cat build/release/SHA256SUMS
