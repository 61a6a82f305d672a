"""foolbox's attacks beside ours: never below a proven radius, and ours never far above theirs."""

from fractions import Fraction

import numpy as np
import pytest

import plverify as pv

torch = pytest.importorskip("torch")
foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")

CLASSES, INPUTS, POINTS = 3, 8, 6


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, 16), torch.nn.ReLU(), torch.nn.Linear(16, CLASSES)
    )
    module = module.eval().double()
    net = pv.load(module, input_shape=(INPUTS,))
    x = torch.rand(POINTS, INPUTS, dtype=torch.float64)
    return module, net, x, module(x).argmax(dim=1)


def theirs(norm):
    attacks = {
        "linf": [
            foolbox.attacks.LinfDeepFoolAttack(),
            foolbox.attacks.LinfProjectedGradientDescentAttack(steps=40),
        ],
        "l2": [foolbox.attacks.L2DeepFoolAttack(), foolbox.attacks.DDNAttack(steps=100)],
        "l1": [foolbox.attacks.EADAttack(binary_search_steps=3, steps=100)],
    }
    return attacks[norm]


def distance(norm, a, b):
    gaps = [abs(Fraction(p) - Fraction(q)) for p, q in zip(a, b, strict=True)]
    if norm == "l2":
        return float(sum(v * v for v in gaps)) ** 0.5
    return float(max(gaps) if norm == "linf" else sum(gaps))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_no_attack_of_foolbox_is_nearer_than_a_proven_radius(classifier, norm):
    module, net, x, labels = classifier
    box = pv.Box(0, 1, INPUTS)
    model = foolbox.PyTorchModel(module, bounds=(0, 1))
    ours = pv.attack(net, x.numpy(), norm=norm, domain=box)
    radii = [pv.minimal_perturbation(net, p, norm, box, timeout=20) for p in x.numpy()]
    best = np.full(POINTS, np.inf)
    for attack in theirs(norm):
        epsilons = None if isinstance(attack, foolbox.attacks.base.MinimizationAttack) else [0.5]
        _, found, _ = attack(model, x, labels, epsilons=epsilons)
        found = found[0] if isinstance(found, list) else found
        for k, point in enumerate(found.numpy().tolist()):
            outputs = net.exact(point)
            label = int(labels[k])
            if not box.contains(point) or outputs[label] == max(outputs):
                continue  # their point does not change the label of the exact network
            size = distance(norm, point, x[k].tolist())
            best[k] = min(best[k], size)
            assert size >= radii[k].lower
    assert np.isfinite(best).any()
    for k in range(POINTS):
        assert ours[k].upper >= radii[k].lower
        assert ours[k].upper <= best[k] * (1 + 1e-9)
