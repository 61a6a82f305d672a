"""What every list of activation regions has, and the list for many dimensions.

Up to eight dimensions the engine hands out regions with vertices (`plverify.partition`); above it
describes them by inequalities, with a point inside each: `HalfspaceRegions`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plverify._core as _core
from plverify import proof
from plverify.domain import Domain
from plverify.errors import InputError
from plverify.local import LocalRegion, region_of_pattern
from plverify.network import Network
from plverify.nodes import Units
from plverify.question import status_of
from plverify.region import ExactVertex, ListedRegion, Point
from plverify.result import jsonable

Array = NDArray[Any]
Unit = tuple[int, int]


def _units_that(net: Network, never: Array) -> list[Unit]:
    """Units (layer, unit) of two pieces whose flag in ``never`` is 0."""
    layer_of = np.repeat(np.arange(len(net.widths)), net.widths)
    start = np.concatenate([[0], np.cumsum(net.widths)])
    two = [np.zeros(0, bool)]
    two += [
        ~n.single if isinstance(n, Units) else np.zeros(n.size, bool) for _, n in net.unit_nodes
    ]
    flat = np.flatnonzero((never == 0) & np.concatenate(two))
    return [(int(layer_of[f]), int(f - start[layer_of[f]])) for f in flat]


def fixed_units(
    net: Network, answer: dict[str, Any]
) -> tuple[list[Unit] | None, list[Unit] | None]:
    """Dead and always-active units of a complete run."""
    if not answer["complete"]:
        return None, None
    return _units_that(net, answer["ever_on"]), _units_that(net, answer["ever_off"])


class RegionList(ABC):
    """The activation regions of a network on a domain, in the order of the engine's walk.

    Attributes
    ----------
    net, domain
        What was asked.
    count, complete, status, dead_units, always_active_units, stats
        As in `RegionCount`.
    J : (count, outputs, dim) float64 array
    c : (count, outputs) float64 array
        The output map in domain coordinates, ``f = J t + c``, rounded.
    """

    def __init__(self, net: Network, domain: Domain, answer: dict[str, Any]) -> None:
        self.net, self.domain = net, domain
        self.count: int = answer["count"]
        self.complete: bool = answer["complete"]
        self.status = status_of(answer)
        self.dead_units, self.always_active_units = fixed_units(net, answer)
        self.stats: dict[str, Any] = answer["stats"]
        self.packed_patterns: Array = answer["patterns"]
        self.J: Array = answer["jacobian"]
        self.c: Array = answer["offset"]

    @abstractmethod
    def _region(self, index: int) -> ListedRegion:
        """The region of this number, from 0 to `count` - 1."""

    @property
    def reason(self) -> str:
        """Why the run is not complete: "timeout", "interrupted", or ""."""
        return "" if self.complete else str(self.status)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.count))]
        i = index + self.count if index < 0 else index
        if not 0 <= i < self.count:
            raise IndexError(f"region {index} of {self.count}")
        return self._region(int(i))

    def __iter__(self) -> Iterator[Any]:
        return (self._region(i) for i in range(self.count))

    def __repr__(self) -> str:
        left = "" if self.complete else f" ({self.reason}: incomplete)"
        where, name = self.domain.describe(), type(self).__name__
        return f"<{name}: {self.count} activation regions of {self.net!r} on {where}{left}>"

    @cached_property
    def patterns(self) -> Array:
        """(count, units) array of activation patterns, unit after unit, layer after layer.

        bool where every unit has two pieces, else the units' pieces as unsigned integers.
        """
        return self.net.unpack(self.packed_patterns)

    @property
    @abstractmethod
    def linear_labels(self) -> Array:
        """(count,) int array: the number of the linear region of each activation region."""

    @property
    def linear_count(self) -> int:
        """The number of linear regions."""
        return int(self.linear_labels.max(initial=-1)) + 1

    @cached_property
    def _index(self) -> dict[bytes, int]:
        return {row.tobytes(): i for i, row in enumerate(self.packed_patterns)}

    def find(self, t: Any) -> Any:
        """The region that holds the point ``t`` of the domain (domain coordinates), exactly.

        On a facet it is one of the regions that meet there. None if the point lies outside the
        domain or its region was not listed (an incomplete run).

        >>> import plverify as pv
        >>> rs = pv.regions(pv.Network.from_arrays([[[1.0]], [[1.0]]]), pv.Box([-1], [1]))
        >>> rs.find([0.5]).pattern.tolist()
        [True]
        """
        point = [Fraction(v) for v in np.asarray(t, dtype=object).ravel().tolist()]
        if len(point) != self.domain.dim:
            raise InputError(f"t has {len(point)} entries, expected {self.domain.dim}")
        at = self.net.exact_net.pattern_at(point, self.domain.slice_map())
        index = self._index.get(self.net.exact_net.pack(at.bits))
        if index is not None and self[index].contains(point):
            return self[index]
        return next((region for region in self if region.contains(point)), None)

    def write_proof(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        """Write a proof that these are all activation regions, for `plverify check`.

        Raises
        ------
        InputError
            If the run is not complete, in one and two dimensions if it was made without
            ``exact=True``, or on a disk error.
        """
        proof.write_atomically(path, self.proof(threads))

    def proof(self, threads: int = 1) -> bytes:
        """The proof as bytes; see `write_proof`."""
        if not self.complete:
            raise InputError(
                f"the list of regions is not complete ({self.reason}): nothing to prove"
            )
        return self._proof(threads)

    def _proof(self, threads: int) -> bytes:
        """By the split tree, which is walked once more for it."""
        data = self.domain.to_bytes()
        answer = _core.halfspaces(self.net.core, data, "proof", threads=threads)
        if not answer["complete"]:
            raise KeyboardInterrupt
        return proof.encode(
            proof.region_tree_header(self.net, self.domain, answer["count"]), answer["proof"]
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays to an ``.npz`` file.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        import io

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._arrays())
        proof.write_atomically(path, buffer.getvalue())

    def _arrays(self) -> dict[str, Any]:
        return {
            "patterns": self.patterns,
            "J": self.J,
            "c": self.c,
            "complete": self.complete,
            "network": self.net.digest,
            "domain": self.domain.describe(),
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready summary."""
        return {
            "count": self.count,
            "linear_count": self.linear_count,
            "complete": self.complete,
            "status": str(self.status),
            "dead_units": jsonable(self.dead_units),
            "always_active_units": jsonable(self.always_active_units),
            "network": self.net.digest,
            "domain": self.domain.describe(),
            "stats": jsonable(self.stats),
        }


class HalfspaceRegion(ListedRegion):
    """One activation region of many dimensions: as `plverify.Region`, and found when asked for.

    Facets come from exact linear programs, some milliseconds a region; vertices from facets, where
    a region has at most 4,096 of them, and volumes from vertices: seconds for a thousand in nine
    dimensions.
    """

    _list: HalfspaceRegions

    def __repr__(self) -> str:
        return f"<HalfspaceRegion {self.index} of {self._list.count}>"

    @cached_property
    def _local(self) -> LocalRegion:
        return region_of_pattern(self._list.net, self._list.domain, self.pattern)

    def inequalities(self) -> list[tuple[int, ...]]:
        return list(self._local.inequalities)

    @property
    def units(self) -> tuple[Unit | None, ...]:
        """(layer, unit) whose kink each facet is; None for a constraint of the domain."""
        return self._local.units

    @property
    def vertices(self) -> Array:
        return self._local.vertices

    @property
    def exact_vertices(self) -> list[ExactVertex]:
        """The finite vertices."""
        return [ExactVertex(p) for p in self._local.exact_vertices]

    @property
    def bounded(self) -> bool:
        return self._local.bounded

    @property
    def exact_volume(self) -> Fraction | None:
        return self._local.exact_volume

    @property
    def _volume_interval(self) -> tuple[Fraction, Fraction]:
        return self._local.volume_interval

    @property
    def exact_interior_point(self) -> Point:
        return self._local.exact_interior_point

    @cached_property
    def neighbours(self) -> list[HalfspaceRegion]:
        numbers = map(self._list.number_of, self._local.patterns_beyond())
        return [self._list[i] for i in dict.fromkeys(numbers) if i is not None]


class HalfspaceRegions(RegionList):
    """The activation regions of a network on a domain of many dimensions.

    Beside what `RegionList` has:

    Attributes
    ----------
    points : (count, dim) float64 array
        A point inside each region, rounded; `HalfspaceRegion.interior_point` is surely inside.
    """

    def __init__(self, net: Network, domain: Domain, answer: dict[str, Any]) -> None:
        super().__init__(net, domain, answer)
        self.points: Array = answer["points"]

    def _region(self, index: int) -> HalfspaceRegion:
        return HalfspaceRegion(self, index)

    def number_of(self, pattern: Array) -> int | None:
        """The number of the region with a pattern, None if it is not listed."""
        return self._index.get(self.net.exact_net.pack(pattern.tolist()))

    @cached_property
    def linear_labels(self) -> Array:
        """(count,) int array: the number of the linear region of each activation region.

        As `RegionSet.linear_labels`. Facets are found by exact linear programs, and only of regions
        whose map another one has too: seconds for some hundred of those.
        """
        same: dict[Any, list[int]] = {}
        for i, region in enumerate(self):
            table, offset = region.affine_map(exact=True)
            same.setdefault((*table.ravel().tolist(), *offset.tolist()), []).append(i)
        label = list(range(self.count))

        def root(i: int) -> int:
            while label[i] != i:
                label[i] = label[label[i]]
                i = label[i]
            return i

        for members in same.values():
            among = set(members)
            for i in members if len(members) > 1 else ():
                for near in self[i].neighbours:
                    if near.index in among:
                        label[root(i)] = root(near.index)
        _, labels = np.unique([root(i) for i in range(self.count)], return_inverse=True)
        return labels.astype(np.int32)

    def _arrays(self) -> dict[str, Any]:
        return super()._arrays() | {"points": self.points}
