"""The benchmark cases: networks, domains, region counts that are known, and the goals.

Networks are made here, from a seed, by the bits of PyTorch's default initialisation:
``torch.manual_seed(seed)`` followed by ``nn.Linear`` layers in order. That needs no PyTorch: its
CPU generator is the Mersenne Twister, a float32 uniform number takes 24 bits of one output, and the
scaling to ``[-bound, bound]`` is one fused multiply-add (compared with the files of PyTorch itself:
all weights equal). So the counts are those that other tools reported for these networks. The slices
of MNIST and LeNet are read from files and left out without them.

Where a count comes from is written beside it:

* ``peers``: at least two independent public or reference methods agree on it;
* ``reference``: `plverify.reference`, which shares no code and no algorithm with the engine;
* ``both counts``: the engine's answer, by counting sections and by splitting cells;
* ``both engines``: the engine's answer, with cells that have vertices and with half-spaces;
* ``checked proof``: the engine's answer, its proof accepted by `plverify.checker`.

Goals are CPU seconds of one thread for a count, on a 2-core Xeon with AVX-512 (2 MiB of L2 a core);
`best` is the best public tool's figure there, one thread as well (in two dimensions SyReNN, C++).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plverify.domain import Box, Domain, Slice, Space
from plverify.network import Network, load

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "regions"
"""Where files of networks are looked for."""
ACAS = "../vnncomp/acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx.gz"
ACAS_CENTRE = ("-0.301041984", "0", "0.496690162", "0.4", "0.4")
"""Of the box of the competition's prop_3."""
ACAS_RANGES = ("1.008280646", "0.999999792", "0.999999792", "1", "1")
"""Upper less lower bounds of the inputs for which the networks are made."""


@dataclass(frozen=True)
class Case:
    """A network on a domain.

    Attributes
    ----------
    name : str
    sizes : tuple of int
        Inputs, hidden widths, outputs.
    domain : str
        ``box`` is ``[-1, 1]^n``, ``plane`` all of R^n, ``slice`` the plane in the case's file,
        ``acas`` 5 % of each input's range about the centre of prop_3.
    regions : int
        The number of activation regions.
    source : str
        Who says so; see the module's text.
    goal, best : float, optional
        CPU seconds.
    quick : bool
        Whether it takes less than about 20 ms, so that ``--quick`` runs it.
    slope : float
        Of the units at ``z <= 0``.
    biased : bool
        Whether there are biases; without them all cells are cones and many meet in one point.
    file : str, optional
        Where the weights are read from, instead of being made; the slice is in the ``.npz`` file of
        the same name.
    plane : str
        Which array of that file spans the slice.
    listed : bool
        Whether the regions are few enough to be listed, as well.
    """

    name: str
    sizes: tuple[int, ...]
    domain: str
    regions: int
    source: str
    goal: float | None = None
    best: float | None = None
    quick: bool = False
    slope: float = 0.0
    biased: bool = True
    file: str | None = None
    plane: str = "P"
    listed: bool = True

    @property
    def available(self) -> bool:
        """Whether the case can be made here."""
        return self.file is None or (DATA / self.file).is_file()

    def network(self) -> Network:
        """The network; biases of an unbiased case are drawn and thrown away."""
        if self.file is not None:
            return load(DATA / self.file)
        layers = torch_layers(self.sizes)
        biases = [b if self.biased else None for _, b in layers]
        return Network.from_arrays([w for w, _ in layers], biases, self.slope)

    def make_domain(self) -> Domain:
        """The domain."""
        n = self.sizes[0]
        if self.domain == "plane":
            return Space(n)
        if self.domain == "box":
            return Box(-1, 1, n)
        if self.domain == "acas":
            middle = [Fraction(v) for v in ACAS_CENTRE]
            half = [Fraction(v) / 40 for v in ACAS_RANGES]
            sides = list(zip(middle, half, strict=True))
            return Box([c - h for c, h in sides], [c + h for c, h in sides])
        assert self.file is not None
        with np.load((DATA / self.file).with_suffix(".npz")) as data:
            basis = data[self.plane]
            return Slice(data["c"].ravel(), basis, Box(-1, 1, basis.shape[1]))

    def save(self, path: Path) -> None:
        """Write the network as ``W0, b0, ...`` for other tools."""
        arrays: dict[str, NDArray[Any]] = {}
        for k, (weight, bias) in enumerate(torch_layers(self.sizes)):
            arrays[f"W{k}"], arrays[f"b{k}"] = weight, bias if self.biased else 0 * bias
        np.savez(path, allow_pickle=False, **arrays)


def torch_layers(sizes: tuple[int, ...], seed: int = 0) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """``(W, b)`` in float32 of ``nn.Linear`` layers of these sizes after ``manual_seed(seed)``."""
    generator = np.random.MT19937()
    generator._legacy_seeding(seed)
    layers = []
    for n, m in pairwise(sizes):
        gain = math.sqrt(2.0 / (1.0 + math.sqrt(5.0) ** 2))
        weight = uniform(generator, (m, n), math.sqrt(3.0) * (gain / math.sqrt(n)))
        layers.append((weight, uniform(generator, (m,), 1.0 / math.sqrt(n))))
    return layers


def uniform(generator: np.random.MT19937, shape: tuple[int, ...], bound: float) -> NDArray[Any]:
    """What ``tensor.uniform_(-bound, bound)`` puts into a float32 tensor of this shape."""
    draws = np.asarray(generator.random_raw(math.prod(shape))) & 0xFFFFFF
    low, high = np.float32(-bound), np.float32(bound)
    # Both factors have 24 bits: the product is exact in float64, as it is in the fused operation.
    fused = draws * 2.0**-24 * np.float64(high - low) + np.float64(low)
    return fused.astype(np.float32).reshape(shape)


def deep(inputs: int, width: int, depth: int, outputs: int = 1) -> tuple[int, ...]:
    """Sizes of a network with `depth` hidden layers of one width."""
    return (inputs, *(width,) * depth, outputs)


CASES = (
    Case("2-16-16-1", deep(2, 16, 2), "box", 127, "peers", best=0.0008, quick=True),
    Case("2-32x3-1", deep(2, 32, 3), "box", 1180, "peers", best=0.0049, quick=True),
    Case("2-64x3-1", deep(2, 64, 3), "box", 6668, "peers", 0.003, 0.035, quick=True),
    Case("2-128x3-1", deep(2, 128, 3), "box", 20714, "peers", 0.018, 0.22),
    Case("2-256x3-1", deep(2, 256, 3), "box", 79783, "peers", 0.15, 1.88),
    Case(
        "mnist slice",
        deep(784, 256, 3, 10),
        "slice",
        51828,
        "peers",
        0.10,
        1.24,
        file="mnist_mlp_784_256_256_256_10.npz",
    ),
    Case(
        "lenet small slice",
        (784, 4704, 1176, 1600, 400, 120, 84, 10),
        "slice",
        6331,
        "peers",
        0.05,
        file="lenet_1x28x28.onnx",
        plane="P_small",
    ),
    Case(
        "lenet slice",
        (784, 4704, 1176, 1600, 400, 120, 84, 10),
        "slice",
        76682,
        "peers",
        0.5,
        file="lenet_1x28x28.onnx",
    ),
    Case("3-16-16-1", deep(3, 16, 2), "box", 1276, "peers", 0.002, 0.018, quick=True),
    Case("3-32-32-1", deep(3, 32, 2), "box", 11512, "peers", 0.015, 0.18, quick=True),
    Case("3-64-64-1", deep(3, 64, 2), "box", 93425, "both counts", 0.25, 3.3),
    Case("4-16-16-1", deep(4, 16, 2), "box", 6658, "peers", 0.01, 0.062, quick=True),
    Case("6-16-16-1", deep(6, 16, 2), "box", 35227, "both counts", 0.13, 1.27),
    Case("8-16-1", deep(8, 16, 1), "box", 16730, "peers", 0.15, 1.8),
    Case("10-12-12-1", deep(10, 12, 2), "box", 95492, "both counts", 2.0),
    Case(
        "ACAS Xu 1_1, 5 %",
        deep(5, 50, 6, 5),
        "acas",
        628623,
        "both engines",
        12.6,
        file=ACAS,
        listed=False,
    ),
    Case("2-32x10-1", deep(2, 32, 10), "box", 1599, "reference", quick=True),
    Case("2-256x3-1 no bias", deep(2, 256, 3), "box", 1594, "checked proof", biased=False),
    Case("2-32x3-1 leaky", deep(2, 32, 3), "box", 1235, "reference", quick=True, slope=0.01),
    Case("2-64x3-1 leaky", deep(2, 64, 3), "box", 6674, "reference", slope=0.01),
    Case("1-256x3-1", deep(1, 256, 3), "box", 371, "reference", quick=True),
    Case("2-16-16-1 plane", deep(2, 16, 2), "plane", 572, "peers", quick=True),
    Case("2-64x3-1 plane", deep(2, 64, 3), "plane", 20550, "reference"),
)


def find(name: str) -> Case:
    """The case of this name.

    Raises
    ------
    KeyError
        If there is none.
    """
    return {case.name: case for case in CASES}[name]
