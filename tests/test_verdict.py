"""`verify`, `maximize`, `minimize`, `sup_distance`, `dead_units`: right to the last digit."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from dual_proof_tools import decode
from proof_tools import unpack
from tight_margins import bound, mistakes, over_vertices

import plverify as pv
from plverify import question, reference, verdict
from plverify.certificate import check_body
from plverify.compose import absolute_sum, difference, layer_network
from plverify.constraint import Constraint
from plverify.domain import Box
from plverify.errors import InputError
from plverify.extremum import Extremum, maximize, minimize, sup_distance
from plverify.network import Network
from plverify.nodes import Max
from plverify.proof_reader import Verdict
from plverify.property import Ball, Disjunct, Property
from plverify.question import decide
from plverify.verdict import Verification, verify

F = Fraction


def random_arrays(seed, sizes):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((b, a)).astype(np.float32) for a, b in pairwise(sizes)]
    biases = [(0.5 * rng.standard_normal(b)).astype(np.float32) for b in sizes[1:]]
    return weights, biases


def random_net(seed, sizes):
    return Network.from_arrays(*random_arrays(seed, sizes))


def holds_exactly(found, net, spec):
    assert found.witness is not None
    assert found.outputs == tuple(net.exact(found.witness))
    return spec.disjuncts[found.disjunct].contains(found.witness, found.outputs)


def accepted(found, net, other=None):
    """The claim of a proof, which both checkers accept."""
    verdicts = [pv.check(found.proof, net, python=p, other=other) for p in (False, True)]
    assert all(verdicts), [v.reason for v in verdicts]
    assert verdicts[0].claim == verdicts[1].claim
    return verdicts[0].claim


SIZES = {1: [1, 6, 5, 2], 2: [2, 6, 5, 2], 3: [3, 5, 4, 2], 4: [4, 4, 3, 1]}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dim", SIZES)
def test_tight_margins(dim, seed):
    net = random_net(100 * dim + seed, SIZES[dim])
    rng = np.random.default_rng(seed)
    sides = sorted(rng.integers(-20, 21, 2).tolist())
    box = Box([F(sides[0], 10)] * dim, [F(sides[1] + 1, 10)] * dim)
    low, high = over_vertices(net, box)
    assert low <= high
    for sign, top in ((1, high), (-1, low)):
        for strict in (False, True):
            for k in range(3, 16):
                gap = F(sign, 10**k)
                for value, wanted in ((top + gap, "unsat"), (top - gap, "sat")):
                    spec = bound(net, box, sign, value, strict)
                    asked = k % 4 == 3
                    found = verify(net, spec, float32=False, proof=asked)
                    assert found.status == wanted, (sign, strict, k)
                    assert wanted == "unsat" or holds_exactly(found, net, spec)
                    if asked:
                        accepted(found, net)
            spec = bound(net, box, sign, top, strict)
            found = verify(net, spec, float32=False, proof=True)
            assert found.status == ("unsat" if strict else "sat")
            accepted(found, net)
            assert strict or holds_exactly(found, net, spec)


@pytest.mark.parametrize("seed", range(6))
def test_extrema_over_vertices_agree_with_the_reference(seed):
    """What the tests here are measured against comes from the engine that lists regions."""
    sizes = SIZES[1 + seed % 2]
    weights, biases = ([a.tolist() for a in arrays] for arrays in random_arrays(seed, sizes))
    lo, hi = [F(-13, 10)] * sizes[0], [F(9, 10)] * sizes[0]
    listed = reference.enumerate_regions(
        reference.Net(weights, biases), reference.Domain.box(lo, hi)
    )
    values = [region.value(t)[1] for region in listed.regions for t in region.vertices]
    assert over_vertices(random_net(seed, sizes), Box(lo, hi), 1) == (min(values), max(values))


@pytest.mark.parametrize("seed", [*range(24), 40, 291, 296, 299, 307, 314, 326, 327])
def test_tight_margins_of_all_kinds_of_numbers(seed):
    assert not mistakes(seed)


def test_large_constants_are_real_numbers():
    net = Network.from_arrays([[[1.0]], [[1.0]]], [[2.0**25], [-(2.0**25)]])
    assert net.exact([1]) == [1]
    box = Box([1], [3])
    assert verify(net, Property.output_at_most(box, 0, 3)).status == "unsat"
    assert verify(net, Property.output_at_most(box, 0, "2.9999999")).status == "sat"
    assert verify(net, Property.output_at_least(box, 0, 1)).status == "unsat"
    assert maximize(net, 0, box).value == 3
    assert minimize(net, 0, box).value == 1


@pytest.mark.parametrize("scale", [1, 3, 2**40, F(1, 3**30)])
def test_zero_margins(scale):
    """``|x| + |y| >= |x + y|``, with equality on half the plane."""
    rows = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1]]
    net = Network.from_arrays([[[v * scale for v in r] for r in rows], [[1, 1, 1, 1, -1, -1]]])
    box = Box(-1, 1, 2)
    assert verify(net, Property.output_at_least(box, 0, 0)).status == "unsat"
    spec = bound(net, box, -1, 0, strict=False)
    found = verify(net, spec)
    assert found.status == "sat"
    assert found.outputs == (0,)
    assert minimize(net, 0, box).value == 0
    assert maximize(net, 0, box).value == 2 * scale


def test_point_intervals_and_thirds():
    net = random_net(5, [3, 6, 1])
    box = Box([F(1, 3), "0.1", -1], [F(1, 3), "0.1", 1])
    top = maximize(net, 0, box)
    assert top.exact
    assert top.witness[:2] == (F(1, 3), F(1, 10))
    line = pv.Slice([F(1, 3), "0.1", 0], [[0], [0], [1]], Box([-1], [1]))
    assert top.value == over_vertices(net, line)[1]
    spec = bound(net, box, 1, top.value, strict=False)
    found = verify(net, spec)
    assert found.status == "sat"
    assert found.witness[:2] == (F(1, 3), F(1, 10))
    assert found.float32 == "no_float32_point"
    one = Box([F(1, 3)] * 3, [F(1, 3)] * 3)
    value = net.exact([F(1, 3)] * 3)[0]
    assert verify(net, bound(net, one, 1, value, False)).status == "sat"
    assert verify(net, bound(net, one, 1, value, True)).status == "unsat"
    assert maximize(net, 0, one).value == minimize(net, 0, one).value == value


def test_unions_of_boxes_and_inputs_in_constraints():
    net = Network.from_arrays([[[1], [-1]], [[1, 1]]])  # |x|
    one = Property.from_rows(Box([0], [1]), [[-1]], [[1]], [0], strict=True)  # y < x
    two = Property.from_rows(Box([-1], [0]), [[-1]], [[-1]], [0], strict=True)  # y > -x
    assert verify(net, one | two).status == "unsat"
    three = Property.from_rows(Box([-3], [-2]), [[1]], [[1]], ["0"])  # y <= -x
    accepted(verify(net, one | two, proof=True), net)
    found = verify(net, one | two | three, proof=True)
    accepted(found, net)
    assert (found.status, found.disjunct) == ("sat", 2)
    assert -3 <= found.witness[0] <= -2


def test_unknown_says_why(monkeypatch):
    net = Network.from_arrays([[[1, 0], [-1, 0]], [[1, 1]]])
    fine = Property.output_at_most(Box(-1, 1, 2), 0, 2)
    far = Property.output_at_most(Box([-1, -1], [1, np.inf]), 0, 2)
    assert verify(net, fine | far).reason is None
    monkeypatch.setattr("plverify.unbounded.MOST", 1)
    found = verify(net, fine | far)
    assert (found.status, found.witness) == ("unknown", None)
    assert found.reason == "a box without bounds on all sides takes more than 1 programs"
    assert verify(net, far | Property.output_at_most(Box(-1, 1, 2), 0, 0)).status == "sat"
    for name, kept in (("check_body", False), ("check", True)):
        monkeypatch.setattr(f"plverify.question.{name}", lambda *_: Verdict(False, "", "no"))
        found = verify(net, fine, proof=kept)
        assert found.status == "unknown"
        assert found.reason == "the checker does not accept the proof: no"


def test_a_body_is_checked_without_a_file():
    net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])
    box, ball = Box(-1, 1, 1), Ball("l1", [0], "1/2")
    for near, top in ((None, 1), (ball, "1/2")):
        fine, wrong = (
            Property(1, 1, (Disjunct(box, (Constraint((), ((0, -1),), -v),), near),))
            for v in (F(top) + F(1, 8), F(top))
        )
        body = decide(net, fine, want_proof=True)["proof"]
        assert check_body(body, net, fine)
        assert not check_body(body, net, wrong)
        assert not check_body(body[:-1], net, fine)


def test_no_disjunct_is_never_violated():
    net = Network.from_arrays([[[1]]])
    found = verify(net, Property(1, 1, ()), proof=True)
    assert found.status == "unsat"
    accepted(found, net)


def test_a_vnnlib_file_and_a_model_file(tmp_path):
    path = tmp_path / "p.vnnlib"
    spec = Property.output_at_most(Box(-1, 1, 2), 1, "0.5", 2)
    path.write_text(spec.to_vnnlib())
    np.savez(tmp_path / "net.npz", W0=np.eye(2), b0=np.zeros(2), W1=np.eye(2), b1=np.zeros(2))
    found = verify(str(tmp_path / "net.npz"), path)
    assert found.status == "sat"
    assert found.witness[1] > F(1, 2)


# ------------------------------------------------------------------------- results


def test_json_round_trips():
    net = random_net(1, [2, 5, 1])
    box = Box(-1, 1, 2)
    for value in (0, 1000):
        found = verify(net, Property.output_at_most(box, 0, value), proof=True)
        assert found.proof.startswith(b"PLPROOF")
        again = Verification.from_json(found.to_json())
        assert again == found
        assert json.loads(found.to_json())["status"] == found.status.value
    top = maximize(net, 0, box, proof=True)
    assert Extremum.from_json(top.to_json()) == top
    for text in ("", "[]", "{}", '{"status": "sat"}', found.to_json().replace("unsat", "perhaps")):
        with pytest.raises(InputError):
            Verification.from_json(text)
    with pytest.raises(InputError, match="base64"):
        Verification.from_json(json.dumps({**json.loads(found.to_json()), "proof": {"base64": 1}}))
    with pytest.raises(InputError):
        Extremum.from_json(top.to_json().replace("complete", "perhaps"))


def test_headers_of_proofs(tmp_path):
    net = random_net(1, [2, 5, 1])
    box = Box(["0.1", -1], [1, 1])
    path = tmp_path / "p.proof"

    def header(data):
        size = int.from_bytes(data[10:14], "little")
        return json.loads(data[14 : 14 + size])

    found = verify(net, Property.output_at_most(box, 0, 1000), proof=path)
    assert found.proof == str(path)
    head = header(path.read_bytes())
    assert list(head) == ["claim", "evidence", "network", "definitions", "property"]
    assert (head["claim"], head["evidence"], head["network"]) == ("unsat", "tree", net.digest)
    assert head["property"]["boxes"] == [{"lo": ["1/10", "-1"], "hi": ["1", "1"]}]
    found = verify(net, Property.output_at_most(box, 0, -1000), proof=True)
    head = header(found.proof)
    names = ["claim", "network", "definitions", "property", "disjunct", "witness"]
    assert list(head) == names
    assert head["witness"] == [str(v) for v in found.witness]
    low = minimize(net, ([0, "1/3"], [2]), box, proof=True)
    head = header(low.proof)
    assert head["claim"] == "maximum"
    assert head["objective"] == {"inputs": [[1, "-1/3"]], "outputs": [[0, "-2"]]}
    assert Fraction(head["value"]) == -low.value
    assert head["box"] == {"lo": ["1/10", "-1"], "hi": ["1", "1"]}
    assert verify(net, Property.output_at_most(box, 0, 1000), proof=False).proof is None


def test_a_wrong_witness_is_an_internal_error(monkeypatch):
    net = Network.from_arrays([[[1]]])
    answer = {"status": "sat", "disjunct": 0, "witness": ([5], 1), "nodes": 1, "leaves": 0}
    monkeypatch.setattr(verdict, "decide", lambda *a, **k: {**answer, "stats": {}})
    with pytest.raises(RuntimeError, match="disjunct 0"):
        verify(net, Property.output_at_most(Box(0, 1, 1), 0, 0))


def test_wrong_inputs():
    net = random_net(1, [2, 5, 1])
    box = Box(-1, 1, 2)
    spec = Property.output_at_most(Box(-1, 1, 3), 0, 0)
    with pytest.raises(InputError, match=r"3 inputs and 1 outputs.* network has 2 and 1"):
        verify(net, spec)
    fine = Property.output_at_most(box, 0, 0)
    with pytest.raises(InputError, match="timeout"):
        verify(net, fine, timeout=-1)
    with pytest.raises(InputError, match="timeout"):
        verify(net, fine, timeout=float("nan"))
    with pytest.raises(InputError, match="threads"):
        verify(net, fine, threads=0)
    with pytest.raises(InputError, match="no such file"):
        verify("missing.onnx", fine)
    with pytest.raises(InputError):
        verify(net, "missing.vnnlib")
    with pytest.raises(InputError, match="bounded"):
        maximize(net, 0, Box([-1, 0], [1, float("inf")]))
    with pytest.raises(InputError, match="bounded"):
        maximize(net, 0, pv.Space(2))
    with pytest.raises(InputError, match="2 inputs"):
        maximize(net, 0, Box(-1, 1, 3))
    for c in (1, -1, [1, 2], [[1]], ([1], [1]), ([1, 2, 3], [1]), "x", None, float("nan"), [1j]):
        with pytest.raises(InputError):
            maximize(net, c, box)
    for c in ([0], ([1, 1], [0])):
        with pytest.raises(InputError, match="no output"):
            maximize(net, c, box)
    with pytest.raises(InputError, match="norm"):
        sup_distance(net, net, box, "l2")
    with pytest.raises(InputError, match="2 and 3 inputs"):
        sup_distance(net, random_net(1, [3, 5, 1]), box)
    with pytest.raises(InputError, match="1 and 2 outputs"):
        sup_distance(net, random_net(1, [2, 5, 2]), box)
    with pytest.raises(InputError):
        pv.dead_units(net, Box(-1, 1, 3))
    with pytest.raises(InputError, match="expected a Box"):
        pv.dead_units(net, pv.Space(2))
    with pytest.raises(InputError):
        layer_network(net, 1)


def test_an_unwritable_proof_leaves_nothing(tmp_path):
    net = random_net(1, [2, 5, 1])
    with pytest.raises(InputError, match="cannot write"):
        verify(net, Property.output_at_most(Box(-1, 1, 2), 0, 0), proof=tmp_path / "no" / "p")
    assert not list(tmp_path.iterdir())


HARD = [6, 40, 40, 40, 1]


def test_timeout_keeps_what_is_known():
    net, box = random_net(3, HARD), Box(-3, 3, 6)
    start = time.perf_counter()
    assert verify(net, Property.output_at_most(box, 0, 10**4), timeout=0.0).status == "timeout"
    known = maximize(net, 0, box, timeout=0.3)
    assert time.perf_counter() - start < 20
    assert known.status == "timeout"
    assert not known.exact
    assert known.value == net.exact(known.witness)[0] == known.lower
    assert known.upper is None
    units = pv.dead_units(net, box, timeout=0.0)
    assert units.status == "timeout"
    assert units.unknown
    total = [u for k in ("dead", "always_active", "both", "unknown") for u in getattr(units, k)]
    assert sorted(total) == [(k, i) for k in range(3) for i in range(40)]


def test_ctrl_c_keeps_what_is_known(monkeypatch):
    net, box = random_net(3, [2, 6, 1]), Box(-1, 1, 2)
    answers = iter(["interrupt"])

    def decide(*arguments, **options):
        if next(answers, None):
            raise KeyboardInterrupt
        raise AssertionError

    monkeypatch.setattr("plverify.extremum.decide", decide)
    known = maximize(net, 0, box)
    assert known.status == "interrupted"
    assert known.value == net.exact(known.witness)[0]


def test_ctrl_c_during_float32_keeps_the_verdict(monkeypatch):
    net, box = random_net(3, [2, 6, 1]), Box(-1, 1, 2)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("plverify.float32.confirm", stop)
    found = verify(net, Property.output_at_most(box, 0, -1000))
    assert (found.status, found.float32) == ("sat", None)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_reaches_the_search():
    code = """if True:
    import os, signal, threading, time, numpy as np, plverify as pv
    rng = np.random.default_rng(3)
    sizes = [8, 60, 60, 60, 60, 1]
    pairs = list(zip(sizes, sizes[1:]))
    net = pv.Network.from_arrays([rng.standard_normal((b, a)) for a, b in pairs])
    net.core
    spec = pv.Property.output_at_most(pv.Box(-3, 3, 8), 0, 20000)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    print(pv.verify(net, spec, timeout=60).status)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "interrupted"


def test_the_bytes_of_a_property():
    spec = Property.from_rows(Box([0, -np.inf], ["0.5", 1]), [[0, 3]], [[-1, 0]], [2], True)

    def u32s(*values):
        return struct.pack(f"<{len(values)}I", *values)

    def ints(*values):
        return b"\x01" + struct.pack(f"<{len(values)}q", *values)

    sizes, case = b"PLVSPEC3" + u32s(2, 2, 1), u32s(1) + u32s(0, 1)
    lo, hi = b"\0" + ints(0, 1) + b"\1", b"\0" + ints(1, 2) + b"\0" + ints(1, 1)
    row = b"\1" + u32s(1, 1) + u32s(1, 0) + ints(3) + ints(-1) + ints(2, 1)
    assert question.property_bytes(spec) == sizes + lo + hi + b"\0" + case + row


# ------------------------------------------------------------------------ extrema


@pytest.mark.parametrize("seed", range(6))
def test_extrema_are_those_over_all_vertices(seed):
    dim = 1 + seed % 3
    net = random_net(seed, [dim, 7, 6, 2])
    box = Box(-2, "1.7", dim)
    low, high = over_vertices(net, box, 1)
    top, bottom = (find(net, 1, box, proof=True) for find in (maximize, minimize))
    assert (bottom.value, top.value) == (low, high)
    assert f"is exactly {high}" in accepted(top, net)
    assert f"is exactly {-low}" in accepted(bottom, net)
    assert top.exact
    assert bottom.exact
    assert net.exact(top.witness) == list(top.outputs)
    assert top.outputs[1] == high
    assert bottom.outputs[1] == low
    assert maximize(net, [0, 1], box).value == high
    assert maximize(net, [0, F(-1, 3)], box).value == -low / 3
    assert maximize(net, (None, [0, 1]), box).value == high
    assert (top.sense, top.lower, top.upper) == ("maximum", high, high)


def test_objectives_with_inputs():
    net = Network.from_arrays([[[1], [-1]], [[1, 1]]])  # |x|
    box = Box(-3, 2, 1)
    assert maximize(net, ([2], [1]), box).value == 6
    assert minimize(net, ([2], [1]), box).value == -3
    assert maximize(net, ([-1], [-1]), box).value == 0


@pytest.mark.parametrize("seed", range(4))
def test_sup_distance(seed):
    dim = 1 + seed % 2
    f, g = random_net(seed, [dim, 5, 2]), random_net(seed + 50, [dim, 4, 3, 2])
    box = Box(-1, 1, dim)
    joint = difference(f, g)
    x = [F(k + 1, 7) for k in range(dim)]
    assert joint.exact(x) == [a - b for a, b in zip(f.exact(x), g.exact(x), strict=True)]
    ends = [over_vertices(joint, box, j) for j in range(2)]
    found = sup_distance(f, g, box, proof=True)
    assert found.value == max(max(-low, high) for low, high in ends)
    assert max(map(abs, joint.exact(found.witness))) == found.value
    assert "linf distance of their outputs on the box" in accepted(found, f, g)
    assert f"is exactly {found.value}," in accepted(found, f, g)
    total = sup_distance(f, g, box, "l1", proof=True)
    assert f"is exactly {total.value}," in accepted(total, f, g)
    assert sum(map(abs, joint.exact(total.witness))) == total.value
    assert total.value == over_vertices(absolute_sum(joint), box)[1]
    assert sup_distance(f, f, box).value == sup_distance(f, f, box, "l1").value == 0


def test_networks_that_read_the_input_twice():
    plain = Network.from_arrays([[[2, 1]]])
    assert sup_distance(plain, plain, Box(0, 1, 2)).value == 0
    assert sup_distance(plain, Network.from_arrays([[[1, 1]]]), Box(0, 3, 2)).value == 3


# ----------------------------------------------------------------- units that are fixed


def by_regions(net, box):
    found = pv.count_regions(net, box)
    return set(found.dead_units), set(found.always_active_units)


@pytest.mark.parametrize("seed", range(8))
def test_dead_units_agree_with_the_regions(seed):
    dim = 1 + seed % 3
    net = random_net(seed, [dim, 8, 8, 1])
    box = Box("-0.3", "0.2", dim)
    found = pv.dead_units(net, box, proof=True)
    assert found.status == "complete"
    assert not found.unknown
    stated = {tuple(pair) for pair in unpack(found.proof)[0]["units"]}
    wanted = {(8 * k + i, 0) for k, i in found.dead}
    wanted |= {(8 * k + i, 1) for k, i in found.always_active}
    assert stated == wanted
    assert "of its units" in accepted(found, net)
    assert (set(found.dead), set(found.always_active)) == by_regions(net, box)
    assert found.dead
    assert found.always_active
    assert len(found.both) == 16 - len(found.dead) - len(found.always_active) > 0
    json.loads(found.to_json())


def test_dead_units_by_a_hair():
    gap = F(1, 10**15)
    rows = [[1], [1], [1], [1], [0], [0]]
    biases = [-1, gap - 1, 1, 1 - gap, 0, -1]
    net = Network.from_arrays([rows, [[1] * 6]], [biases, [0]])
    found = pv.dead_units(net, Box(-1, 1, 1))
    kinds = [found.kind(0, i) for i in range(6)]
    assert kinds == ["dead", "both", "always_active", "both", "dead", "dead"]
    with pytest.raises(InputError):
        found.kind(1, 0)


def test_a_unit_that_reads_a_unit():
    """Relu of a relu is zero on a half of the box, and never negative."""
    chain = Network.from_arrays([[[1]], [[1]], [[1]]])
    assert pv.dead_units(chain, Box(-1, 1, 1)).always_active == [(1, 0)]
    assert pv.dead_units(chain, Box(-1, 0, 1)).dead == [(0, 0), (1, 0)]


def test_layers_behind_poolings_and_boxes_without_bounds():
    first = Network.from_arrays(
        [[[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, -1]]], [None, [1, 2], None]
    )
    nodes = list(first.nodes)
    pool = Max((2,), 1, 2, np.array([[0, 0], [1, -1]], np.int32))
    nodes[2] = type(nodes[2])(3, nodes[2].rows)
    nodes = [*nodes[:2], pool, nodes[2], type(nodes[3])(4, nodes[3].slopes), nodes[4]]
    nodes[5] = type(nodes[5])(5, nodes[5].rows)
    net = Network(2, nodes)
    found = pv.dead_units(net, Box([-1, -9], [9, 3]))
    assert found.both == [(0, 0), (0, 1)]
    assert found.always_active == [(2, 0), (2, 1)]
    found = pv.dead_units(net, Box([-1, -np.inf], [np.inf, 3]))
    assert found.both == [(0, 0), (0, 1)]
    assert {*found.always_active, *found.unknown} == {(2, 0), (2, 1)}
    assert found.status == ("unknown" if found.unknown else "complete")
    pooled = layer_network(net, 1)
    assert pooled.exact([3, -4]) == [3, 0]
    assert pooled.output_size == 2


def test_slopes_of_one_are_no_units():
    net = Network.from_arrays([[[1], [1]], [[1, 1]]], slope=[[1, 0.5]])
    assert pv.dead_units(net, Box(-1, 1, 1)).both == [(0, 1)]


@pytest.mark.parametrize(("seed", "leaky"), [(0, False), (1, False), (2, True)])
def test_envelopes_of_units_over_many_inputs(seed, leaky):
    """The search uses them; both checkers accept the proofs; a mixed-integer program agrees."""
    n, h = 18, 16
    (first, second), (low, top) = random_arrays(seed, (n, h, 1))
    slope = 0.125 if leaky else 0.0
    net = Network.from_arrays([first, second], [low, top], slope)
    found = maximize(net, 0, Box([-1] * n, [1] * n), proof=True)
    accepted(found, net)
    records = decode(zlib.decompress(unpack(found.proof)[1]))
    assert "envelope" in {record[0] for record in records}
    w, b, out, constant = (a.astype(float) for a in (first, low, second[0], top[0]))
    best = mixed_integer_maximum(w, b, out, constant, slope)
    assert float(found.value) == pytest.approx(best, abs=1e-5)


def mixed_integer_maximum(w, b, out, constant, slope):
    """Of ``out . phi(w x + b) + constant`` over ``[-1, 1]^n``, by big-M with HiGHS."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    h, n = w.shape
    size = np.abs(w).sum(axis=1) + np.abs(b) + 1
    eye, none = np.eye(h), np.zeros((h, h))
    # x, a, d; a = z where d = 1, a = slope z where d = 0, by z = w x + b and size.
    rows = [(np.hstack([-w, eye, none]), b, np.inf),
            (np.hstack([-slope * w, eye, none]), slope * b, np.inf),
            (np.hstack([-w, eye, np.diag(2 * size)]), -np.inf, b + 2 * size),
            (np.hstack([-slope * w, eye, -np.diag(2 * size)]), -np.inf, slope * b)]  # fmt: skip
    lo = np.r_[-np.ones(n), -size, np.zeros(h)]
    hi = np.r_[np.ones(n), size, np.ones(h)]
    cost = -np.r_[np.zeros(n), out, np.zeros(h)]
    kinds = np.r_[np.zeros(n + h), np.ones(h)]
    answer = milp(cost, integrality=kinds, bounds=Bounds(lo, hi),
                  constraints=[LinearConstraint(*row) for row in rows])  # fmt: skip
    return constant - answer.fun


@pytest.mark.parametrize("seed", range(2))
def test_goals_that_must_hold_together(seed):
    # Two outputs in thin slabs, and a third one that is as large as possible there.
    net = random_net(seed, [4, 12, 12, 3])
    box, thin = Box(-1, 1, 4), F(1, 100)
    inside = np.random.default_rng(seed).uniform(-0.9, 0.9, 4)
    y = [F(float(v)) for v in net(inside)]
    rows = [[0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [-1, 0, 0]]

    def spec(least):
        bounds = [y[1] + thin, thin - y[1], y[2] + thin, thin - y[2], -least]
        return Property.from_rows(box, [[0] * 4] * 5, rows, bounds)

    found = verify(net, spec(y[0]))
    assert found.status == "sat"
    assert found.nodes == 1  # by the attack
    assert holds_exactly(found, net, spec(y[0]))
    low, high = y[0], maximize(net, [1, 0, 0], box).upper
    for _ in range(5):
        middle = (low + high) / 2
        if verify(net, spec(middle)).status == "sat":
            low = middle
        else:
            high = middle
    found = verify(net, spec(high), proof=True)
    assert found.status == "unsat"
    accepted(found, net)


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_more_windows_than_values_that_they_read(seed: int) -> None:
    """Windows are counted apart from rows, also where several goals are weighed."""
    rng = np.random.default_rng(seed)
    first, second, last = (rng.integers(-8, 9, size) / 8 for size in ((12, 2), (2, 12), (3, 60)))
    head, tail = (pv.Network.from_arrays(w).nodes for w in ([first, second], [last]))
    pool = Max((3,), 1, 2, np.repeat([[0], [1]], 60, axis=1).astype(np.int32))
    net = pv.Network(2, [*head, pool, replace(tail[0], source=4)])
    y = net(rng.uniform(-1, 1, (20000, 2)))
    most = np.quantile(y[:, 0], 0.05)
    least = y[y[:, 0] <= most, 1].min() - 0.25
    spec = pv.Property.from_rows(
        pv.Box(-1, 1, 2), None, [[1, 0, 0], [0, 1, 0]], [float(most), float(least)]
    )
    found = [pv.verify(net, spec, proof=True) for _ in range(2)]
    assert [one.status for one in found] == [pv.Status.UNSAT] * 2
    assert found[0].nodes == found[1].nodes > 20
    assert pv.check(found[0].proof, net, spec)
