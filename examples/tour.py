"""From one region to a report: what a trained digits network does around images; half a minute.

Writes ``digits_results.jsonl`` and ``digits_report.html`` into the current folder.
"""

from pathlib import Path

import numpy as np

import plverify as pv
from plverify.report.page import write_report

here = Path(__file__).resolve().parent
model, data = here / "digits.npz", here / "digits_points.npz"
net, points = pv.load(model), np.load(data)
x, label = points["X"][0], int(points["y"][0])
pixels = pv.Box(0, 1, 64)
print(f"{net!r}, an image of a {label}, predicted {int(net(x).argmax())}")

# The activation region of the image: a polytope in 64 dimensions on which the network is affine.
region = net.region(x)
print(f"its region has {len(region.units)} facets; there f(x) = J x + c with J {region.J.shape}")
kink = pv.boundary_distance(net, x, "linf")
print(f"the nearest facet is {kink.lower:.4g} away, the kink of unit {kink.unit}")

# Far beyond that region, the nearest image with another label: exactly how far, with a proof.
found = pv.minimal_perturbation(net, x, "linf", pixels, proof=True)
print(f"another label is {found.lower!r} to {found.upper!r} away: a {found.adversarial_label}")
verdict = pv.check(found.proof, net)
print("accepted:" if verdict else "rejected:", verdict.claim[:88], "...")

# The same for twenty images, row by row in a file, and a page about them.
results = Path("digits_results.jsonl")
certified = pv.certify(
    net,
    points["X"],
    points["y"],
    eps="0.05",
    domain=pixels,
    radius=True,
    shard=(0, 18),
    out=results,
    resume=True,
    names={"model": str(model), "data": str(data)},
)
share = 100 * certified.certified
print(f"{share:.0f} % of {len(certified.rows)} images are robust at linf distance 0.05, proven")
write_report(results, "digits_report.html")
print("wrote digits_report.html")
