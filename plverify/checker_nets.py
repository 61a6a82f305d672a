"""Networks that a claim is about without naming them: made of those it names, in plain integers.

The checker builds them itself, so that a header need only say whose difference is meant. Units
keep their numbers and are followed by those of what is put beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plverify.exact_net import ExactNet, Max, Node, Sparse, Units, canonicalise_row

Terms = Sequence[tuple[int, int]]


def difference(f: ExactNet, g: ExactNet) -> ExactNet:
    """The network ``f - g`` of two with the same numbers of inputs and outputs."""
    shift, size = len(f.nodes), f.output_size
    moved = tuple(_with_sources(n, [s + shift if s else 0 for s in n.sources]) for n in g.nodes)
    ends = shift, shift + len(g.nodes)
    last = _rows(ends, [[(j, 1), (j + size, -1)] for j in range(size)])
    return ExactNet(f.input_size, (*f.nodes, *moved, last))


def absolute_sum(net: ExactNet) -> ExactNet:
    """The network of one output, the sum of the absolute values of the outputs."""
    last, size = len(net.nodes), net.output_size
    units = Units(last, ((-1, 0),) * size)
    total = _rows((last + 1,), [[(j, 1) for j in range(size)]])
    return ExactNet(net.input_size, (*net.nodes, units, total))


def _rows(parts: tuple[int, ...], rows: Sequence[Terms]) -> Sparse:
    """A linear node of rows with integer coefficients, all of the same number of terms."""
    made = [canonicalise_row([*(c for _, c in terms), 0], 1) for terms in rows]
    return Sparse(
        parts,
        tuple(tuple(j for j, _ in terms) for terms in rows),
        tuple(row for row, _, _ in made),
        tuple(shift for _, shift, _ in made),
        tuple(den for _, _, den in made),
    )


def _with_sources(node: Node, sources: Sequence[int]) -> Node:
    if isinstance(node, (Sparse, Max)):
        return replace(node, parts=tuple(sources))
    return replace(node, source=sources[0])


__all__ = ["absolute_sum", "difference"]
