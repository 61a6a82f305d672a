"""Norms of layers: dense, convolutions of every kind, poolings; products along paths."""

from __future__ import annotations

import subprocess
import sys
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import plverify as pv
from plverify.exact_array import ExactArray, ExactRows
from plverify.gain.circular import Lattice
from plverify.gain.operators import Operator, node_norms
from plverify.gain.product import PathProduct, matrix_above
from plverify.gain.spectral import is_definite, largest_above, norm_bounds, schur_above
from plverify.network import Network
from plverify.nodes import Conv, Dense, Linear, Sparse

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lipadv"


def first_node(module: Any, shape: tuple[int, ...]) -> Any:
    net = pv.load(nn.Sequential(module).eval(), input_shape=shape)
    assert len(net.nodes) == 1
    return net.nodes[0]


CONVOLUTIONS = [
    (nn.Conv1d(2, 3, 5, stride=3, padding=2), (2, 20)),
    (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 6)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
    (nn.Conv2d(2, 3, 3, padding=1, stride=2, padding_mode="circular"), (2, 6, 6)),
    (nn.Conv2d(2, 4, 3, stride=2, padding=1), (2, 7, 5)),
    (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), (4, 8, 9)),
    (nn.Conv2d(1, 1, 7, padding=3), (1, 3, 3)),
    (nn.Conv2d(3, 8, 11, stride=4, padding=2), (3, 40, 40)),
    (nn.Conv2d(2, 2, (1, 4), stride=(2, 3)), (2, 5, 13)),
    (nn.Conv3d(2, 2, 3, padding=1), (2, 4, 4, 4)),
    (nn.Conv3d(1, 2, (3, 2, 3), stride=(2, 1, 2)), (1, 5, 4, 6)),
    (nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1), (2, 4, 4)),
    (nn.AvgPool2d(3, 2), (2, 7, 7)),
    (nn.AdaptiveAvgPool2d(3), (2, 7, 7)),
    (nn.BatchNorm2d(3), (3, 4, 4)),
]


@pytest.mark.parametrize(("module", "shape"), CONVOLUTIONS, ids=str)
def test_against_the_matrix(module: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_()
    node = first_node(module, shape)
    assert isinstance(node, Linear)
    size = prod(shape)
    matrix = node.matrix(size).toarray()
    found = node_norms(node, size)
    spectral = np.linalg.norm(matrix, 2)
    assert found.l2[0] <= spectral * (1 + 1e-13)
    assert spectral <= found.l2[1] * (1 + 1e-13)
    assert found.l2[1] <= found.l2[0] * (1 + 1e-9)
    for ends, axis in ((found.l1, 0), (found.linf, 1)):
        truth = np.abs(matrix).sum(axis=axis).max()
        assert ends[0] <= truth * (1 + 1e-13)
        assert truth <= ends[1] * (1 + 1e-13)
        assert ends[1] <= np.nextafter(ends[0], np.inf)


@pytest.mark.parametrize(("module", "shape"), CONVOLUTIONS, ids=str)
def test_bounds_for_large_operators(module: Any, shape: tuple[int, ...]) -> None:
    """The ways that are taken where no Gram matrix fits, on operators that have one."""
    node = first_node(module, shape)
    size = prod(shape)
    spectral = np.linalg.norm(node.matrix(size).toarray(), 2)
    operator = Operator(node, size)
    assert operator._schur_above() >= spectral * (1 - 1e-13)
    assert spectral * (1 - 1e-6) <= operator._lanczos_below() <= spectral * (1 + 1e-13)
    assert operator._column_below() <= spectral * (1 + 1e-13)
    if isinstance(node, Conv):
        symbol = operator._symbol_above()
        assert spectral * (1 - 1e-13) <= symbol <= 2.1 * spectral
        if getattr(module, "padding_mode", "") == "circular":
            assert symbol <= spectral * (1 + 1e-9)


def test_circular_norms_are_those_of_the_symbol() -> None:
    kernel = torch.tensor([[[1.0, -1.0]]])
    for size, mode, truth in ((3, "circular", sqrt(3)), (3, "zeros", sqrt(2 + sqrt(2)))):
        module = nn.Conv1d(1, 1, 2, padding=1 if mode == "zeros" else 0, bias=False)
        if mode == "circular":
            module = nn.Conv1d(1, 1, 2, padding="same", padding_mode=mode, bias=False)
        module.weight.data = kernel.clone()
        node = first_node(module, (1, size))
        low, high = node_norms(node, size).l2
        assert low <= truth * (1 + 1e-12)
        assert high >= truth * (1 - 1e-12)
        if mode == "circular":
            assert abs(high - truth) < 1e-9
    # A table that is no translation has no lattice.
    rng = np.random.default_rng(0)
    assert Lattice.find(rng.integers(0, 7, (3, 5)), 7) is None


def test_an_entry_that_is_read_nowhere() -> None:
    """A kernel larger than its input: what never falls inside adds nothing to the bound."""
    node = first_node(nn.Conv1d(1, 1, 5, padding=2, bias=False), (1, 1))
    assert isinstance(node, Conv)
    lattice = Lattice.find(node.taps, 1)
    assert lattice is not None
    middle = abs(float(node.kernels[0, 0, 2]))
    assert middle <= lattice.above(node.kernels) <= middle * (1 + 1e-9)


@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not there")
def test_zero_padded_convolutions_of_the_digits_network() -> None:
    rows = pv.layer_norms(pv.load(DATA / "conv_pool_digits.onnx"))
    ends = [row.l2 for row in rows if row.kind == "conv"]
    for (low, high), truth in zip(ends, (6.347756793, 5.966089658), strict=True):
        assert low <= truth + 1e-9
        assert high >= truth - 1e-9
        assert high - low <= 1e-10 * high


@pytest.mark.parametrize(
    ("kernel", "stride", "counts"), [(3, 2, 4), (2, 2, 1), (3, 1, 9), (2, 1, 4)]
)
def test_windows_that_overlap(kernel: int, stride: int, counts: int) -> None:
    net = pv.load(nn.Sequential(nn.MaxPool2d(kernel, stride)).eval(), input_shape=(1, 8, 8))
    row = next(row for row in pv.layer_norms(net) if row.kind == "max")
    assert row.l1 == (counts, counts)
    assert row.l2[0] <= sqrt(counts) <= row.l2[1]
    assert row.linf == (1, 1)


def test_units() -> None:
    layers = nn.Linear(2, 2), nn.PReLU(init=3.0), nn.Dropout(), nn.Linear(2, 1)
    net = pv.load(nn.Sequential(*layers).eval(), input_shape=(2,))
    rows = pv.layer_norms(net)
    assert [row.kind for row in rows] == ["dense", "units", "dense"]
    assert rows[1].l1 == rows[1].l2 == rows[1].linf == (3.0, 3.0)


def test_products_see_paths() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return x + self.two(torch.relu(self.one(x)))

    torch.manual_seed(1)
    module = Residual().eval()
    net = pv.load(module, input_shape=(4,))
    for norm, order in (("l1", 1), ("l2", 2), ("linf", np.inf)):
        parts = [
            np.linalg.norm(m.weight.detach().double().numpy(), order)
            for m in (module.one, module.two)
        ]
        bound = PathProduct(net, norm).above
        assert bound <= (1 + parts[0] * parts[1]) * (1 + 1e-9)
        assert bound >= pv.lipschitz(net, pv.Box(-1, 1, 4), norm).lower


def test_one_output_of_a_product() -> None:
    net = Network.from_arrays([[[1, 2], [3, 4]], [[1, 0], [5, 5]]])
    whole = pv.lipschitz(net, None, "linf", "product")
    first = pv.lipschitz(net, None, "linf", "product", 0)
    assert first.upper < whole.upper
    assert first.lower <= first.upper


def test_degenerate_matrices() -> None:
    assert norm_bounds(np.zeros((3, 2))) == (0.0, 0.0)
    for matrix in (np.ones((40, 3)), np.eye(30), np.full((2, 2), 1e-200), np.full((2, 3), 1e200)):
        low, high = norm_bounds(matrix)
        truth = np.linalg.norm(matrix / matrix.max(), 2) * matrix.max()
        assert low <= truth * (1 + 1e-12)
        assert truth <= high * (1 + 1e-12)
        assert high <= low * (1 + 1e-9)
    assert norm_bounds(np.array([[np.inf]]))[1] == np.inf
    assert largest_above(np.zeros((2, 3, 3))) == 0.0
    huge = Dense(0, ExactRows.from_array(ExactArray([[1e308, 1e308, 0.0]])))
    assert node_norms(huge, 2).linf[1] == np.inf
    empty = Sparse((0,), np.array([[-1]]), ExactRows.from_array(ExactArray([[0.0, 1.0]])))
    assert node_norms(empty, 2).l2 == (0.0, 0.0)


def test_a_position_that_is_read_twice() -> None:
    node = Sparse(
        (0,), np.array([[0, 0, 1]]), ExactRows.from_array(ExactArray([[3.0, -2.0, 1.0, 0.0]]))
    )
    found = node_norms(node, 2)
    assert found.linf == (2.0, 2.0)
    assert found.l1 == (1.0, 1.0)


def test_random_matrices_near_a_bound() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        m, n = rng.integers(1, 12, 2)
        matrix = rng.normal(size=(m, n)) * 2.0 ** rng.integers(-30, 30)
        low, high = norm_bounds(matrix)
        truth = np.linalg.norm(matrix, 2)
        assert low <= truth * (1 + 1e-13)
        assert truth <= high * (1 + 1e-13)
        assert largest_above(np.stack([matrix, 2 * matrix])) >= 2 * truth * (1 - 1e-13)
        square = matrix @ matrix.T
        level = truth**2
        eye = np.eye(m)
        none = np.zeros((m, m))
        assert is_definite(level * (1 + 1e-9) * eye - square, none)
        assert not is_definite(level * (1 - 1e-9) * eye - square, none)
        assert not is_definite(level * (1 + 1e-9) * eye - square, np.full((m, m), 1e-6 * level))
        positive = np.abs(matrix)
        above = schur_above(lambda x, a=positive: a @ x, lambda y, a=positive: a.T @ y, int(n), 12)
        assert above >= np.linalg.norm(positive, 2) * (1 - 1e-13)
        assert matrix_above(matrix, "l1") >= np.abs(matrix).sum(axis=0).max()


ALEXNET = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
import torch
from test_io_torch import alexnet
import plverify as pv
torch.manual_seed(0)
net = pv.load(alexnet().eval(), input_shape=(3, 224, 224))
start = time.process_time()
rows = pv.layer_norms(net)
for row in rows:
    assert 0 < row.l2[0] <= row.l2[1] <= 1.2 * row.l2[0], row
    assert row.l1[1] <= row.l1[0] * (1 + 1e-9), row
    assert row.linf[1] <= row.linf[0] * (1 + 1e-9), row
print(len(rows), time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_alexnet_within_a_minute_and_four_gigabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALEXNET, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    _, seconds, memory = map(float, done.stdout.split())
    assert memory < 4 << 20
    assert seconds < 60  # of one core
