"""From one region to a report: what a trained digits network does around images; a few seconds.

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

# The order cone: the steps that keep the label on top if that affine map held everywhere. It does
# not, so every step says what the network does where it ends.
cone = pv.order_cone(net, x, domain=pixels)
edge = cone.boundary_distance("linf")
where = "inside" if edge.move.same_region else "outside"
holds = "still on top" if edge.move.on_top else "not on top any more"
print(f"under this map another label is {edge.distance[1]:.4g} away: {where} the region, {holds}")
still = pv.null_space_move(net, x, x)
ends = float(still.region_step), float(still.label_step)
print(f"{pv.null_space(net, x).dim} directions change no output there; along one of them")
print(f"the region ends at step {ends[0]:.4g}, and the label changes at step {ends[1]:.4g}")

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
