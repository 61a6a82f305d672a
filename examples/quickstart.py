"""Exact answers about a small trained network; run it from anywhere."""

import tempfile
from pathlib import Path

import numpy as np

import plverify as pv

here = Path(__file__).resolve().parent
net = pv.load(here / "moons.npz")  # 2-32-32-2, trained on points of the unit square
x = np.load(here / "moons_points.npz")["X"][0]  # a test point

rs = pv.regions(net, pv.Box(0, 1, 2), exact=True)  # exact vertices: write_proof needs them
print(f"{rs.count} activation regions, {rs.linear_count} linear regions, for example")
for region in rs[:3]:
    print(f"  area {region.volume:.3g}, J = {region.J.round(3).tolist()}")

knots = pv.knots(net, pv.segment([0, 0], [1, 1]))
print(f"{len(knots)} knots on the diagonal, the first at {knots.positions[:3]}")

distance = pv.boundary_distance(net, x)
print(f"{x} is {distance.lower} from its region's boundary, at unit {distance.unit}")

with tempfile.TemporaryDirectory() as folder:
    rs.write_proof(f"{folder}/moons.proof")
    verdict = pv.check(f"{folder}/moons.proof", net)
    print("accepted:" if verdict else "rejected:", verdict.claim)
