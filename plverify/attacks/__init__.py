"""Attacks: inputs close to a given one with another label.

An attack gives an upper bound of the radius and never a lower one. All of them end the same way:
their point is moved to the boundary, verified in exact arithmetic, and a float32 input is looked
for next to it whose label is strictly different (`plverify.attacks.base`).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from plverify.attacks import deepfool, fgsm, pgd, walk
from plverify.attacks.base import Adversarial, Aim, Point, aims, sealed
from plverify.domain import Box
from plverify.errors import InputError
from plverify.exact_array import exact_number
from plverify.network import Network, load
from plverify.result import rounded

__all__ = ["METHODS", "Adversarial", "attack"]

METHODS = ("exact-deepfool", "deepfool", "fgsm", "pgd")


def attack(
    net: Network | Any,
    x: Any,
    method: str = "exact-deepfool",
    norm: str = "linf",
    target: int | Sequence[int] | None = None,
    domain: Box | None = None,
    label: int | Sequence[int] | None = None,
    *,
    eps: Any = None,
    steps: int | None = None,
    restarts: int | None = None,
    seed: int = 0,
) -> Adversarial | list[Adversarial]:
    """Look for a close input with another label.

    Parameters
    ----------
    net : Network, or what `load` reads
        Its label is that of the largest output, of equal ones the first.
    x : (n,) or (batch, n) exact numbers
        Or the network's input shape instead of n.
    method : str
        "exact-deepfool" walks from region to region to a local minimum of the distance (the closest
        input of its region and of those next to it). "deepfool" (Moosavi-Dezfooli 2016), "fgsm"
        (Goodfellow 2015) and "pgd" (Madry 2018) are what is known by these names.
    norm : "l1", "l2" or "linf"
    target : int or sequence of int, optional
        Only inputs with this label count; by default any other one does.
    domain : Box, optional
        Where the input may lie, such as ``Box(0, 1, n)``; default anywhere. An ``x`` outside is
        attacked from the nearest input of the box.
    label : int or sequence of int, optional
        The label that is to be left; default that of ``x``.
    eps : number, optional
        Only inputs at most so far away count; "fgsm" and "pgd" then try this radius only.
    steps : int, optional
        Of "deepfool" (default 50) and "pgd" (default 40).
    restarts : int, optional
        Of "exact-deepfool": walks from random points (default by the norm, 20 to 100).
    seed : int
        Of "pgd".

    Returns
    -------
    Adversarial, or a list of them for a batch

    Raises
    ------
    InputError
        On an unknown method or norm, labels out of range, or sizes that do not fit.

    >>> net = Network.from_arrays([[[2, 0], [0, 1], [-1, -1]]], [[0, 0.5, 0]])
    >>> found = attack(net, [1.0, 0.25], norm="l2")
    >>> found.reached, found.distance, round(found.upper, 6)
    (1, Fraction(5, 16), 0.559017)
    >>> found.adversarial_label, found.adversarial_norm < 0.5591
    (1, True)
    """
    network = net if isinstance(net, Network) else load(net)
    if method not in METHODS:
        raise InputError(f"method is {method!r:.40}, expected one of {', '.join(METHODS)}")
    radius = None if eps is None else exact_number(eps, "eps")
    if radius is not None and radius < 0:
        raise InputError(f"eps is {eps}, a radius cannot be negative")
    if steps is not None and (isinstance(steps, bool) or not 0 < steps <= 1_000_000):
        raise InputError(f"steps is {steps}, expected a positive number")
    wanted = aims(network, x, label, norm, target, domain)
    todo = [aim for aim in wanted if not aim.inside]
    points = iter(_run(method, todo, radius, steps, restarts, seed))
    out = []
    for aim in wanted:
        point = aim.x if aim.inside else next(points)
        out.append(sealed(method, aim, point, None if radius is None else Fraction(radius)))
    return out[0] if network._points(x)[1] else out


def _run(
    method: str,
    wanted: Sequence[Aim],
    radius: Fraction | float | None,
    steps: int | None,
    restarts: int | None,
    seed: int,
) -> list[Point | None]:
    """Points that attacks return, one per aim; none of them is believed."""
    eps = None if radius is None else rounded(Fraction(radius))
    if method == "exact-deepfool":
        return walk.run(wanted, restarts)
    if method == "deepfool":
        return deepfool.run(wanted, steps or deepfool.STEPS)
    if method == "fgsm":
        return fgsm.run(wanted, eps)
    return pgd.run(wanted, eps, steps or pgd.STEPS, seed)
