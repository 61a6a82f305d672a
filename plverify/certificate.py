"""`check`: hand a proof and a network to the independent checker."""

from __future__ import annotations

import os
from typing import Any

from plverify import checker
from plverify.errors import InputError
from plverify.network import Network, load


def check(
    proof: str | os.PathLike[str] | bytes, net: Network | Any, spec: None = None
) -> checker.Verdict:
    """Validate a proof in integer arithmetic, with code that shares nothing with the engine.

    Parameters
    ----------
    proof : path or bytes
    net : Network, or what `load` reads
        The network that the proof must be about.
    spec : None
        No claim about a specification exists yet.

    Returns
    -------
    Verdict
        True in a boolean context if accepted; ``claim`` says in words what is proven.

    Raises
    ------
    InputError
        If the proof file cannot be read.
    """
    if spec is not None:
        raise InputError("region-list proofs take no specification")
    network = net if isinstance(net, Network) else load(net)
    try:
        return checker.check(proof, network.exact_net)
    except OSError as error:
        raise InputError(f"cannot read the proof {proof!r}: {error.strerror or error}") from None
