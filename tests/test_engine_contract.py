"""What the engine promises beside right answers: it stops, it lets others run, it stays small.

Timeouts, interrupts, the GIL, constant memory, streams, hostile bytes, foreign floating-point modes
and numbers beyond the range of doubles (``shared/DESIGN.md`` section 1, ``docs/developer.md``).
What might kill or hang the process runs in a process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import platform
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from strategies import random_degenerate_net, reference_domain
from tools import script

import plverify as pv
from plverify import _core, reference, theory, theory_nets

F = Fraction
PATIENCE = 60.0
"""Seconds for what takes a fraction of one on an idle machine."""


@lru_cache(maxsize=4)
def large(*sizes: int) -> pv.Network:
    """He initialisation: far more regions than can be listed in a few seconds."""
    rng = np.random.default_rng(0)
    sizes = sizes or (2, 256, 256, 256, 256, 3)
    weights = [rng.normal(0, np.sqrt(2 / a), (b, a)) for a, b in itertools.pairwise(sizes)]
    return pv.Network.from_arrays(weights, [rng.normal(0, 0.1, len(w)) for w in weights])


BOX = pv.Box(-1, 1, 2)
SMALL = pv.Network.from_arrays([[[1, 2], [3, -1], [1, 1]], [[1, -1, 2]]], [[0, 1, -1], [0]])


def child(script: str, *arguments: str, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )


def answer_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


# ----------------------------------------------------------------------------------------- timeouts


@pytest.mark.sanitize
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("decide", [0, 1, 2])
@pytest.mark.parametrize("want", ["count", "regions", "ties"])
def test_a_timeout_ends_the_run_with_what_was_found(want: str, decide: int, threads: int) -> None:
    net = large()
    core = net.core
    start = time.monotonic()
    out = _core.enumerate(core, BOX.to_bytes(), want, timeout=0.2, decide=decide, threads=threads)
    wall = time.monotonic() - start
    assert (out["complete"], out["reason"]) == (False, "timeout")
    assert 0.15 < wall < PATIENCE / 10
    assert decide or out["count"] > 0
    if want == "regions":
        assert len(out["patterns"]) == len(out["vertex_count"]) == out["count"]
        assert len({row.tobytes() for row in out["patterns"]}) == out["count"]


def test_timeouts_from_none_to_forever() -> None:
    data = BOX.to_bytes()
    for want in ("count", "regions", "ties"):
        out = _core.enumerate(large().core, data, want, timeout=0.0)
        assert (out["count"], out["complete"], out["reason"]) == (0, False, "timeout")
    for timeout in (None, 1e9, float("inf")):
        assert _core.enumerate(SMALL.core, data, timeout=timeout)["complete"]
    for timeout in (-1.0, float("nan")):
        with pytest.raises(ValueError):
            _core.enumerate(SMALL.core, data, timeout=timeout)
        with pytest.raises(pv.InputError):
            pv.count_regions(SMALL, BOX, timeout=timeout)


def test_an_incomplete_answer_says_so_everywhere() -> None:
    count = pv.count_regions(large(), BOX, timeout=0.2)
    assert (count.complete, str(count.status), count.reason) == (False, "timeout", "timeout")
    assert count.dead_units is None
    assert count.always_active_units is None
    assert json.loads(count.to_json())["complete"] is False
    listed = pv.regions(large(), BOX, timeout=0.2, exact=True)
    assert not listed.complete
    assert "incomplete" in repr(listed)
    with pytest.raises(pv.InputError, match="not complete"):
        listed.proof()
    assert (listed.neighbour_index >= -2).all()
    assert (listed.neighbour_index == -2).any()
    assert len(listed.linear_labels) == listed.count
    assert not pv.decision_boundary(large(), BOX, timeout=0.1).complete
    line = pv.Slice([0, 0], [[1], [1]], pv.Box([-1], [1]))
    assert not pv.knots(large(), line, timeout=0.0).complete


def test_a_listed_part_is_a_part_of_the_whole() -> None:
    """What an interrupted run has found is right: the regions hold their own interior points."""
    part = pv.regions(large(2, 128, 128, 128, 128, 1), BOX, timeout=0.03)
    assert not part.complete
    for region in itertools.islice(part, 20):
        assert region.contains(region.exact_interior_point, strict=True)
        at = part.net.pattern(list(region.exact_interior_point))
        assert (at == region.pattern).all()
        assert region.exact_volume > 0


# ------------------------------------------------------------------------------ threads and the GIL


@pytest.mark.parametrize("want", ["count", "regions"])
def test_other_python_threads_run_meanwhile(want: str) -> None:
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    core = large().core
    other = threading.Thread(target=tick)
    other.start()
    try:
        before = ticks
        _core.enumerate(core, BOX.to_bytes(), want, timeout=0.6)
        during = ticks - before
    finally:
        done.set()
        other.join()
    assert during >= 20  # some 500 on an idle machine, 0 or 1 with the GIL held


def test_one_network_serves_many_threads_at_once() -> None:
    net = pv.Network.from_arrays(*theory_nets.serra_net(2, [6, 6, 3]))
    net.core  # noqa: B018
    expected = theory.serra_lower(2, [6, 6, 3])
    found: list[int] = []

    def work(k: int) -> None:
        for _ in range(5):
            out = _core.enumerate(net.core, pv.Space(2).to_bytes(), ("count", "regions")[k % 2])
            found.append(out["count"])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 30


def test_progress_is_reported_and_may_raise() -> None:
    seen: list[int] = []
    pv.count_regions(large(), BOX, timeout=0.7, progress=seen.append)
    assert seen
    assert seen == sorted(seen)
    assert seen[-1] > 0

    def fail(count: int) -> None:
        raise KeyError(count)

    start = time.monotonic()
    with pytest.raises(KeyError):
        pv.count_regions(large(), BOX, timeout=PATIENCE, progress=fail)
    assert time.monotonic() - start < PATIENCE / 2


def test_bad_options_are_the_callers_fault() -> None:
    data = BOX.to_bytes()
    for options in (
        {"threads": 0},
        {"threads": -1},
        {"threads": 10**6},
        {"decide": 3},
        {"decide": -1},
    ):
        with pytest.raises(ValueError):
            _core.enumerate(SMALL.core, data, **options)
    with pytest.raises(ValueError):
        _core.enumerate(SMALL.core, data, "everything")
    for batch in (0, -5):
        with pytest.raises(ValueError):
            _core.stream(SMALL.core, data, batch=batch)
    for domain in (pv.Box(-1, 1, 3), pv.Space(1), pv.Box([0, 0], [0, 1])):
        with pytest.raises(ValueError):
            _core.enumerate(SMALL.core, domain.to_bytes())
        with pytest.raises(pv.InputError):
            pv.regions(SMALL, domain)
    with pytest.raises(TypeError):
        _core.Net("text")
    assert _core.enumerate(SMALL.core, data, threads=64)["count"] == pv.regions(SMALL, BOX).count


# ----------------------------------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
    import json, sys, threading, time, os, signal
    import numpy as np
    import plverify as pv
    rng = np.random.default_rng(0)
    sizes = (2, 512, 512, 512, 512, 3)
    weights = [rng.normal(0, np.sqrt(2 / a), (b, a)) for a, b in zip(sizes, sizes[1:])]
    net = pv.Network.from_arrays(weights, [rng.normal(0, 0.1, len(w)) for w in weights])
    box = pv.Box(-1, 1, 2)
    net.core
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    what = sys.argv[1]
    try:
        if what == "stream":
            found = sum(part["count"] for part in pv.stream_regions(net, box, timeout=100))
            out = {"ended": "normally"}
        else:
            call = {"count": pv.count_regions, "regions": pv.regions, "ties": pv.decision_boundary}
            found = call[what](net, box, timeout=100, threads=int(sys.argv[2]))
            out = {"ended": str(found.status), "complete": found.complete}
    except KeyboardInterrupt:
        out = {"ended": "KeyboardInterrupt"}
    print(json.dumps({**out, "seconds": time.monotonic() - start}))
"""


@pytest.mark.parametrize(
    ("what", "threads"), [("count", "1"), ("count", "2"), ("regions", "1"), ("ties", "1")]
)
def test_ctrl_c_ends_the_run_with_what_was_found(what: str, threads: str) -> None:
    out = answer_of(child(INTERRUPTED, what, threads))
    assert (out["ended"], out["complete"]) == ("interrupted", False)
    assert out["seconds"] < PATIENCE


def test_ctrl_c_ends_a_stream() -> None:
    out = answer_of(child(INTERRUPTED, "stream"))
    assert out["ended"] == "KeyboardInterrupt"
    assert out["seconds"] < PATIENCE


# ------------------------------------------------------------------------------------------ memory

MEMORY = """
    import json, sys
    import plverify as pv
    from plverify import theory, theory_nets

    def peak():  # MiB; ru_maxrss would begin with the parent's
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

    widths = [6, 6, 6, 6, 3]
    net = pv.Network.from_arrays(*theory_nets.serra_net(2, widths))
    small = pv.Network.from_arrays(*theory_nets.serra_net(2, [6, 6, 3]))
    plane = pv.Space(2)
    how = sys.argv[1]
    if how == "stream":
        def run(n): return sum(part["count"] for part in pv.stream_regions(n, plane, batch=1000))
    elif how == "list":
        def run(n): return pv.regions(n, plane).count
    else:
        def run(n): return pv.count_regions(n, plane, threads=int(how)).count
    run(small)
    before = peak()
    count = run(net)
    print(json.dumps({"count": count, "expected": theory.serra_lower(2, widths),
                      "grown": peak() - before}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("how", ["1", "2", "stream"])
def test_half_a_million_regions_take_no_memory(how: str) -> None:
    out = answer_of(child(MEMORY, how))
    assert out["count"] == out["expected"] == 458_752
    assert out["grown"] < 40, "MiB; the list takes some 200"


SORTED = """
    import json
    import plverify as pv

    def peak():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

    def run(units):
        knots = [-k for k in range(units)]
        net = pv.Network.from_arrays([[[1]] * units, [[1] * units]], [knots, [0]])
        return pv.count_regions(net, pv.Space(1)).count

    run(10)
    before = peak()
    print(json.dumps({"count": run(6000), "grown": peak() - before}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_units_in_sorted_order_take_little_memory() -> None:
    """The list of units that cross a cell halves from split to split, or it would be 6000^2 / 2."""
    out = answer_of(child(SORTED))
    assert out["count"] == 6001
    assert out["grown"] < 200, "MiB"


# ----------------------------------------------------------------------------------------- streams


def test_a_closed_stream_ends_at_once() -> None:
    for close in (lambda stream: stream.close(), lambda stream: None):
        stream = _core.stream(large().core, BOX.to_bytes(), batch=50, threads=2)
        assert 1 <= stream.next()["count"] <= 50
        start = time.monotonic()
        close(stream)
        del stream
        gc.collect()
        assert time.monotonic() - start < PATIENCE / 4


def test_what_a_closed_stream_says() -> None:
    stream = _core.stream(large().core, BOX.to_bytes(), batch=50)
    first = stream.next()
    stream.close()
    left = list(iter(stream.next, None))
    assert len(left) <= 64
    result = stream.result()
    assert (result["complete"], result["reason"]) == (False, "stopped")
    assert result["count"] >= first["count"] + sum(part["count"] for part in left)
    stream.close()  # again, to no effect
    assert stream.next() is None


def test_a_timed_out_stream_hands_out_what_it_counts() -> None:
    stream = _core.stream(large().core, BOX.to_bytes(), batch=64, timeout=0.3)
    parts = list(iter(stream.next, None))
    result = stream.result()
    assert (result["complete"], result["reason"]) == (False, "timeout")
    assert sum(part["count"] for part in parts) == result["count"] > 0
    rows = [row.tobytes() for part in parts for row in part["patterns"]]
    assert len(set(rows)) == len(rows)


def test_a_generator_may_be_left_early() -> None:
    for part in pv.stream_regions(large(), BOX, batch=10):
        assert 1 <= part["count"] <= 10
        break
    gc.collect()
    two = [pv.stream_regions(large(), BOX, batch=10) for _ in range(2)]
    assert [row.tobytes() for row in next(two[0])["patterns"]] == [
        row.tobytes() for row in next(two[1])["patterns"]
    ]
    for generator in two:
        generator.close()


def test_a_stream_asked_for_its_result_first() -> None:
    """More regions than the queue holds: asking for the result must not wait for ever."""
    script = """
        import json
        import plverify as pv
        from plverify import _core, theory_nets
        net = pv.Network.from_arrays(*theory_nets.serra_net(2, [6, 6, 3]))
        stream = _core.stream(net.core, pv.Space(2).to_bytes(), batch=10)
        print(json.dumps(stream.result()["count"]))
    """
    try:
        done = child(script, timeout=20.0)
    except subprocess.TimeoutExpired:
        pytest.fail("Stream.result() before the last batch was taken waits for ever")
    assert answer_of(done) <= 1792


def test_regions_come_out_in_one_order() -> None:
    net, line = large(), pv.Slice([0, 0], [[1], [1]], pv.Box([-1], [1]))
    listed = pv.regions(net, line, threads=2)
    ends = listed.vertices.reshape(-1, 2)
    assert (ends[:, 0] < ends[:, 1]).all()
    assert (ends[1:, 0] == ends[:-1, 1]).all()
    parts = [part["patterns"] for part in pv.stream_regions(net, line, batch=7)]
    assert np.concatenate(parts).tobytes() == listed.packed_patterns.tobytes()


# ------------------------------------------------------------------------------------ hostile bytes

HOSTILE = """
    import json, sys
    from random import Random
    from strategies import random_degenerate_net
    import plverify as pv
    from plverify import _core

    def make(seed):
        case = random_degenerate_net(seed)
        net = pv.Network.from_arrays(case["weights"], case["biases"], case["slopes"])
        d = case["domain"]
        if d["kind"] == "box":
            inf = float("inf")
            domain = pv.Box([-inf if v is None else v for v in d["lo"]],
                            [inf if v is None else v for v in d["hi"]])
        else:
            domain = pv.Space(d["dim"]) if d["kind"] == "space" else pv.Polytope(d["a"], d["b"])
        if "basis" in d:
            domain = pv.Slice(d["origin"], d["basis"], domain)
        return net.canonical, domain.to_bytes()

    def spoil(rng, data):
        data = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            k, kind = rng.randrange(len(data)), rng.random()
            if kind < 0.6:
                data[k] ^= 1 << rng.randrange(8)
            elif kind < 0.8:
                data[k] = rng.choice((0, 1, 2, 127, 128, 255))
            elif kind < 0.9:
                del data[k : k + rng.choice((1, 4, 8, 64))]
            else:
                data[k:k] = rng.randbytes(rng.choice((1, 4, 8)))
            data = data or bytearray(b"P")
        return bytes(data)

    seen = {"answered": 0, "refused": 0}
    rng = Random(int(sys.argv[1]))
    for trial in range(int(sys.argv[2])):
        net, domain = make(rng.randrange(500))
        for _ in range(10):
            one = rng.randrange(3)
            a = net if one == 0 else spoil(rng, net)
            b = domain if one == 1 else spoil(rng, domain)
            try:
                want = rng.choice(("count", "regions", "ties"))
                out = _core.enumerate(_core.Net(a), b, want, timeout=0.5, decide=rng.randrange(3))
                if want == "regions" and out["count"] < 100:
                    out["complex"].neighbours()
                    out["complex"].linear_labels()
                seen["answered"] += 1
            except ValueError:
                seen["refused"] += 1
    print(json.dumps(seen))
"""


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", [1, 2])
def test_spoilt_bytes_are_refused_or_answered(seed: int) -> None:
    out = answer_of(child(HOSTILE, str(seed), "60"))
    assert out["refused"] > 100
    assert out["answered"] > 50


@pytest.mark.sanitize
def test_truncated_bytes_are_refused() -> None:
    case = random_degenerate_net(7)
    net = pv.Network.from_arrays(case["weights"], case["biases"], case["slopes"]).canonical
    domain = pv.Slice([1, 2, -3], [[1, 0], [0, 1], [1, F(1, 3)]], pv.Box(-1, 1, 2)).to_bytes()
    for size in range(len(net)):
        with pytest.raises(ValueError):
            _core.Net(net[:size])
    core = pv.Network.from_arrays([[[1, 1, 1]], [[1]]]).core
    for size in range(len(domain)):
        with pytest.raises(ValueError):
            _core.enumerate(core, domain[:size])
    for tail in (b"\0", b"PLNET", net):
        with pytest.raises(ValueError):
            _core.Net(net + tail)
        with pytest.raises(ValueError):
            _core.enumerate(core, domain + tail)
    assert _core.enumerate(core, domain)["count"] == 2


@pytest.mark.sanitize
def test_huge_declared_sizes_are_refused_before_memory_is_taken() -> None:
    head = b"PLNET\x001\n"
    for sizes in itertools.product((0, 1, 2**24, 2**31, 2**32 - 1), repeat=3):
        data = head + struct.pack("<IIBIII", 2, 3, 1, 0, *sizes[:2]) + bytes(sizes[2] % 257)
        with pytest.raises(ValueError):
            _core.Net(data)
        data = head + struct.pack("<II", *sizes[:2]) + b"\1\0\0\0\0"
        with pytest.raises(ValueError):
            _core.Net(data)
        domain = b"PLDOM\x001\n" + struct.pack("<IIBI", *sizes[:2], 0, sizes[2]) + b"\1"
        if domain != b"PLDOM\x001\n" + struct.pack("<IIBI", 1, 1, 0, 0) + b"\1":
            with pytest.raises(ValueError):
                _core.enumerate(SMALL.core, domain)


# ------------------------------------------------------------------- foreign floating-point modes

FLUSH, UP, DOWN, ZERO = 0x8040, 0x4000, 0x2000, 0x6000


@contextmanager
def control_word(bits: int) -> Iterator[Callable[[], int]]:
    """Run with bits of the SSE control register set; yields a function that reads them."""
    library = ctypes.CDLL(None)
    saved = ctypes.create_string_buffer(64)
    library.fegetenv(saved)

    def read() -> int:
        now = ctypes.create_string_buffer(64)
        library.fegetenv(now)
        return int(struct.unpack_from("<I", now.raw, 28)[0]) & 0xE040

    word = struct.unpack_from("<I", saved.raw, 28)[0] & ~0xE07F
    changed = ctypes.create_string_buffer(saved.raw, 64)
    struct.pack_into("<I", changed, 28, word | bits)
    library.fesetenv(changed)
    try:
        yield read
    finally:
        library.fesetenv(saved)


@pytest.mark.sanitize
@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="glibc's fenv_t on x86-64"
)
@pytest.mark.parametrize("arrays", ["STRUCTURE", "ARRAYS"])
@pytest.mark.parametrize("bits", [FLUSH, UP, DOWN, ZERO, UP | FLUSH], ids=hex)
def test_answers_do_not_depend_on_the_callers_floating_point_mode(bits: int, arrays: str) -> None:
    for seed in range(40):
        case = random_degenerate_net(seed)
        net = pv.Network.from_arrays(case["weights"], case["biases"], case["slopes"]).canonical
        domain = _domain_bytes(case)

        def ask(net: bytes = net, domain: bytes = domain) -> tuple[Any, ...]:
            core = _core.Net(net)
            out = _core.enumerate(core, domain, "regions", threads=2)
            complex_ = out["complex"]
            count = _core.enumerate(core, domain)["count"]
            return out, complex_.neighbours(), complex_.linear_labels(), count

        plain = ask()
        with control_word(bits) as read:
            foreign = ask()
            left = read()
        assert left == bits  # restored for the caller
        assert foreign[3] == plain[3]
        for a, b in zip(plain[1:3], foreign[1:3], strict=True):
            assert a.tolist() == b.tolist()
        for name in getattr(script("dev/fuzz.py"), arrays):
            assert plain[0][name].tobytes() == foreign[0][name].tobytes(), (seed, name)


def _domain_bytes(case: Any) -> bytes:
    domain = script("dev/fuzz.py").engine_domain(dict(case["domain"]))
    return bytes(domain.to_bytes())


# --------------------------------------------------------------------- beyond the range of doubles

TINY, HUGE = 1e-300, 1e300
EXTREME: dict[str, tuple[Any, Any]] = {
    "huge and tiny rows": ([[[HUGE, TINY], [TINY, HUGE], [1, 1]], [[1, 1, 1]]], [[0, 0, -1], [0]]),
    "huge and tiny biases": ([[[1, 1], [1, -1], [TINY, 0]], [[1, 2, 3]]], [[HUGE, TINY, -1], [0]]),
    "products overflow": (
        [[[HUGE, 1], [1, HUGE]], [[HUGE, -HUGE], [1, 1]], [[HUGE, 1]]],
        [[0, 1], [0, -HUGE], [0]],
    ),
    "products underflow": (
        [[[TINY, 1], [1, TINY]], [[TINY, -TINY], [TINY, TINY]], [[TINY, 1]]],
        [[0, TINY], [0, -TINY], [0]],
    ),
    "huge cancels tiny": (
        [[[HUGE, 0], [0, HUGE]], [[TINY, -TINY], [TINY, TINY], [1, -1]], [[1, 1, TINY]]],
        [[0, 0], [0, -1, 0], [0]],
    ),
    "subnormal weights": (
        [[[5e-324, 0], [0, 5e-324], [1e-310, -1e-310]], [[1, -1, HUGE]], [[1]]],
        [[0, 0, 5e-324], [-5e-324], [0]],
    ),
    "six layers of overflow": (
        [[[HUGE, 1], [-1, HUGE]], *[[[HUGE, -1], [1, HUGE]]] * 5, [[1, 1]]],
        [[1, 0], *[[-HUGE, TINY]] * 5, [0]],
    ),
    "the largest double": (
        [[[sys.float_info.max, 1], [1, -sys.float_info.max]], [[1, 1], [-1, 2]], [[1, 1]]],
        [[-sys.float_info.max, 1], [0, -1], [0]],
    ),
}
PLACES: dict[str, Any] = {
    "plane": {"kind": "space", "dim": 2},
    "unit box": {"kind": "box", "dim": 2, "lo": [-1, -1], "hi": [1, 2]},
    "huge box": {"kind": "box", "dim": 2, "lo": [-HUGE, -1], "hi": [HUGE, HUGE]},
    "tiny box": {"kind": "box", "dim": 2, "lo": [-TINY, -TINY], "hi": [TINY, TINY]},
    "subnormal box": {"kind": "box", "dim": 2, "lo": [0, 0], "hi": [5e-324, 1]},
    "far sliver": {"kind": "box", "dim": 2, "lo": [F(10**20), 0], "hi": [10**20 + F(1, 10**40), 1]},
}


@pytest.mark.sanitize
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", EXTREME)
def test_numbers_beyond_doubles_agree_with_reference(name: str, place: str) -> None:
    weights, biases = EXTREME[name]
    slopes = [[0] * len(bias) for bias in biases[:-1]]
    fuzz = script("dev/fuzz.py")
    case = {"weights": weights, "biases": biases, "slopes": slopes, "domain": PLACES[place]}
    oracle = fuzz.Oracle(case)
    for options in fuzz.MODES.values():
        fuzz.check_count(oracle, **options)
        fuzz.check_regions(oracle, **options)
    fuzz.check_threads(oracle)


def test_rounded_answers_beyond_doubles_do_not_raise() -> None:
    """The exact answers are there; their float64 views overflow or underflow without an error."""
    identity = pv.Network.from_arrays([[[1.0]], [[1.0]]])
    assert pv.boundary_distance(identity, [F(10) ** 400]).lower == sys.float_info.max
    net = pv.Network.from_arrays([[[1e-300], [1.0]], [[1.0, 1.0]]], [[-1e300, -1e-320], [0.0]])
    found = pv.knots(net)
    assert [int(x > 1) for x in found.exact] == [0, 1]
    assert found.exact[1] > F(10) ** 599
    assert found.positions.tolist() == [1e-320, float("inf")]
    listed = pv.regions(net, pv.Space(1))
    assert [region.volume for region in listed] == [float("inf")] * 3
    for region in listed:
        assert region.contains(region.exact_interior_point, strict=True)
        assert len(region.interior_point) == 1


def test_reference_places_are_what_they_say() -> None:
    for place in PLACES.values():
        domain = reference_domain(place)
        one = reference.Net([[[1, 0]], [[1]]], [[0], [0]])
        assert 1 <= reference.enumerate_regions(one, domain).activation_regions <= 2


def test_signals_are_as_before() -> None:
    """The engine leaves the handlers of its caller alone."""
    before = signal.getsignal(signal.SIGINT)
    pv.count_regions(SMALL, BOX, threads=2)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.sanitize
@pytest.mark.parametrize("exponent", [8, 59, 60, 61, 62, 63, 70, 200])
def test_rows_of_very_different_scales(exponent: int) -> None:
    """Integers of a layer over one denominator, at the limits of machine words and beyond."""
    small = F(1, 2**exponent)
    first = [[F(1), F(0)], [3 * small, -small], [F(0), F(0)], [F(1, 3), F(0)]]
    net = pv.Network.from_arrays(
        [first, [[1, -1, 1, 1]]], [[F(1, 4), 5 * small, F(0), F(-2, 3)], [0]]
    )
    found = pv.regions(net, pv.Box([-8, -8], [8, 8]), exact=True)
    assert len(found) == 5  # three lines, one of them across the others
    assert pv.check(found.proof(), net, python=True)
