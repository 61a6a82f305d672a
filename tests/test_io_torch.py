"""torch modules against torch itself."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plverify as pv

torch = pytest.importorskip("torch")
nn = torch.nn

IMAGE = (3, 9, 8)


def seeded(module: Any, seed: int = 0) -> Any:
    """The module in float64 with random parameters and statistics."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=generator, dtype=torch.float64))
                if name.endswith("running_var"):
                    value.abs_().add_(0.1)
    return module


def agrees(module: Any, shape: tuple[int, ...], seed: int = 0) -> pv.Network:
    """Import a module and compare with it at random points; float64 on both sides."""
    net = pv.load(module, input_shape=shape, replay=False)
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(5, int(np.prod(shape))))
    with torch.no_grad():
        expected = module(torch.from_numpy(points).reshape(5, *shape)).reshape(5, -1).numpy()
    np.testing.assert_allclose(net(points), expected, rtol=1e-9, atol=1e-9)
    return net


class Function(nn.Module):
    """A module of one expression."""

    def __init__(self, function: Any, **buffers: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in buffers.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


F = nn.functional
MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (nn.Linear(5, 3), (5,)),
    "conv1d": (nn.Conv1d(3, 4, 3, 2, 1, dilation=2), (3, 11)),
    "conv2d": (nn.Conv2d(3, 6, (3, 2), (2, 1), (1, 0), groups=3), IMAGE),
    "conv2d same": (nn.Conv2d(3, 2, 4, padding="same"), IMAGE),
    "conv3d": (nn.Conv3d(2, 3, 2, 1, 1), (2, 4, 3, 5)),
    "transposed1d": (nn.ConvTranspose1d(3, 2, 3, 2, 1, 1), (3, 5)),
    "transposed2d": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (4, 4, 3)),
    "transposed3d": (nn.ConvTranspose3d(2, 2, 2), (2, 3, 2, 2)),
    "batch norm 1d": (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)), (4,)),
    "batch norm 2d": (nn.BatchNorm2d(3), IMAGE),
    "batch norm 3d": (nn.BatchNorm3d(2, affine=False), (2, 2, 3, 2)),
    "relu": (nn.ReLU(), (6,)),
    "leaky": (nn.LeakyReLU(0.25), (6,)),
    "prelu": (nn.PReLU(3), IMAGE),
    "relu6": (nn.ReLU6(), (6,)),
    "hardtanh": (nn.Hardtanh(-0.5, 2), (6,)),
    "max pool 1d": (nn.MaxPool1d(3, 2, 1), (2, 9)),
    "max pool 2d": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), IMAGE),
    "max pool 3d": (nn.MaxPool3d(2), (2, 4, 5, 2)),
    "avg pool 1d": (nn.AvgPool1d(3, 2), (2, 9)),
    "avg pool 2d": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    "avg pool 3d": (nn.AvgPool3d(2), (2, 4, 5, 2)),
    "adaptive": (nn.AdaptiveAvgPool2d((2, 3)), IMAGE),
    "adaptive to one": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "dropout": (nn.Sequential(nn.Dropout(), nn.Linear(4, 2)), (4,)),
    "clamp": (Function(lambda m, x: x.clamp(-0.5, 0.25) + x.clamp(min=1)), (6,)),
    "abs": (Function(lambda m, x: x.abs() - 2 * x), (6,)),
    "max of two": (Function(lambda m, x: torch.maximum(x, 1 - x)), (6,)),
    "min of two": (Function(lambda m, x: torch.min(x, x * 0.5)), (6,)),
    "amax": (Function(lambda m, x: x.amax((2, 3))), IMAGE),
    "sum and mean": (Function(lambda m, x: x.sum(1) + x.mean((1,))), IMAGE),
    "normalise": (
        Function(
            lambda m, x: (x - m.mean) / m.std, mean=[[[1.0]]] * 3, std=[[[2.0]], [[3]], [[5]]]
        ),
        IMAGE,
    ),
    "views": (
        Function(
            lambda m, x: torch.cat(
                [
                    x.permute(0, 2, 3, 1).flatten(1)[:, 3:40:2],
                    x[:, 1].unsqueeze(1).squeeze(1).reshape(x.shape[0], -1),
                    x.transpose(1, 2).select(1, 0).reshape(x.shape[0], -1),
                ],
                1,
            )
        ),
        IMAGE,
    ),
    "pad": (Function(lambda m, x: F.pad(x, (1, 2, 0, 1), value=0.5)), IMAGE),
    "reflection": (Function(lambda m, x: F.pad(x, (1, 2, 2, 1), mode="reflect")), IMAGE),
    "split and stack": (Function(lambda m, x: torch.stack(x.split(2, 1)[:2], 1)), (4, 3)),
    "expand": (Function(lambda m, x: x.unsqueeze(2).expand(-1, -1, 3) + m.b, b=[1.0, 2, 3]), (4,)),
    "constants": (Function(lambda m, x: 3 - (x + 1) * 0.5 / 4 - (-x)), (4,)),
    "matmul": (Function(lambda m, x: x @ m.w, w=[[1.0, 2], [3, 4], [5, 6]]), (3,)),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_kind_of_module(name: str) -> None:
    module, shape = MODULES[name]
    agrees(seeded(module), shape)


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.b = nn.BatchNorm2d(channels)
        self.c = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.c(torch.relu(self.b(self.a(x)))) + x)


def small_resnet() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), Residual(4), Residual(4), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


def small_vgg() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5),
    )  # fmt: skip


def test_residual_networks() -> None:
    net = agrees(seeded(small_resnet()), (3, 8, 8))
    assert len(net.widths) == 5


def test_a_plane_through_a_small_vgg_is_enumerated() -> None:
    torch.manual_seed(0)
    net = pv.load(small_vgg().eval(), input_shape=(3, 8, 8))
    rng = np.random.default_rng(0)
    origin, basis = (rng.integers(-8, 9, shape) / 8 for shape in (192, (192, 2)))
    plane = pv.Slice(origin, basis, pv.Box(-0.0625, 0.0625, 2))
    found = pv.regions(net, plane, exact=True)
    assert found.complete
    assert found.count > 100
    assert sum(region.exact_volume for region in found) == Fraction(1, 64)
    assert pv.checker.check(found.proof(), net.exact_net).accepted


def test_equal_modules_have_equal_digests_and_matrices_are_those_of_torch() -> None:
    one, two = seeded(small_vgg(), 3), seeded(small_vgg(), 3)
    net = pv.load(one, input_shape=(3, 8, 8), replay=False)
    assert net == pv.load(two, input_shape=(3, 8, 8), replay=False)
    x = np.random.default_rng(0).normal(size=192)
    matrix = net.as_matrix(0)
    with torch.no_grad():
        first = one[0](torch.from_numpy(x).reshape(1, 3, 8, 8)).numpy().ravel()
    np.testing.assert_allclose(matrix @ x + net.nodes[0].bias, first, atol=1e-9)
    pool = next(k for k, node in net.unit_nodes if isinstance(node, pv.nodes.Max))
    assert net.as_matrix(pool, x).sum() == net.nodes[pool].size
    image = torch.from_numpy(x).reshape(1, 3, 8, 8).requires_grad_()
    one(image)[0, 2].backward()
    gradient = image.grad.numpy().ravel()
    np.testing.assert_allclose(net.affine_map(x).J[2], gradient, atol=1e-9)
    np.testing.assert_allclose(net.vjp(x, [0, 0, 1, 0, 0]), gradient, atol=1e-9)
    np.testing.assert_allclose(net.jvp(x, x)[2], gradient @ x, atol=1e-8)


def test_a_dropped_softmax_is_told() -> None:
    net = pv.load(nn.Sequential(nn.Linear(3, 2), nn.Softmax(-1)).eval(), replay=False)
    assert any("softmax" in text for text in net.definitions)


class Branch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


BAD: dict[str, tuple[Any, Any, str]] = {
    "training": (nn.Linear(2, 2), None, r"call \.eval\(\)"),
    "sigmoid": (nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()).eval(), None, "sigmoid.*piecewise"),
    "softmax inside": (
        nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1), nn.Linear(2, 2)).eval(), None, "softmax",
    ),
    "branch": (Branch().eval(), (3,), "data is refused"),
    "no shape": (nn.Conv2d(1, 1, 1).eval(), None, "input_shape="),
    "product": (Function(lambda m, x: x * x).eval(), (3,), "not piecewise linear"),
    "wrong shape": (nn.Linear(2, 2).eval(), (3,), "torch.export"),
    "empty shape": (nn.Linear(2, 2).eval(), (0,), "positive"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_in_one_line(name: str) -> None:
    module, shape, text = BAD[name]
    with pytest.raises(pv.InputError, match=text) as caught:
        pv.load(module, input_shape=shape)
    assert "\n" not in str(caught.value)


def test_nan_names_the_parameter() -> None:
    module = nn.Sequential(nn.Linear(2, 2)).eval()
    with torch.no_grad():
        module[0].bias[1] = float("nan")
    with pytest.raises(pv.InputError, match=r"'0\.bias'"):
        pv.load(module)


def test_torch_is_imported_only_when_asked() -> None:
    code = "import plverify, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def alexnet() -> Any:
    """The architecture of Krizhevsky's one-column AlexNet (2014), as torch users know it."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten(), nn.Dropout(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
        nn.Linear(4096, 1000),
    )  # fmt: skip


ALEXNET = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from test_io_torch import alexnet
import plverify as pv
torch.manual_seed(0)
model = alexnet().eval()
net = pv.load(model, input_shape=(3, 224, 224))
rng = np.random.default_rng(0)
x = rng.normal(size=3 * 224 * 224).astype(np.float32)
v = rng.normal(size=3 * 224 * 224)
pieces = net.pattern(x)
found = net.jvp(x, v)
shape = (1, 3, 224, 224)
values = []
model = model.double()
for part in model:
    if isinstance(part, torch.nn.ReLU):
        part.register_forward_hook(lambda part, taken, made: values.append(taken[0]))
model(torch.tensor(x.astype(np.float64)).reshape(shape))
for k, value in zip([0, 2, 4, 5, 6, 8, 9], values):  # the others are poolings
    same = net.layer_pieces(pieces)[k] == (value.detach().numpy().ravel() > 0)
    assert same.mean() > 1 - 1e-5, k
_, right = torch.func.jvp(
    model, (torch.tensor(x.astype(np.float64)).reshape(shape),),
    (torch.tensor(v).reshape(shape),),
)
right = right.detach().numpy().ravel()
assert abs(found - right).max() < 1e-9 * abs(right).max()
print(net.unit_count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_alexnet_in_four_gigabytes() -> None:
    """Read, replayed, the pieces of its 650,000 units decided, and a Jacobian-vector product."""
    done = subprocess.run(
        [sys.executable, "-c", ALEXNET, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    units, memory = map(int, done.stdout.split())
    assert units > 500_000
    assert memory < 4 << 20
