"""The messages of the ONNX format, without importing the package ``onnx``.

Its ``__init__`` imports the checker, the composer, the parser and more: 0.1 s, as long as a small
network takes from the start of the process to the verdict. The messages are one generated module
of it, which reads nothing but protobuf; it is loaded from its file, under its own name, so that a
later ``import onnx`` finds the same classes.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from plverify.errors import MissingExtra

_NAME = "onnx.onnx_ml_pb2"


def messages() -> ModuleType:
    """The module that has ``ModelProto``, ``ValueInfoProto`` and the others.

    Raises
    ------
    MissingExtra
        If onnx is not installed.
    """
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    package = importlib.util.find_spec("onnx")
    if package is None:
        raise MissingExtra("onnx", "reading ONNX files")
    for folder in package.submodule_search_locations or ():
        spec = importlib.util.spec_from_file_location(_NAME, f"{folder}/onnx_ml_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except FileNotFoundError:
            continue
        return sys.modules.setdefault(_NAME, module)
    return importlib.import_module("onnx")  # packaged in another way
