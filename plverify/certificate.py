"""`check`: hand a proof and a network to the independent checkers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from plverify import _check, checker
from plverify.errors import InputError
from plverify.exact_net import ExactNet
from plverify.network import Network, load
from plverify.proof_reader import Body, Statement, Verdict, require


def check(
    proof: str | os.PathLike[str] | bytes,
    net: Network | Any,
    spec: None = None,
    *,
    python: bool = False,
    timeout: float | None = None,
) -> Verdict:
    """Validate a proof in exact arithmetic, with code that shares no reasoning with the engine.

    Lists of polygons are read by the Python checker. Trees, which may be long, are read by a
    compiled one, unless `python` is set.

    Parameters
    ----------
    proof : path or bytes
    net : Network, or what `load` reads
        The network that the proof must be about.
    spec : None
        No claim about a specification exists yet.
    python : bool
        Read trees in plain Python integers, too: slower by a factor of fifty and more, with
        less to trust.
    timeout : float, optional
        Seconds after which the compiled checker gives up; the proof then counts as rejected.

    Returns
    -------
    Verdict
        True in a boolean context if accepted; ``claim`` says in words what is proven.

    Raises
    ------
    InputError
        If the proof file cannot be read.

    Examples
    --------
    >>> import plverify as pv
    >>> net = pv.Network.from_arrays([[[1.0], [2.0]], [[1.0, -1.0]]], [[0.0, -1.0], [0.0]])
    >>> proof = pv.regions(net, pv.Box([-1], [1]), exact=True).proof()
    >>> bool(pv.check(proof, net))
    True
    """
    if spec is not None:
        raise InputError("region-list proofs take no specification")
    if timeout is not None and not timeout >= 0:
        raise InputError("a timeout must be at least 0 seconds")
    network = net if isinstance(net, Network) else load(net)
    try:
        tree = None if python else _compiled(timeout)
        return checker.check(proof, network.exact_net, tree)
    except OSError as error:
        raise InputError(f"cannot read the proof {proof!r}: {error.strerror or error}") from None


def _compiled(
    timeout: float | None,
) -> Callable[[Statement, ExactNet, Body], dict[str, Any]]:
    """The compiled checker of trees, as `checker.check` takes it."""

    def walk(statement: Statement, net: ExactNet, body: Body) -> dict[str, Any]:
        accepted, reason, counts = _check.check_tree(
            net.to_bytes(), statement.domain, statement.regions, body.more, timeout
        )
        require(accepted, reason)
        return dict(counts)

    return walk
