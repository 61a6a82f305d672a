"""Mutate network files and read them: one clear line or the right network, nothing else.

    python dev/fuzz_files.py --cases 10000

Files of every format are made from a seed (ONNX graphs with convolutions, pooling, residual sums
and shape arithmetic; .npz; .nnet), damaged as bytes or, for ONNX, as protobuf (nodes, attributes,
shapes, tensors, names), and loaded in a process of its own with 4 GB of memory. What loads is
replayed against onnxruntime. A failure is another exception, a message of several lines, more than
5 seconds, a lost process, or a network that differs from what onnxruntime computes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import multiprocessing
import random
import sys
import tempfile
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

SECONDS, MEMORY = 5.0, 4 << 30


def onnx_model(rng: random.Random) -> Any:
    """A small model of the operators that networks have."""
    import onnx
    from onnx import helper, numpy_helper

    draw = np.random.default_rng(rng.randrange(1 << 32))
    nodes: list[Any] = []
    tensors: list[Any] = []

    def weight(*shape: int) -> str:
        name = f"w{len(tensors)}"
        tensors.append(numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name))
        return name

    def ints(*values: int) -> str:
        name = f"w{len(tensors)}"
        tensors.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        out = f"t{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [out], name=f"n{len(nodes)}", **attributes))
        return out

    if rng.random() < 0.6:
        shape, t = [1, 2, 6, 5], "x"
        t = add("Conv", t, weight(3, 2, 3, 3), weight(3), pads=[1, 1, 1, 1])
        if rng.random() < 0.5:
            stats = [weight(3) for _ in range(3)]
            tensors.append(numpy_helper.from_array(np.full(3, 0.5, np.float32), "var"))
            t = add("BatchNormalization", t, *stats, "var")
        skip, t = t, add(rng.choice(["Relu", "LeakyRelu", "Abs"]), t)
        if rng.random() < 0.5:
            t = add("Add", t, skip)
        pool = rng.choice(["MaxPool", "AveragePool"])
        t = add(pool, t, kernel_shape=[2, 2], strides=[2, 2])
        t = add("Reshape", t, ints(1, -1))
        width = 18
    else:
        shape, t, width = [1, 4], "x", 4
        t = add("Sub", t, weight(1, 4))
    for _ in range(rng.randint(1, 2)):
        t = add("Gemm", t, weight(5, width), weight(5), transB=1)
        t = add(rng.choice(["Relu", "LeakyRelu"]), t)
        width = 5
    if rng.random() < 0.3:
        t = add("Concat", t, add("Neg", t), axis=1)
        width = 10
    add("MatMul", t, weight(width, 3))
    nodes[-1].output[0] = "y"
    made = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [made("x", 1, shape)], [made("y", 1, None)], tensors)
    ids = [helper.make_opsetid("", rng.choice([11, 13, 17]))]
    return helper.make_model(graph, opset_imports=ids, ir_version=8) if onnx else None


def damaged_model(rng: random.Random) -> bytes:
    """A model damaged as protobuf."""
    model = onnx_model(rng)
    graph = model.graph
    for _ in range(rng.randint(1, 3)):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        names = [*(n.output[0] for n in graph.node), *(t.name for t in graph.initializer), "x", ""]
        what = rng.randrange(14)
        if what == 0 and len(graph.node) > 1:
            graph.node.remove(node)
        elif what == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        elif what == 2:
            node.op_type = rng.choice(
                ["Relu", "Sigmoid", "MaxPool", "Conv", "Concat", "Slice", "Pad", "Transpose", "Foo"]
            )
        elif what == 3 and len(graph.initializer) > 1:
            graph.initializer.remove(tensor)
        elif what == 4 and tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(
                [0, -1, 1, 7, 1 << 31, 1 << 62]
            )
        elif what == 5 and tensor.raw_data:
            bad = rng.choice([np.nan, np.inf, 1e38, 1e-45, 0.0])
            data = bytearray(tensor.raw_data)
            data[:4] = np.float32(bad).tobytes()
            tensor.raw_data = bytes(data)
        elif what == 6:
            tensor.data_type = rng.randrange(0, 18)
        elif what == 7 and node.attribute:
            attribute = rng.choice(node.attribute)
            if attribute.ints:
                at = rng.randrange(len(attribute.ints))
                attribute.ints[at] = rng.choice([0, -1, 2, 3, 1 << 40])
            else:
                attribute.i = rng.choice([-1, 0, 1, 5, 1 << 40])
                attribute.f = rng.choice([float("nan"), float("inf"), -2.0, 0.5])
        elif what == 8 and node.attribute:
            node.attribute.remove(rng.choice(node.attribute))
        elif what == 9:
            node.output[0] = rng.choice(names)
        elif what == 10:
            dims = graph.input[0].type.tensor_type.shape.dim
            rng.choice(dims).dim_value = rng.choice([0, -3, 2, 100, 1 << 40])
        elif what == 11:
            model.opset_import[0].version = rng.choice([0, 6, 7, 9, 23, 24, 1 << 40])
        elif what == 12:
            graph.node.append(node)
        else:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    return bytes(model.SerializeToString())


def honest_file(rng: random.Random) -> tuple[str, bytes]:
    """Suffix and bytes of a good file."""
    kind = rng.randrange(3)
    if kind == 0:
        return "onnx", bytes(onnx_model(rng).SerializeToString())
    draw = np.random.default_rng(rng.randrange(1 << 32))
    w, b = [draw.normal(size=s) for s in ((4, 3), (2, 4))], [draw.normal(size=n) for n in (4, 2)]
    if kind == 1:
        buffer = io.BytesIO()
        np.savez(buffer, W0=w[0], b0=b[0], W1=w[1], b1=b[1])
        return "npz", buffer.getvalue()
    rows = ["// a comment", "2,3,2,4", "3,4,2", "0", "-1,-1,-1", "1,1,1", "0,0,0,0", "1,1,1,1"]
    for table, offset in zip(w, b, strict=True):
        rows += [",".join(map(repr, row)) for row in table.tolist()]
        rows += [repr(v) for v in offset.tolist()]
    return "nnet", "\n".join(row + "," for row in rows).encode()


def damaged_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat, insert or blank some bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at, size = rng.randrange(len(out)), rng.randint(1, 16)
        what = rng.randrange(6)
        if what == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del out[at:]
        elif what == 2:
            del out[at : at + size]
        elif what == 3:
            out[at:at] = out[max(0, at - size) : at]
        elif what == 4:
            out[at:at] = rng.randbytes(size)
        else:
            out[at : at + size] = bytes([rng.choice((0, 255))]) * len(out[at : at + size])
    return bytes(out)


def make(seed: int) -> tuple[str, bytes]:
    """Suffix and bytes of a damaged file."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        data, suffix = damaged_model(rng), "onnx"
    else:
        suffix, data = honest_file(rng)
        data = damaged_bytes(rng, data)
    if suffix == "onnx" and rng.random() < 0.1:
        packed = gzip.compress(data)
        return "onnx.gz", damaged_bytes(rng, packed) if rng.random() < 0.5 else packed
    return suffix, data


def serve(connection: Connection, folder: str) -> None:
    """Load files as they come; send back what happened to each."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import os

    os.environ["XDG_CACHE_HOME"] = folder
    warnings.simplefilter("ignore")
    from plverify.errors import InputError
    from plverify.network import load

    while True:
        seed = connection.recv()
        suffix, data = make(seed)
        path = Path(folder, f"{seed}.{suffix}")
        path.write_bytes(data)
        try:
            load(path)
            answer = "loaded"
        except InputError as error:
            text = str(error)
            answer = "refused"
            if "\n" in text or len(text) > 2000 or not text:
                answer = f"message: {text[:200]!r}"
            elif "the import is wrong" in text:
                answer = f"different: {text}"
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        path.unlink()
        connection.send(answer)


class Worker:
    """A process that loads files, replaced when it is lost or slow."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.fresh = True

    def load(self, seed: int) -> str:
        """What happened to the file of a seed."""
        self.connection.send(seed)
        # The first one pays for the imports.
        if not self.connection.poll(SECONDS + (60 if self.fresh else 0)):
            self.process.kill()
            self.start()
            return f"more than {SECONDS} s"
        self.fresh = False
        try:
            return str(self.connection.recv())
        except EOFError:
            self.start()
            return "the process died"


def main() -> int:
    """Run the cases; exit code 1 if any failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    counts = {"loaded": 0, "refused": 0}
    failures = 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(folder)
        for seed in range(options.seed, options.seed + options.cases):
            answer = worker.load(seed)
            if answer in counts:
                counts[answer] += 1
            else:
                failures += 1
                print(f"seed {seed} ({make(seed)[0]}): {answer}", flush=True)
        worker.process.kill()
    spent = time.monotonic() - start
    print(f"{options.cases} files in {spent:.0f} s: {counts}, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
