"""The one place where Python calls the compiled engine.

A question is a network, a domain and what is wanted; the engine answers it in one call, with the
GIL released, and Ctrl-C or a timeout ends it with what it has found so far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import plverify._core as _core
from plverify.domain import Domain
from plverify.errors import InputError
from plverify.network import Network
from plverify.result import Status

MAX_DIMENSION: int = _core.max_dimension
"""Regions are enumerated over domains of at most so many dimensions."""

Want = Literal["count", "regions", "ties"]
Progress = Callable[[int], None]


def as_domain(domain: Any, net: Network) -> Domain:
    """Check that ``domain`` is one and lies in the network's input space.

    Raises
    ------
    InputError
        If it is no domain, or has another ambient dimension than the network has inputs.
    """
    if not isinstance(domain, Domain):
        raise InputError(
            f"domain is a {type(domain).__name__}, expected a Box, Polytope, Slice or Space"
        )
    if domain.ambient != net.input_size:
        raise InputError(
            f"the domain ({domain.describe()}) lies in R^{domain.ambient}, "
            f"the network has {net.input_size} inputs"
        )
    return domain


def enumerate_regions(
    net: Network,
    domain: Domain,
    want: Want,
    *,
    threads: int = 1,
    timeout: float | None = None,
    exact: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask the engine for the activation regions of a network on a domain.

    Parameters
    ----------
    want : "count", "regions" or "ties"
        Count in constant memory, list, or find where two outputs tie for the maximum.
    threads : int
        The answer does not depend on it.
    timeout : float, optional
        Seconds of wall time after which the engine stops with what it has.
    exact : bool
        Whether every vertex is also computed exactly, where there are vertices: in at most
        `MAX_DIMENSION` dimensions.
    progress : callable, optional
        Called about ten times a second with the number of regions found so far.

    Raises
    ------
    InputError
        On a domain without interior, or of more than two dimensions for "ties".
    """
    if timeout is not None and not timeout >= 0:
        raise InputError(f"timeout is {timeout}, expected at least 0 seconds")
    if threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    options: dict[str, Any] = {"threads": threads, "timeout": timeout, "progress": progress}
    try:
        if domain.dim > MAX_DIMENSION and want != "ties":
            return _core.halfspaces(net.core, domain.to_bytes(), want, **options)
        return _core.enumerate(net.core, domain.to_bytes(), want, decide=int(exact), **options)
    except ValueError as error:
        raise InputError(str(error)) from None


def status_of(answer: dict[str, Any]) -> Status:
    """The status of an engine answer."""
    return Status.COMPLETE if answer["complete"] else Status(answer["reason"])
