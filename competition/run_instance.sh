#!/usr/bin/env bash
# Answer one instance. Arguments: v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT
set -eu
if [ "${1-}" != v1 ] || [ $# -ne 6 ]; then
    echo "expected v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT, got '$*'" >&2
    exit 1
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONSAFEPATH=1 exec "${PLVERIFY_PYTHON:-$here/.venv/bin/python}" -m plverify compete "$3" "$4" "$5" --timeout "$6"
