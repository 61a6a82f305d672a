"""`Network`: one exact piecewise-linear function, immutable; and `load`, which reads one.

The nodes (`plverify.nodes`) keep their numbers exactly; the bytes of the canonical form, its
SHA-256 and the plain-integer `ExactNet` are made when first asked for. Floating point is used in
two ways only: `Network.__call__` evaluates in float64 like everybody else, and `Network.pattern`
decides signs in float64 *with a rigorous running error bound* (`plverify.filters`); where the bound
does not decide, the exact integers do. There is no tolerance.

>>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.0]])    # |x|
>>> net
<Network 1-2-1, 2 units>
>>> net([-3.0])
array([3.])
>>> net.pattern([-3.0])
array([False,  True])
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import plverify._core as _core
from plverify import _check, exact_net
from plverify.domain import Domain
from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows, FloatArray, exact_number, join_columns
from plverify.exact_net import MAGIC, ExactNet
from plverify.filters import fixed_filter, float_filter
from plverify.nodes import Conv, Dense, Linear, Max, Node, Slopes, Sparse, Units

if TYPE_CHECKING:
    from plverify.local import LocalRegion

_BATCH = 1024
_FIXED_FROM = 1_000_000
"""Products beyond which fixed point is tried before exact integers."""
_EXACT_LIMIT = 200_000_000
"""Products beyond which one exact evaluation in Python integers takes hours and many gigabytes."""


@dataclass(frozen=True)
class AffineMap:
    """The affine map ``f(x) = J x + c`` of one region; unpacks as ``J, c``.

    Attributes
    ----------
    J : (m, n) array
    c : (m,) array
        float64, or Fractions where the exact map was asked for.
    pattern : (units,) array
        The region's activation pattern, as `Network.pattern` gives it.
    on_boundary : bool
        Whether the point lies on the region's boundary, so that other maps agree with it there.
    """

    J: NDArray[Any]
    c: NDArray[Any]
    pattern: NDArray[Any]
    on_boundary: bool

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter((self.J, self.c))


class Network:
    """A directed acyclic graph of exact linear nodes and units.

    Make one with `Network.from_arrays`, `Network.from_exact` or `load`. Two networks are equal when
    their canonical bytes are. A *layer* is a node of units (`plverify.nodes.Units` or `Max`), a
    unit's *piece* is the affine function it is on.

    Parameters
    ----------
    input_size : int
    nodes : sequence of nodes
        Node ``k`` makes tensor ``k + 1`` from earlier tensors; the last one is linear.
    definitions : sequence of str
        How constants that are not taken exactly were rounded, one sentence each.
    input_shape : tuple of int, optional
        Shape of one input as its file states it, batch dimension included.

    Attributes
    ----------
    origin
        What `load` read the network from and can run beside it (`plverify.float32`): an
        `OnnxFile`, a `TorchProgram`, or None. No part of the network's identity.

    Raises
    ------
    InputError
        If sizes do not fit.
    """

    def __init__(
        self,
        input_size: int,
        nodes: Sequence[Node],
        *,
        definitions: Sequence[str] = (),
        input_shape: tuple[int, ...] | None = None,
    ) -> None:
        if input_size < 1 or not nodes or not isinstance(nodes[-1], Linear):
            raise InputError("a network needs at least one input and ends in a linear node")
        sizes = [input_size]
        for k, node in enumerate(nodes):
            if not all(0 <= source <= k for source in node.sources):
                raise InputError(f"node {k} reads tensors {node.sources}, which are not there yet")
            try:
                node.check([sizes[source] for source in node.sources])
            except InputError as error:
                raise InputError(f"node {k} {error}") from None
            if node.size < 1:
                raise InputError(f"node {k} has no outputs")
            sizes.append(node.size)
        self.nodes = tuple(nodes)
        self.definitions = tuple(definitions)
        self.input_shape = input_shape or (input_size,)
        self.origin: Any = None
        self._sizes = tuple(sizes)
        reads = {source: k for k, node in enumerate(nodes) for source in node.sources}
        self._last_use = tuple(reads.get(t, len(nodes)) for t in range(len(sizes)))

    @staticmethod
    def from_arrays(
        weights: Sequence[Any],
        biases: Sequence[Any] | None = None,
        slope: Any = 0.0,
        *,
        definitions: Sequence[str] = (),
    ) -> Network:
        """A network with ReLU (or LeakyReLU) units between the layers, ``y = W x + b``.

        Parameters
        ----------
        weights : sequence of (m, n) arrays
            Floats of any width are taken as the dyadic rationals they are; ints, Fractions,
            Decimals and decimal strings exactly as written.
        biases : sequence of (m,) arrays, optional
            An entry may be None; default zeros.
        slope : number, or one number or vector of numbers per hidden layer
            The slope of the units at ``z <= 0``; it must be dyadic.

        Raises
        ------
        InputError
            On shapes that do not fit, NaN or infinity; names the tensor.

        >>> Network.from_arrays([[[2]]], [["0.1"]]).exact([1])
        [Fraction(21, 10)]
        """
        count = len(weights)
        if not count:
            raise InputError("weights is empty, expected at least one matrix")
        biases = [None] * count if biases is None else biases
        if len(biases) != count:
            raise InputError(f"{len(biases)} biases do not fit {count} weight matrices")
        tables: list[ExactRows] = []
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            matrix = ExactArray(weight, f"W{k}")
            wanted = f"(*, {tables[-1].rows})" if tables else "(*, n)"
            if len(matrix.shape) != 2 or (tables and matrix.shape[1] != tables[-1].rows):
                raise InputError(f"W{k} has shape {matrix.shape}, expected {wanted}")
            if 0 in matrix.shape:
                raise InputError(f"W{k} has shape {matrix.shape}, expected no empty dimension")
            m = matrix.shape[0]
            column = ExactArray(np.zeros(m) if bias is None else bias, f"b{k}")
            if column.shape != (m,):
                raise InputError(f"b{k} has shape {column.shape}, expected ({m},)")
            tables.append(ExactRows.from_array(join_columns(matrix, column)))
        slopes = _slopes(slope, [rows.rows for rows in tables[:-1]])
        nodes: list[Node] = []
        for k, rows in enumerate(tables):
            nodes.append(Dense(2 * k, rows))
            if k < len(slopes):
                nodes.append(Units(2 * k + 1, slopes[k]))
        return Network(tables[0].cols, nodes, definitions=definitions)

    @staticmethod
    def from_exact(net: ExactNet, definitions: Sequence[str] = ()) -> Network:
        """The network of a canonical exact form."""
        nodes = [_node_of(node) for node in net.nodes]
        return Network(net.input_size, nodes, definitions=definitions)

    # ------------------------------------------------------------------ shape

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self._sizes[0]

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self._sizes[-1]

    def source_sizes(self, node: int) -> list[int]:
        """Sizes of the tensors that a node reads."""
        return [self._sizes[source] for source in self.nodes[node].sources]

    @cached_property
    def unit_nodes(self) -> tuple[tuple[int, Units | Max], ...]:
        """``(node number, node)`` of every layer, in order."""
        return tuple((k, n) for k, n in enumerate(self.nodes) if isinstance(n, (Units, Max)))

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Number of units per layer."""
        return tuple(node.size for _, node in self.unit_nodes)

    @cached_property
    def unit_count(self) -> int:
        """Number of units over all layers."""
        return sum(self.widths)

    @cached_property
    def unit_pieces(self) -> NDArray[np.int64]:
        """(units,) int array: how many pieces each unit has."""
        counts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for _, node in self.unit_nodes:
            if isinstance(node, Units):
                counts.append(np.where(node.single, 1, 2))
            else:
                counts.append((node.table >= 0).sum(axis=0))
        return np.concatenate(counts)

    @cached_property
    def unit_bits(self) -> NDArray[np.int64]:
        """(units,) int array: bits of each unit in a packed pattern."""
        return np.concatenate(
            [
                np.zeros(0, np.int64),
                *(
                    np.full(n.size, 1 if isinstance(n, Units) else (n.pieces - 1).bit_length())
                    for _, n in self.unit_nodes
                ),
            ]
        )

    @cached_property
    def pattern_type(self) -> Any:
        """Element type of patterns: bool where every unit has two pieces."""
        if all(isinstance(node, Units) for _, node in self.unit_nodes):
            return np.bool_
        return np.uint8 if int(self.unit_bits.max(initial=1)) <= 8 else np.uint16

    def unpack(self, packed: NDArray[np.uint8]) -> NDArray[Any]:
        """Patterns ``(..., units)`` of packed ones ``(..., bytes)``, as the engine gives them."""
        bits = np.unpackbits(packed, axis=-1, bitorder="little")
        if self.pattern_type is np.bool_:
            return bits[..., : self.unit_count].astype(np.bool_)
        start = np.concatenate([[0], np.cumsum(self.unit_bits)])[:-1]
        out = np.zeros((*bits.shape[:-1], self.unit_count), self.pattern_type)
        for k in range(int(self.unit_bits.max(initial=1))):
            wide = self.unit_bits > k
            out[..., wide] |= bits[..., start[wide] + k].astype(self.pattern_type) << k
        return out

    @cached_property
    def is_chain(self) -> bool:
        """Whether the nodes are ``Dense, Units, ..., Dense``, one after the other."""
        kinds = (Dense, Units)
        return len(self.nodes) % 2 == 1 and all(
            isinstance(node, kinds[k % 2]) and node.sources == (k,)
            for k, node in enumerate(self.nodes)
        )

    def __repr__(self) -> str:
        sizes = "-".join(map(str, (self.input_size, *self.widths, self.output_size)))
        if len(sizes) > 60:
            sizes = f"{self.input_size}-...-{self.output_size}, {len(self.widths)} layers"
        return f"<Network {sizes}, {self.unit_count} units>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return self is other or self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.digest)

    # ------------------------------------------------------------- exact forms

    @cached_property
    def canonical(self) -> bytes:
        """The canonical bytes (``docs/developer.md``)."""
        head = MAGIC + struct.pack("<II", self.input_size, len(self.nodes))
        return head + b"".join(node.to_bytes() for node in self.nodes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.canonical).hexdigest()

    @cached_property
    def exact_net(self) -> ExactNet:
        """The plain-integer form, read from the canonical bytes."""
        return ExactNet.from_bytes(self.canonical)

    @cached_property
    def core(self) -> _core.Net:
        """The network in the compiled engine's form, read from the canonical bytes."""
        return _core.Net(self.canonical)

    @cached_property
    def checked(self) -> _check.Net:
        """The network in the compiled checker's form, read from the canonical bytes."""
        return _check.Net(self.canonical)

    # -------------------------------------------------------------- evaluation

    def __call__(self, x: Any) -> FloatArray:
        """Outputs in float64, ``(m,)`` for one input, ``(batch, m)`` for a batch; rounds."""
        points, single = self._points(x)
        with np.errstate(all="ignore"):
            *_, (_, values) = self.node_values(points.floats())
        return values[0] if single else values

    def node_values(self, x: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        """``(tensor, values)`` in float64 of every node in turn, for rows ``x`` (batch, inputs)."""
        tensors: dict[int, FloatArray] = {0: x}
        for k, node in enumerate(self.nodes):
            joined = self._take(tensors, k)
            if isinstance(node, Linear):
                out = node.apply(joined)
            elif isinstance(node, Units):
                out = np.where(joined > 0, joined, node.slope * joined)
            else:
                out = node.windows(joined, -np.inf).max(axis=1)
            tensors[k + 1] = out
            yield k + 1, out

    def _sources(self, tensors: dict[int, Any], k: int) -> list[Any]:
        """The tensors that node ``k`` reads; forgets what no later node does."""
        sources = self.nodes[k].sources
        found = [tensors[source] for source in sources]
        for source in sources:
            if self._last_use[source] == k:
                tensors.pop(source, None)
        return found

    def _take(self, tensors: dict[int, Any], k: int) -> Any:
        """Those tensors joined."""
        found = self._sources(tensors, k)
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def exact(self, x: Any) -> list[Fraction]:
        """Exact outputs at one exact point."""
        return self.exact_net.evaluate(self._point(x).data.tolist())

    def pattern(self, x: Any) -> NDArray[Any]:
        """Activation pattern at ``x``: the piece of every unit, layer after layer.

        bool where every unit has two pieces, else unsigned integers. On a kink it is the pattern of
        one full-dimensional region whose closure holds ``x``, the one of `ExactNet.pattern_at`,
        decided exactly.

        Parameters
        ----------
        x : (n,) or (batch, n) exact numbers

        Raises
        ------
        InputError
            If ``x`` lies on a kink, or hardly off one, and the network is too large for exact
            integers.

        Returns
        -------
        (units,) or (batch, units) array
        """
        pieces, _ = self._patterns(*self._points(x))
        return pieces

    def region(self, x: Any, domain: Domain | None = None) -> LocalRegion:
        """The activation region that holds ``x``, with vertices and facets, and no other.

        On a kink it is the one of `pattern`, on a side of the domain one within. Its
        ``neighbours()`` are found one by one.

        Parameters
        ----------
        x : (dim,) exact numbers
            In domain coordinates.
        domain : Domain, optional
            Default all of R^n.

        Raises
        ------
        InputError
            If ``x`` does not lie in the domain, or that has no interior.

        >>> net = Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])
        >>> region = net.region([1, 2])
        >>> region.inequalities, [r.pattern.tolist() for r in region.neighbours()]
        (((1, 0, 0), (0, 1, 0)), [[False, True], [True, False]])
        """
        from plverify.local import region_at

        return region_at(self, x, domain)

    def affine_map(self, x: Any, exact: bool = False, layer: int | None = None) -> AffineMap:
        """The affine map ``f(x) = J x + c`` of a region whose closure holds ``x``.

        The region, `AffineMap.pattern` and `AffineMap.on_boundary` are always exact. ``J`` and
        ``c`` are float64 products of the nodes' matrices: the error of an entry is at most
        ``2 (N + L) 2**-53`` times that entry of the same product of the absolute values, for ``L``
        nodes and ``N`` the sum of their numbers of terms (NaN where float64 overflows). With
        ``exact`` they are Fractions. With ``layer`` the map of that layer's pre-activations (of a
        `Max`, of the joined tensors it reads).

        >>> net = Network.from_arrays([[[1.0], [-1.0]], [[1.0, 1.0]]])
        >>> J, c = net.affine_map([2.0])
        >>> J, net.affine_map([0]).on_boundary
        (array([[1.]]), True)
        """
        pieces, boundary = self._patterns(*self._points(self._point(x)))
        if layer is not None and not 0 <= layer <= len(self.widths):
            raise InputError(f"layer is {layer}, the network has {len(self.widths)}")
        if exact:
            rows, den = self.exact_net.affine_map(pieces.tolist(), layer)
            matrix, offset = _fractions(rows, den)
        else:
            matrix, offset = self._float_map(pieces, layer)
        return AffineMap(matrix, offset, pieces, boundary[0])

    def unit_maps(self, x: Any, exact: bool = False) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Affine maps ``(A, c)`` of every layer's pre-activations on the region of ``x``.

        float64 with the error that `affine_map` states, or Fractions where ``exact``.
        """
        pieces, _ = self._patterns(*self._points(self._point(x)))
        if exact:
            return [_fractions(*m) for m in list(self.exact_net.affine_maps(pieces.tolist()))[:-1]]
        return list(self._forward_maps(pieces))[:-1]

    def vjp(self, x: Any, rows: Any, layer: int | None = None, *, sure: bool = True) -> FloatArray:
        """``rows @ J`` on the region of ``x``, in float64: gradients in the input.

        Parameters
        ----------
        x : (n,) exact numbers
        rows : (m,) or (k, m) floats
            Combinations of the outputs, or of the pre-activations of ``layer``.
        sure : bool
            False: where ``x`` is on a kink or hardly off one, what float64 shows is good enough.

        >>> Network.from_arrays([[[2.0, 1.0]], [[3.0]]]).vjp([1, 1], [1.0])
        array([6., 3.])
        """
        pieces, _ = self._patterns(*self._points(self._point(x)), sure=sure)
        table = np.asarray(rows, np.float64)
        gradient, _ = self._pull(pieces, np.atleast_2d(table), layer)
        return gradient[0] if table.ndim == 1 else gradient

    def jvp(self, x: Any, directions: Any, layer: int | None = None) -> FloatArray:
        """``J @ v`` on the region of ``x`` for directions ``(n,)`` or ``(k, n)``, in float64."""
        pieces, _ = self._patterns(*self._points(self._point(x)))
        table = np.asarray(directions, np.float64)
        wanted = len(self.widths) if layer is None else layer
        for k, values in enumerate(self._push(pieces, np.atleast_2d(table), None)):
            if k == wanted:
                return values[0] if table.ndim == 1 else values
        raise InputError(f"layer is {layer}, the network has {len(self.widths)}")

    def as_matrix(self, layer: int, x: Any = None) -> Any:
        """The matrix of a node as a `scipy.sparse.csr_matrix` of float64.

        Parameters
        ----------
        layer : int
            Number of the node in `nodes`: a convolution, dense or other linear node, a layer of
            units, or a pooling.
        x : (n,) exact numbers, optional
            For units and pooling, whose matrix is that of the region of ``x``: the factor of every
            unit, or which entry each window takes.

        Raises
        ------
        InputError
            If there is no such node, or ``x`` is missing.

        >>> Network.from_arrays([[[2.0, 1.0]], [[3.0]]]).as_matrix(0).toarray()
        array([[2., 1.]])
        """
        from scipy.sparse import csr_matrix, diags

        if not 0 <= layer < len(self.nodes):
            raise InputError(f"node is {layer}, the network has {len(self.nodes)}")
        node = self.nodes[layer]
        inputs = sum(self._sizes[source] for source in node.sources)
        if isinstance(node, Linear):
            return node.matrix(inputs)
        if x is None:
            raise InputError(f"node {layer} is made of units: give the input whose region is meant")
        pieces, _ = self._patterns(*self._points(self._point(x)))
        number = [k for k, _ in self.unit_nodes].index(layer)
        chosen = self.layer_pieces(pieces)[number]
        if isinstance(node, Units):
            return diags(np.where(chosen > 0, 1.0, node.slope), format="csr")
        columns = node.table[chosen, np.arange(node.size)]
        ones, rows = np.ones(node.size), np.arange(node.size)
        return csr_matrix((ones, (rows, columns)), shape=(node.size, inputs))

    def layer_pieces(self, pieces: NDArray[Any]) -> list[NDArray[Any]]:
        """A pattern ``(units,)`` split into one array per layer."""
        return np.split(pieces, np.cumsum(self.widths)[:-1]) if self.widths else []

    # -------------------------------------------------- affine maps of a pattern

    def _float_map(self, pieces: NDArray[Any], layer: int | None) -> tuple[FloatArray, FloatArray]:
        """Map of the outputs (or a layer), forwards or backwards, whichever has fewer vectors."""
        wanted = len(self.widths) if layer is None else layer
        size = self._layer_inputs(wanted)
        if size <= self.input_size + 1:
            return self._pull(pieces, np.eye(size), wanted)
        for k, found in enumerate(self._forward_maps(pieces)):
            if k == wanted:
                return found
        raise AssertionError(wanted)

    def _layer_inputs(self, layer: int) -> int:
        if layer == len(self.unit_nodes):
            return self.output_size
        return sum(self._sizes[source] for source in self.unit_nodes[layer][1].sources)

    def _forward_maps(self, pieces: NDArray[Any]) -> Iterator[tuple[FloatArray, FloatArray]]:
        """``(A, c)`` of every layer's pre-activations, then of the outputs."""
        n = self.input_size
        for values in self._push(pieces, np.eye(n + 1, n), n):
            yield np.ascontiguousarray(values[:n].T), values[n]

    def _push(
        self, pieces: NDArray[Any], vectors: FloatArray, constant: int | None
    ) -> Iterator[FloatArray]:
        """Vectors (k, n) through the map of a pattern, the biases added to number ``constant``."""
        tensors: dict[int, FloatArray] = {0: vectors}
        split, layer = self.layer_pieces(pieces), 0
        with np.errstate(all="ignore"):
            for k, node in enumerate(self.nodes):
                joined = self._take(tensors, k)
                if isinstance(node, Linear):
                    out = node.product(joined)
                    if constant is not None:
                        out[constant] += node.bias
                else:
                    yield joined
                    out = _select(node, joined, split[layer])
                    layer += 1
                tensors[k + 1] = out
            yield tensors[len(self.nodes)]

    def _pull(
        self, pieces: NDArray[Any], rows: FloatArray, layer: int | None
    ) -> tuple[FloatArray, FloatArray]:
        """``(rows J, rows c)`` under a pattern, backwards."""
        wanted = len(self.widths) if layer is None else layer
        if not 0 <= wanted <= len(self.widths):
            raise InputError(f"layer is {layer}, the network has {len(self.widths)}")
        if rows.shape[1:] != (self._layer_inputs(wanted),):
            raise InputError(
                f"rows have shape {rows.shape}, expected (*, {self._layer_inputs(wanted)})"
            )
        split = self.layer_pieces(pieces)
        if wanted == len(self.unit_nodes):
            sources: tuple[int, ...] = (len(self.nodes),)
        else:
            sources = self.unit_nodes[wanted][1].sources
        grads: dict[int, FloatArray] = {}
        self._spread(grads, sources, rows)
        constant = np.zeros(len(rows))
        layers = {k: number for number, (k, _) in enumerate(self.unit_nodes)}
        with np.errstate(all="ignore"):
            for k in range(max(grads) - 1, -1, -1):
                grad = grads.pop(k + 1, None)
                if grad is None:
                    continue
                node = self.nodes[k]
                inputs = sum(self._sizes[source] for source in node.sources)
                if isinstance(node, Linear):
                    constant = constant + grad @ node.bias
                    back = node.adjoint(grad, inputs)
                elif isinstance(node, Units):
                    back = grad * np.where(split[layers[k]] > 0, 1.0, node.slope)
                else:
                    back = np.zeros((len(rows), inputs))
                    columns = node.table[split[layers[k]], np.arange(node.size)]
                    index: Any = (slice(None), columns)
                    np.add.at(back, index, grad)
                self._spread(grads, node.sources, back)
        return grads.get(0, np.zeros((len(rows), self.input_size))), constant

    def _spread(
        self, grads: dict[int, FloatArray], sources: Sequence[int], rows: FloatArray
    ) -> None:
        at = 0
        for source in sources:
            part = rows[:, at : at + self._sizes[source]]
            grads[source] = grads[source] + part if source in grads else part
            at += self._sizes[source]

    # ----------------------------------------------------------------- filter

    @cached_property
    def products(self) -> int:
        """Multiplications of one evaluation."""
        return sum(n.terms * n.size for n in self.nodes if isinstance(n, Linear))

    def _patterns(
        self, points: ExactArray, single: bool, sure: bool = True
    ) -> tuple[NDArray[Any], list[bool]]:
        """Patterns and on-boundary flags, exact; what float64 shows unless ``sure``."""
        values = points.floats()
        error = np.zeros_like(values)
        if points.data.dtype == object:
            error = np.abs(values) * 2.0**-52 + 2.0**-1000
        kind = self.pattern_type
        pieces = np.zeros((len(values), self.unit_count), kind)
        boundary = [False] * len(values)
        step = max(1, _BATCH // (1 + max(self._sizes) // 4096))
        for start in range(0, len(values), step):
            part = slice(start, start + step)
            pieces[part], decided = float_filter(self.nodes, self._take, values[part], error[part])
            for i in start + np.flatnonzero(~decided & sure):
                if self.products > _FIXED_FROM:
                    found, sure = fixed_filter(self.nodes, self._sources, points.data[i])
                    if sure:
                        pieces[i] = found
                        continue
                    if self.products > _EXACT_LIMIT:
                        raise InputError(
                            "x lies within 1e-20 of a kink, and exact arithmetic on "
                            f"{self.products:,} products would take hours"
                        )
                result = self.exact_net.pattern_at(points.data[i].tolist())
                pieces[i], boundary[i] = np.array(result.bits, kind), result.on_boundary
        return (pieces[0] if single else pieces), boundary

    def _points(self, x: Any) -> tuple[ExactArray, bool]:
        """``x`` as an exact ``(batch, n)`` array, and whether it was a single point."""
        points = x if isinstance(x, ExactArray) else ExactArray(x, "x")
        n, shape, item = self.input_size, points.shape, self.input_shape[1:]
        if prod(item) != n:
            item = self.input_shape
        if shape in ((n,), item):
            return points.reshape(1, n), True
        if shape[1:] in ((n,), item):
            return points.reshape(-1, n), False
        raise InputError(f"x has shape {shape}, expected ({n},) or (batch, {n})")

    def _point(self, x: Any) -> ExactArray:
        """One exact point of shape ``(n,)``."""
        points, _ = self._points(x)
        if points.shape[0] != 1:
            raise InputError(f"x holds {points.shape[0]} points, expected one")
        return points.reshape(self.input_size)


def load(obj: Any, *, replay: bool = True, input_shape: Sequence[int] | None = None) -> Network:
    """Read a network from a file, a torch module, a scikit-learn MLP or arrays.

    Parameters
    ----------
    obj : path, Network, ExactNet, torch module, scikit-learn estimator, or sequence of (W, b)
        Files by suffix: ``.onnx``, ``.onnx.gz``, ``.npz``, ``.nnet``. Arrays mean ``y = W x + b``
        with ReLU units between the layers.
    replay : bool
        Whether an ONNX file that was never loaded before is replayed against onnxruntime
        (`plverify.replay`), so that an import mistake cannot pass unseen; a torch module is run
        beside the import each time.
    input_shape : sequence of int, optional
        Of a torch module: shape of one input without the batch dimension, ``(3, 32, 32)``.

    Raises
    ------
    InputError
        On a missing or unusable file, or an object of another kind; one line.
    MissingExtra
        If a package that is needed to read the object is not installed.

    >>> load([([[1.0, 2.0]], [3.0])])
    <Network 2-1, 0 units>
    """
    if isinstance(obj, Network):
        return obj
    if isinstance(obj, ExactNet):
        return Network.from_exact(obj)
    if isinstance(obj, (str, os.PathLike)):
        from plverify.io import read_file

        return read_file(os.fspath(obj), replay=replay)
    if any(kind.__module__ == "torch.nn.modules.module" for kind in type(obj).__mro__):
        from plverify.io.torch import from_torch

        return from_torch(obj, input_shape, replay=replay)
    if type(obj).__module__.partition(".")[0] == "sklearn":
        from plverify.io.sklearn import from_sklearn

        return from_sklearn(obj)
    if isinstance(obj, (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in obj):
            raise InputError("a network given as a list is a list of pairs (W, b)")
        return Network.from_arrays([w for w, _ in obj], [b for _, b in obj])
    raise InputError(f"cannot read a network from {type(obj).__module__}.{type(obj).__qualname__}")


def dyadic_slope(value: Any, name: str = "slope") -> tuple[int, int]:
    """``(num, shift)`` of an exact dyadic number, the form of a unit's slope.

    Raises
    ------
    InputError
        If the number is not finite or not dyadic.

    >>> dyadic_slope(0.25)
    (1, 2)
    """
    exact = exact_number(value, name)
    assert isinstance(exact, Fraction)
    shift = exact.denominator.bit_length() - 1
    if exact.denominator != 1 << shift:
        raise InputError(f"{name} is {value!s:.40}, not a dyadic number; {float(exact)!r} would be")
    return exact.numerator, shift


def _slopes(slope: Any, widths: Sequence[int]) -> list[Slopes]:
    """Slopes per unit from one number, one per layer, or one vector per layer."""
    if not isinstance(slope, (list, tuple)) and np.ndim(slope) == 0:
        one = dyadic_slope(slope.item() if isinstance(slope, np.ndarray) else slope)
        return [(one,) * width for width in widths]
    if len(slope) != len(widths):
        raise InputError(
            f"slope has {len(slope)} entries, expected one per hidden layer, {len(widths)}"
        )
    out: list[Slopes] = []
    for k, (layer, width) in enumerate(zip(slope, widths, strict=True)):
        if isinstance(layer, (list, tuple)) or np.ndim(layer) > 0:
            if len(layer) != width:
                raise InputError(f"slope[{k}] has {len(layer)} entries, expected {width}")
            units = (dyadic_slope(v, f"slope[{k}][{i}]") for i, v in enumerate(layer))
            out.append(tuple(units))
        else:
            out.append((dyadic_slope(layer, f"slope[{k}]"),) * width)
    return out


def _fractions(rows: Sequence[Sequence[int]], den: int) -> tuple[NDArray[Any], NDArray[Any]]:
    table = np.array([[Fraction(v, den) for v in row] for row in rows], dtype=object)
    return table[:, :-1], table[:, -1]


def _select(node: Units | Max, values: FloatArray, pieces: NDArray[Any]) -> FloatArray:
    """Rows of pre-activations through the units' pieces."""
    if isinstance(node, Units):
        return values * np.where(pieces > 0, 1.0, node.slope)
    return values[:, node.table[pieces, np.arange(node.size)]]


def _node_of(node: exact_net.Node) -> Node:
    """The array form of a plain-integer node."""
    if isinstance(node, exact_net.Units):
        return Units(node.source, node.slopes)
    if isinstance(node, exact_net.Max):
        taps = np.array(node.taps, np.int32)
        return Max(node.parts, node.channels, node.positions, taps)
    dens = [d << s for d, s in zip(node.dens, node.shifts, strict=True)]
    rows = ExactRows.from_integers(node.rows, dens)
    if isinstance(node, exact_net.Affine):
        return Dense(node.source, rows)
    if isinstance(node, exact_net.Sparse):
        return Sparse(node.parts, np.array(node.index, np.int32), rows)
    taps = np.array(node.taps, np.int32)
    return Conv(node.source, node.channels, node.positions, node.groups, taps, rows)
