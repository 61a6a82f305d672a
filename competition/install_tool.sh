#!/usr/bin/env bash
# Install plverify into competition/.venv. Argument: v1. PYTHON names the interpreter, default python3.
set -eu
if [ "${1-}" != v1 ]; then
    echo "expected the version string v1, got '${1-}'" >&2
    exit 1
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"${PYTHON:-python3}" -m venv "$here/.venv"
"$here/.venv/bin/python" -m pip install --quiet --upgrade pip
"$here/.venv/bin/python" -m pip install --quiet "$here/.."
PYTHONSAFEPATH=1 "$here/.venv/bin/python" -m plverify selftest --cases 5
