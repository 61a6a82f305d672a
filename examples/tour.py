"""From one region to a report: what a trained digits network does around one image; a minute.

Writes ``digits_report.html`` into the current folder.
"""

from pathlib import Path

import numpy as np

import plverify as pv

here = Path(__file__).resolve().parent
net = pv.load(here / "digits.npz")  # 64-32-32-10
points = np.load(here / "digits_points.npz")
x, label = points["X"][0], int(points["y"][0])
pixels = pv.Box(0, 1, 64)
print(f"{net!r}, an image of a {label}, predicted {int(net(x).argmax())}")

# The activation region of the image: a polytope in 64 dimensions on which the network is affine.
region = net.region(x)
print(f"its region has {len(region.units)} facets; f(x) = J x + c with J {region.J.shape}")
nearest = pv.boundary_distance(net, x, "linf")
print(f"the nearest kink is {nearest.lower:.3g} away, at unit {nearest.unit}")

# How far the nearest image with another label is: exactly, with a proof.
found = pv.minimal_perturbation(net, x, "linf", pixels, proof=True)
print(f"another label is {found.upper:.6g} away, a {found.adversarial_label}: {found.status}")
assert found.proof is not None
print(pv.check(found.proof, net).claim[:120], "...")

# The same for ten images, and a page about them.
from plverify.certification.results import Data  # noqa: E402,F401

results = Path("digits_results.jsonl")
results.unlink(missing_ok=True)
names = {"model": str(here / "digits.npz"), "data": str(here / "digits_points.npz")}
certified = pv.certify(
    net, points["X"], points["y"], "0.05", "linf", pixels, radius=True, shard=(0, 36), out=results,
    names=names,
)  # fmt: skip
print(f"{100 * certified.certified:.0f} % of {len(certified.rows)} images are robust at 0.05")
