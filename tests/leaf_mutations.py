"""Changes of single leaves and statements of dual trees; see `proof_mutations`."""

from __future__ import annotations

import random
from typing import Any


def changed_leaf(record: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    if record[0] == "envelope":
        return _changed_envelope(record, rng)
    if record[0] == "dual" and rng.random() < 0.2:
        units = sorted(rng.sample(range(6), rng.randint(1, 4)))
        v = [term for term in record[3] if term[0] not in units]
        shares = [(unit, _shares(rng)) for unit in units]
        return ("envelope", *record[1:3], v, shares)
    terms = [list(map(list, part)) for part in record[(2 if record[0] == "dual" else 1) :]]
    if record[0] == "dual" and rng.random() < 0.1:
        return ("rule", terms[0])
    if record[0] == "dual" and rng.random() < 0.1:  # all of them
        terms[1] = [[k, -m] for k, m in terms[1]]
    part = rng.choice(terms)
    if part:
        k = rng.randrange(len(part))
        change = rng.randrange(6)
        if change == 0:
            part[k][1] = -part[k][1]
        elif change == 1:
            part[k][1] //= 2
        elif change == 2:
            part[k][1] <<= rng.choice((1, 80, 2000))
        elif change == 3:
            part[k][0] = max(0, part[k][0] + rng.choice((-1, 1)))
        elif change == 4:
            del part[k]
        else:
            part[k][1] += rng.choice((-1, 1))
    part.sort(key=lambda term: term[0])
    head = (record[0], record[1]) if record[0] == "dual" else (record[0],)
    return (*head, *terms)


def statement_of(record: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    """A bound of some unit input with the multipliers of a leaf, or with any."""
    which, shift = rng.randrange(12), rng.choice((0, 0, 3, 60))
    v = [(k, rng.randint(-3, 3) or 1) for k in sorted(rng.sample(range(6), rng.randint(0, 4)))]
    if record[0] in ("dual", "envelope") and rng.random() < 0.5:
        v = record[3]
    units = [unit for unit in range(3) if unit not in dict(v) and rng.random() < 0.3]
    return ("statement", which, shift, v, [(unit, _shares(rng)) for unit in units])


def _changed_envelope(record: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    kind, e, rows, v, units = record
    how = rng.randrange(4)
    if how == 0:
        return ("dual", e, rows, v)
    if how == 1:
        return (kind, *changed_leaf(("dual", e, rows, v), rng)[1:4], units)
    if how == 2:
        return (kind, e, rows, v, [(unit, _shares(rng)) for unit, _ in units])
    return (kind, e, rows, v, rng.sample(units, rng.randint(0, len(units))))


def _shares(rng: random.Random) -> list[tuple[int, int]]:
    points = sorted(rng.sample(range(8), rng.randint(0, 4)))
    return [(point, rng.choice((1, 128, 255, 256, 256))) for point in points]
