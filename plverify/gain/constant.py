"""`lipschitz`: an interval that holds the Lipschitz constant of a network on a domain."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from plverify.domain import Box, Domain
from plverify.errors import InputError
from plverify.gain.forms import fits, network_forms
from plverify.gain.jacobian import (
    Attained,
    Rows,
    check_norm,
    float_matrix,
    output_rows,
    sampled,
)
from plverify.gain.local import Found, enumerate_regions, search, search_domain
from plverify.gain.product import PathProduct
from plverify.network import Network, load
from plverify.question import Progress, as_domain, check_limits
from plverify.result import Result, Status, enclose
from plverify.verdict import keep_proof

METHODS = ("product", "eclipse", "lipsdp-layer", "lipsdp", "exact")

_QUICK = 500
"""Inputs and units up to which a semidefinite program takes some seconds at most."""


@dataclass(frozen=True)
class LipschitzConstant(Result):
    """An interval that holds a Lipschitz constant; both ends are proven.

    Attributes
    ----------
    status : Status
        "complete" if the method came to its end, else why it did not.
    method, norm : str
        The norm measures inputs and outputs; a single output is measured by its absolute value.
    domain : str
        In words.
    lower, upper : float
        The constant lies between them.
    value : Fraction or None
        Where it is known exactly: the constant, in l2 its square.
    attained : Fraction or None
        The norm of the Jacobian at `witness` (of several outputs in l2, of the Jacobian in one
        direction), in l2 its square; `lower` is this number rounded down.
    witness : tuple of Fraction, or None
        A point of the domain inside an activation region.
    proof : bytes, str or None
        The proof, or the file it was written to.
    proof_upper : float or None
        The upper end that the proof states. It is larger than `upper` where the search was stopped
        and another method's bound is less: that is proven, too, but not in the proof.
    nodes : int
        Searched.
    seconds : float

    >>> net = Network.from_arrays([[[1], [-1]], [[1, -1]]])          # f(x) = x
    >>> found = lipschitz(net, method="product")
    >>> found.lower, found.upper >= 2, found.exact
    (1.0, True, False)
    """

    status: Status
    method: str
    norm: str
    domain: str
    lower: float
    upper: float
    value: Fraction | None = None
    attained: Fraction | None = None
    witness: tuple[Fraction, ...] | None = None
    proof: bytes | str | None = field(default=None, repr=False)
    proof_upper: float | None = None
    nodes: int = 0
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether the two ends meet, but for rounding."""
        return self.upper <= math.nextafter(self.lower, math.inf)


def lipschitz(
    net: Network | Any,
    domain: Domain | None = None,
    norm: str = "l2",
    method: str = "exact",
    output: Any = None,
    *,
    timeout: float | None = None,
    threads: int = 1,
    proof: bool | Any = None,
    progress: Progress | None = None,
) -> LipschitzConstant:
    """The Lipschitz constant of a network, or of one output, on a domain.

    Parameters
    ----------
    net : Network, or what `load` reads
    domain : Domain, optional
        With an interior; default all of R^n.
    norm : "l1", "l2" or "linf"
        In which inputs and outputs are measured.
    method : str
        "product": norms of the layers along the paths; for networks of any size, in every norm, and
        a bound on all of R^n whatever the domain is. "eclipse", "lipsdp-layer", "lipsdp": for l2,
        semidefinite programs, from a closed form to one multiplier per unit, solved here and
        proven afterwards; on a box, units that are surely on one piece there are no unknowns.
        "exact": the constant itself, by branch and bound over boxes and bounded polytopes, with a
        proof for `plverify.check`; over unbounded domains of few dimensions by listing all
        regions. Where it is not found, the interval is what is known.
    output : int or vector, optional
        One output, or the combination ``c . f`` of them; default the whole map.
    timeout : float, optional
        Seconds after which the interval found so far is returned: some of them, for "exact" at
        least half, are the checker's.
    threads : int
        Of "exact": the search is one thread's; others are used nowhere yet.
    proof : True, path, optional
        Keep a proof of both ends in `LipschitzConstant.proof`, or write it to a file, where the
        engine searched.
    progress : callable, optional
        Called about ten times a second with the number of nodes searched.

    Raises
    ------
    InputError
        On sizes that do not fit, another norm or method, a domain without interior, or a network
        too large for the method.

    >>> biases = [["0.1", "-0.2", "0.3"], [0]]
    >>> net = Network.from_arrays([[[1, 2], [-1, 1], ["0.5", -1]], [[1, -1, 2]]], biases)
    >>> [lipschitz(net, Box(-1, 1, 2), norm).value for norm in ("l1", "l2", "linf")]
    [Fraction(3, 1), Fraction(13, 1), Fraction(5, 1)]
    """
    start = time.perf_counter()
    check_norm(norm)
    check_limits(threads, timeout)
    if method not in METHODS:
        raise InputError(f"method is {method!r:.30}, expected {', '.join(METHODS)}")
    network = net if isinstance(net, Network) else load(net)
    if domain is not None:
        as_domain(domain, network)
    rows = output_rows(network, output)
    ask = _Question(network, domain, norm, rows, output is None)
    if method == "exact":
        found = _exact(ask, timeout, progress)
    elif method == "product":
        found = Found(Status.COMPLETE, ask.sampled(), square(ask.product(), norm), None, 0)
    else:
        found = _semidefinite(ask, method, timeout)
    return _result(ask, method, found, proof, start)


def compare(
    net: Network | Any,
    domain: Domain | None = None,
    norm: str = "l2",
    output: Any = None,
    *,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> dict[str, LipschitzConstant]:
    """One constant by every method that takes it, from the fastest to the exact one.

    Parameters and errors are those of `lipschitz`; `timeout` is per method. A method that the
    network is too large for is left out.

    >>> net = Network.from_arrays([[[1], [-1]], [[1, -1]]])
    >>> {name: round(found.upper, 6) for name, found in compare(net, Box(-1, 1, 1)).items()}
    {'product': 2.0, 'eclipse': 2.0, 'lipsdp-layer': 2.0, 'lipsdp': 2.0, 'exact': 1.0}
    """
    network = net if isinstance(net, Network) else load(net)
    out = {}
    for method in METHODS:
        if method in ("product", "exact") or (norm == "l2" and fits(network)):
            out[method] = lipschitz(
                network, domain, norm, method, output, timeout=timeout, progress=progress
            )
    return out


@dataclass(frozen=True)
class _Question:
    """What is asked."""

    net: Network
    domain: Domain | None
    norm: str
    rows: Rows
    whole: bool

    def product(self) -> float:
        """A bound on all of R^n from the layers' norms."""
        bound = PathProduct(self.net, self.norm)
        return bound.above if self.whole else bound.rows_above(float_matrix(self.rows))

    def sampled(self) -> Attained | None:
        """The largest Jacobian at some points."""
        return sampled(self.net, self.domain, self.norm, self.rows)


def _exact(ask: _Question, timeout: float | None, progress: Progress | None) -> Found:
    case = search_domain(ask.net, ask.domain)
    if case is not None:
        found: Found | None = search(ask.net, case, ask.norm, ask.rows, timeout, progress)
    else:
        found = enumerate_regions(ask.net, ask.domain, ask.norm, ask.rows, timeout)
    if found is None:
        found = Found(Status.UNKNOWN, ask.sampled(), None, None, 0)
    if found.upper is not None and found.status is Status.COMPLETE:
        return found
    ends = [square(ask.product(), ask.norm)]
    if found.upper is not None:
        ends.append(found.upper)
    if ask.norm == "l2" and fits(ask.net, _QUICK):
        above = _semidefinite(ask, "lipsdp", timeout).upper
        assert above is not None
        ends.append(above)
    return replace(found, upper=min(ends))


def _semidefinite(ask: _Question, method: str, timeout: float | None) -> Found:
    from plverify.gain.lipsdp import fast_start, minimise, proven_square

    if ask.norm != "l2":
        raise InputError(f"method {method!r} is about the norm l2; 'product' and 'exact' are not")
    deadline = None if timeout is None else time.monotonic() + timeout
    forms = network_forms(ask.net, ask.rows, ask.domain if isinstance(ask.domain, Box) else None)
    found = fast_start(forms)
    bounds = [square(ask.product(), "l2")]
    # Every program starts from the answer of the one before, which has fewer multipliers.
    for name in METHODS[1 : METHODS.index(method) + 1]:
        if found is None:
            break
        if name != "eclipse":
            found = minimise(forms, found, name == "lipsdp-layer", deadline)
        proven = proven_square(forms, found)
        if proven is None:
            break
        bounds.append(Fraction(proven))
    late = deadline is not None and time.monotonic() > deadline
    status = Status.TIMEOUT if late else Status.COMPLETE
    return Found(status, ask.sampled(), min(bounds), None, 0)


def square(value: float, norm: str) -> Fraction:
    """A float as a Fraction, in l2 its square; infinity as a number beyond float64."""
    exact = Fraction(value) if value < math.inf else Fraction(2) ** 2000
    return exact * exact if norm == "l2" else exact


def _result(
    ask: _Question, method: str, found: Found, proof: bool | Any, start: float
) -> LipschitzConstant:
    root = ask.norm == "l2"
    lower = 0.0
    attained = found.attained
    if attained is not None:
        lower = enclose(attained.value, root=root)[0]
    assert found.upper is not None
    upper = max(lower, enclose(found.upper, root=root)[1])
    value = None
    if attained is not None and attained.value == found.upper:
        value = attained.value
    return LipschitzConstant(
        status=found.status,
        method=method,
        norm=ask.norm,
        domain="all of R^n" if ask.domain is None else ask.domain.describe(),
        lower=lower,
        upper=upper,
        value=value,
        attained=None if attained is None else attained.value,
        witness=None if attained is None else attained.point,
        proof=keep_proof(found.proof, proof) if proof else None,
        proof_upper=(
            enclose(found.proven, root=root)[1] if proof and found.proven is not None else None
        ),
        nodes=found.nodes,
        seconds=time.perf_counter() - start,
    )
