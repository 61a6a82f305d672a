"""Proof files as plverify writes them: the header in full, complete or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
from fractions import Fraction

import pytest
from proof_tools import unpack

import plverify as pv
from plverify import proof
from plverify.checker import check
from plverify.proof import decimal, write_atomically

NET = pv.Network.from_arrays([[[1, 2], [3, -1], [1, 1]], [[1, -1, 2]]], [[0, 1, -1], [0]])
WIDE = pv.Network.from_arrays([[[1, 2, 0], [3, -1, 1]], [[1, -1]]], [[0, 1], [0]])
LONG = 10**4500 + 7  # more digits than `str` converts
BOX = pv.Box([-1, "-0.1"], [1, 0.1])
DOMAINS = {
    "box": (NET, BOX),
    "half-open box": (NET, pv.Box([0, float("-inf")], [1, 3])),
    "slice": (WIDE, pv.Slice([0, "1/3", 1], [[1, 0], ["1/7", 2], [0, -1]], BOX)),
    "slice of the plane": (WIDE, pv.Slice([0, 0, 1], [[1, 0], [0, 2], [0.5, -1]])),
    "slice of a line": (NET, pv.Slice([0, 1], [[2], ["-1/3"]], pv.Box(-1, 2, 1))),
    "polygon": (NET, pv.Polytope([[-1, 0], [0, -1], ["1/3", 1]], [0, "1/5", 1])),
    "plane": (NET, pv.Space(2)),
    "long constraints": (NET, pv.Box([Fraction(-1, LONG), -1], [1, Fraction(LONG, LONG - 3)])),
    "long slice": (WIDE, pv.Slice([Fraction(1, LONG), 0, 1], [[1, 0], [0, 1], [1, 1]], BOX)),
}


def read_decimal(text):
    """The integer of a text of any length, digit by digit."""
    value = 0
    for digit in text.removeprefix("-"):
        value = 10 * value + "0123456789".index(digit)
    return -value if text.startswith("-") else value


def sha256(domain):
    return hashlib.sha256(domain.to_bytes()).hexdigest()


# --------------------------------------------------------------------------------------- the header


@pytest.mark.parametrize("name", DOMAINS)
def test_header_states_the_domain_and_the_checker_reads_it(name, tmp_path):
    net, domain = DOMAINS[name]
    found = pv.regions(net, domain, exact=True)
    path = tmp_path / "a.plproof"
    found.write_proof(path)
    verdict = check(path, net.exact_net)
    assert verdict.reason == ""
    assert verdict.accepted
    assert verdict.stats["regions"] == found.count > 1
    assert verdict.stats["domain_sha256"] == sha256(domain)

    header, _ = unpack(path.read_bytes())
    assert (header["claim"], header["network"]) == ("region_list", net.digest)
    assert (header["dim"], header["regions"]) == (domain.dim, found.count)
    rows = [tuple(map(read_decimal, row)) for row in header["constraints"]]
    assert rows == domain.constraint_rows()
    if domain.slice_map() is None:
        assert header["slice"] is None
    else:
        scale, table = domain.slice_map()
        assert read_decimal(header["slice"]["scale"]) == scale
        assert [list(map(read_decimal, row)) for row in header["slice"]["rows"]] == table


def test_the_checker_tells_domains_apart():
    """A proof about another domain is accepted, as a statement about that domain."""
    stated = set()
    for net, domain in DOMAINS.values():
        verdict = check(pv.regions(net, domain, exact=True).proof(), net.exact_net)
        assert verdict
        assert verdict.stats["domain_sha256"] in verdict.claim
        stated.add(verdict.stats["domain_sha256"])
    assert stated == {sha256(domain) for _, domain in DOMAINS.values()}
    assert len(stated) == len(DOMAINS)
    near = pv.Box([-1, "-0.1"], [1, "0.1"])  # a tenth, not the float beside it
    assert sha256(near) not in stated


def test_a_header_of_another_domain_is_rejected():
    """The body proves the regions of one domain only."""
    found = pv.regions(NET, BOX, exact=True)
    body, vertices, corners = found._complex.proof_body()

    def verdict_on(domain):
        header = proof.region_list_header(NET, domain, found.count, vertices, corners)
        return check(proof.encode(header, body), NET.exact_net)

    assert verdict_on(BOX)
    for other in (
        pv.Box([-1, "-0.1"], [1, "0.1"]),
        pv.Box([-1, "-0.1"], [2, 0.1]),
        pv.Space(2),
        pv.Slice([0, 0], [[0, 1], [1, 0]], BOX),
    ):
        verdict = verdict_on(other)
        assert not verdict
        assert verdict.stats["domain_sha256"] == sha256(other) != sha256(BOX)


# ------------------------------------------------------------------------------------ long integers


def test_decimal_is_str_where_str_works():
    rng = random.Random(1)
    values = [0, 1, -1, *(10**k + d for k in (1, 511, 512, 513, 1024, 2048) for d in (-1, 0, 1))]
    values += [rng.getrandbits(rng.randrange(1, 14_000)) for _ in range(200)]
    for value in values:
        assert decimal(value) == str(value)
        assert decimal(-value) == str(-value)


@pytest.mark.parametrize("digits", [4299, 4300, 4301, 8191, 8192, 8193, 20_000])
def test_decimal_of_long_integers(digits):
    assert decimal(10**digits) == "1" + "0" * digits
    assert decimal(10**digits - 1) == "9" * digits
    assert decimal(-(10**digits) - 20) == "-1" + "20".zfill(digits)
    value = random.Random(digits).randrange(10 ** (digits - 1), 10**digits)
    for sign in (1, -1):
        assert read_decimal(decimal(sign * value)) == sign * value


def test_decimal_needs_no_more_than_the_least_limit_and_leaves_it_alone():
    code = (
        "import sys; from plverify.proof import decimal;"
        "text = decimal(7 * (10**9000 - 1) // 9);"
        "print(text == '7' * 9000, getattr(sys, 'get_int_max_str_digits', lambda: 640)())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONINTMAXSTRDIGITS": "640",
        },
    )
    assert out.stdout.split() == ["True", "640"]


# -------------------------------------------------------------------------------- all or nothing


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.plproof"
    for data in (b"first", b"", b"the third, longer one" * 10_000):
        write_atomically(path, data)
        assert path.read_bytes() == data
        assert os.listdir(tmp_path) == ["a.plproof"]
    write_atomically(str(path), b"by name")
    assert path.read_bytes() == b"by name"


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), pv.InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
    ids=["disk full", "interrupt", "memory"],
)
def test_failures_leave_nothing_behind(tmp_path, monkeypatch, old, step, error, seen):
    path = tmp_path / "a.plproof"
    if old is not None:
        path.write_bytes(old)

    def fail(*arguments):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(seen) as caught:
        write_atomically(path, b"new")
    monkeypatch.undo()
    if seen is pv.InputError:
        assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert os.listdir(tmp_path) == ([] if old is None else ["a.plproof"])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("name", ["none/a", "file/a", "n" * 250, "n" * 300, "none/.."])
def test_names_that_cannot_be_written_are_one_line(tmp_path, name):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(pv.InputError, match="cannot write"):
        write_atomically(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["folder", "folder/..", "pipe", "link", "device"])
def test_only_regular_files_are_replaced(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "device").symlink_to(os.devnull)
    before = sorted((entry.name, entry.lstat().st_mode) for entry in tmp_path.iterdir())
    with pytest.raises(pv.InputError, match="not a regular file"):
        write_atomically(tmp_path / name, b"new")
    assert sorted((entry.name, entry.lstat().st_mode) for entry in tmp_path.iterdir()) == before


@pytest.mark.parametrize("path", ["", ".", "/", os.devnull])
def test_folders_and_devices_are_refused_by_name(path):
    with pytest.raises(pv.InputError, match="not a regular file"):
        write_atomically(path, b"new")
    assert not os.path.isfile(os.devnull)
