#!/usr/bin/env bash
# Read one instance before its clock starts. Arguments: v1 CATEGORY ONNX VNNLIB
set -eu
if [ "${1-}" != v1 ] || [ $# -ne 4 ]; then
    echo "expected v1 CATEGORY ONNX VNNLIB, got '$*'" >&2
    exit 1
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONSAFEPATH=1 exec "${PLVERIFY_PYTHON:-$here/.venv/bin/python}" -m plverify compete "$3" "$4"
