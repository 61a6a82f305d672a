"""One point of a data set: whether its label is robust, or how far it is from another one."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from plverify import proof as proof_files
from plverify.attacks.base import NORMS, Aim, Point, aims, strict_point
from plverify.ball import header, question
from plverify.certificate import evaluate
from plverify.domain import Bound, Box
from plverify.errors import InputError
from plverify.exact_array import FloatArray, exact_number
from plverify.gain.margins import margin_radii, pair_constants, predictions
from plverify.network import Network
from plverify.question import decide
from plverify.radius import Perturbation, minimal_perturbation
from plverify.result import Result, Status, enclose, jsonable
from plverify.verdict import Floats

METHODS = ("exact", "lipschitz")
Number = float | str
"""As tasks have it: a float, or a fraction "p/q"."""


@dataclass(frozen=True)
class Settings:
    """What is asked about every point.

    Attributes
    ----------
    eps : Fraction
        The radius of the closed ball on which the label is to win strictly.
    norm : "linf", "l1" or "l2"
    domain : Box or None
        Where inputs may lie; None for anywhere.
    radius : bool
        Whether the exact radius is wanted, too.
    timeout : float, optional
        Seconds per point.
    proofs : str, optional
        The folder that proofs are written to.
    method : "exact" or "lipschitz"
        A search per point, or Lipschitz constants of the network, found once.
    """

    eps: Fraction
    norm: str = "linf"
    domain: Box | None = None
    radius: bool = False
    timeout: float | None = None
    proofs: str | None = None
    method: str = "exact"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r:.30}, expected one of {', '.join(METHODS)}")
        if self.method == "lipschitz" and (self.radius or self.proofs is not None):
            raise InputError("method lipschitz gives lower ends only: no exact radius, no proofs")
        if self.eps < 0:
            raise InputError(f"eps is {self.eps}, expected at least 0")
        if self.norm not in NORMS:
            raise InputError(f"norm is {self.norm!r:.30}, expected one of {', '.join(NORMS)}")

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types; `from_dict` reads it."""
        sides = None
        if self.domain is not None:
            sides = [_short(self.domain.lo), _short(self.domain.hi)]
        names = ("eps", "norm", "radius", "timeout", "proofs", "method")
        return {name: jsonable(getattr(self, name)) for name in names} | {"domain": sides}

    @staticmethod
    def from_dict(entry: dict[str, Any], inputs: int) -> Settings:
        """What `to_dict` made."""
        domain = entry["domain"]
        if domain is not None:
            lo, hi = ([_bound(v) for v in side] * (inputs if len(side) == 1 else 1)
                      for side in domain)  # fmt: skip
            domain = Box.of_exact(lo, hi)
        rest = {name: entry[name] for name in ("norm", "radius", "timeout", "proofs", "method")}
        return Settings(Fraction(entry["eps"]), domain=domain, **rest)


def _short(side: Sequence[Bound]) -> list[Any]:
    """The ends, or the one that all are."""
    return jsonable(list(side[:1] if len(set(side)) == 1 else side))


def _bound(text: str) -> Bound:
    return float(text) if "inf" in text else Fraction(text)


@dataclass(frozen=True)
class PointResult(Result):
    """What is proven about one point.

    Attributes
    ----------
    index : int
        In the data set.
    label, prediction : int
        The given one, and the network's: the largest output, of equal ones the first; -1 where the
        worker crashed.
    robust : bool or None
        Whether the label wins strictly on the whole closed ball; None if that is not known. False
        for every point with another prediction.
    status : str
        "complete" if all that was asked is known; else why not: "timeout", "unknown", or "crashed".
    reason : str or None
        Of "unknown", in words.
    lower, upper : float
        Proven ends of the distance to the nearest other label; equal or neighbours where the exact
        radius is known. The distance is more than `lower`, unless that is 0 or infinite. `upper` is
        infinite where no other label was found.
    witness : tuple of Fraction, or None
        An exact input in the domain, `upper` away, where the label does not win strictly.
    adversarial : tuple of float, or None
        A float32 input near it with a strictly other label, in exact arithmetic.
    adversarial_norm : float or None
    adversarial_label : int or None
    proof : bytes, str or None
        Of what is stated; the file where it was written to one.
    proof_sha256 : str or None
    nodes : int
        Searched.
    seconds : float
    method : str
        What proved it: "exact" or "lipschitz", as in `Settings`.
    """

    index: int
    label: int
    prediction: int
    robust: bool | None
    status: str
    lower: float
    upper: float
    witness: Point | None = None
    adversarial: Floats | None = None
    adversarial_norm: float | None = None
    adversarial_label: int | None = None
    proof: bytes | str | None = field(default=None, repr=False)
    proof_sha256: str | None = None
    reason: str | None = None
    nodes: int = 0
    seconds: float = 0.0
    method: str = "exact"

    @property
    def correct(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label

    @property
    def exact(self) -> bool:
        """Whether the ends of the radius meet."""
        return self.upper <= math.nextafter(self.lower, math.inf)


class Certifier:
    """A network and what is asked about points."""

    def __init__(self, net: Network, settings: Settings) -> None:
        self.net, self.settings = net, settings

    def point(self, index: int, x: Sequence[Number], label: int | None) -> PointResult:
        """Certify one point.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C.
        """
        start = time.perf_counter()
        point = tuple(Fraction(v) for v in x)
        prediction = int(predictions(self.net, [point])[0])
        own = prediction if label is None else label
        known: dict[str, Any]
        if self.settings.method == "lipschitz":
            known = self._by_constants(point, own, prediction)
        elif self.settings.radius or prediction != own:
            known = self._radius(point, own)
        else:
            known = self._at_eps(point, own)
        data = known.pop("data")
        name, digest = None, None
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            name = self._keep(index, data)
        return PointResult(
            index=index,
            label=own,
            prediction=prediction,
            proof=name,
            proof_sha256=digest,
            seconds=round(time.perf_counter() - start, 6),
            method=self.settings.method,
            **known,
        )

    def _keep(self, index: int, data: bytes) -> str | None:
        if self.settings.proofs is None:
            return None
        path = os.path.join(self.settings.proofs, f"point-{index:06d}.proof")
        proof_files.write_atomically(path, data)
        return path

    @cached_property
    def _constants(self) -> FloatArray:
        return pair_constants(self.net, self.settings.norm, method="fast")

    def _by_constants(self, x: Point, label: int, prediction: int) -> dict[str, Any]:
        """What Lipschitz constants on all of R^n say."""
        known: dict[str, Any] = {"status": Status.COMPLETE.value, "data": None}
        lower = 0.0
        if prediction == label:
            [lower] = margin_radii(self.net, [x], [label], self.settings.norm, self._constants)
        if prediction != label or (lower == 0 and not self._wins(x, label)):
            return known | {"robust": False, "lower": 0.0, "upper": 0.0, "witness": x}
        known |= {"lower": float(lower), "upper": math.inf}
        # The distance is at least `lower`, and another output is as large there.
        if lower == math.inf or Fraction(float(lower)) > self.settings.eps:
            return known | {"robust": True}
        reason = "the bound from Lipschitz constants does not reach eps"
        return known | {"robust": None, "status": Status.UNKNOWN.value, "reason": reason}

    def _wins(self, x: Point, label: int) -> bool:
        """Whether the label's output is strictly the largest at a point."""
        outputs = evaluate(self.net, x)
        return sum(v >= outputs[label] for v in outputs) == 1

    def _radius(self, x: Point, label: int) -> dict[str, Any]:
        """The whole radius, and what that says at eps."""
        found = minimal_perturbation(
            self.net,
            x,
            self.settings.norm,
            self.settings.domain,
            timeout=self.settings.timeout,
            label=label,
            proof=True,
        )
        if found.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        robust = _robust(found, self.settings.eps)
        if robust is None:  # eps lies in the interval, perhaps between neighbouring doubles
            robust = self._at_eps(x, label)["robust"]
        return {
            "robust": robust,
            "status": found.status.value,
            "reason": found.reason,
            "lower": found.lower,
            "upper": found.upper,
            "witness": found.witness,
            "adversarial": found.adversarial,
            "adversarial_norm": found.adversarial_norm,
            "adversarial_label": found.adversarial_label,
            "nodes": found.nodes,
            "data": found.proof,
        }

    def _at_eps(self, x: Point, label: int) -> dict[str, Any]:
        """Whether the ball of radius eps has another label."""
        [aim] = aims(self.net, x, label, self.settings.norm, domain=self.settings.domain)
        eps, square = self.settings.eps, aim.norm == "l2"  # squares stand for l2 distances
        size = _end(aim.norm, eps)
        answer = decide(
            self.net,
            question(aim, size, closed=True),
            want_proof=True,
            timeout=self.settings.timeout,
            claim=(self.net, header(aim, size, math.inf, None, closed=True)),
        )
        status = Status(answer["status"])
        known: dict[str, Any] = {"robust": None, "lower": 0.0, "upper": math.inf, "data": None}
        known |= {"nodes": answer["nodes"], "status": Status.COMPLETE.value}
        if status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        if status is Status.UNSAT:
            return known | {"robust": True, "lower": enclose(eps)[0], "data": answer["file"]}
        if status is not Status.SAT:
            return known | {"status": status.value, "reason": answer.get("reason")}
        numerators, den = answer["witness"]
        witness = tuple(Fraction(v, den) for v in numerators)
        if aim.reached(witness) is None:
            raise RuntimeError("the search returned a point that keeps its label")
        distance = aim.distance(witness)
        data = proof_files.encode(header(aim, Fraction(0), distance, witness), b"")
        known |= {"robust": False, "upper": enclose(distance, root=square)[1], "data": data}
        return known | self._adversary(aim, witness)

    def _adversary(self, aim: Aim, witness: Point) -> dict[str, Any]:
        near = strict_point(aim, witness)
        if near is None:
            return {"witness": witness}
        return {
            "witness": witness,
            "adversarial": near.point,
            "adversarial_norm": enclose(aim.distance(near.point), root=aim.norm == "l2")[1],
            "adversarial_label": near.label,
        }


def _end(norm: str, radius: Fraction) -> Fraction:
    """What stands for a distance: in l2 its square."""
    return radius * radius if norm == "l2" else radius


def _robust(found: Perturbation, eps: Fraction) -> bool | None:
    """Whether the distance is above eps, as far as the interval says."""
    size = _end(found.norm, eps)
    if found.upper_exact is not None and found.upper_exact <= size:
        return False
    lower = found.lower_exact
    return True if lower is None or lower > size or lower == size > 0 else None


def exact_eps(value: Any) -> Fraction:
    """``value`` as the eps of `Settings`.

    >>> exact_eps("0.05")
    Fraction(1, 20)
    """
    number = exact_number(value, "eps")
    assert isinstance(number, Fraction)
    return number
