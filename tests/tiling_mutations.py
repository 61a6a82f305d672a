"""Ways to change a region list of polygons or intervals: its tiling, or what it states.

A mutation gets a `proof_tools.Proof` and a random source. It returns False if it does not apply,
None if what the proof states has changed (it may then still be true), and otherwise True or
nothing: the proof must now be rejected.
"""

from __future__ import annotations

from checker_cases import around, lowest, middle

from plverify import checker


def random_bit(proof, rng):
    return 1 << rng.randrange(proof.units) if proof.units else 0


def false_count(proof, rng):
    proof.header["regions"] += rng.choice([-1, 1, 7, 1 << 20])


def dropped_region(proof, rng):
    proof.regions.pop(rng.randrange(len(proof.regions)))
    proof.recount()


def duplicated_region(proof, rng):
    proof.regions.insert(rng.randrange(len(proof.regions)), rng.choice(proof.regions))
    proof.recount()


def duplicated_region_with_another_pattern(proof, rng):
    pattern, loop = rng.choice(proof.regions)
    proof.regions.append([pattern ^ random_bit(proof, rng), loop])
    proof.recount()


def moved_vertex(proof, rng):
    k = rng.choice(rng.choice(proof.regions)[1])
    p, q, w = proof.vertices[k]
    scale = rng.choice([1, 2, 10**3, 10**9, 1 << 60, 10**40])
    step = [rng.choice([-1, 1]) if i == rng.randrange(len(p)) else 0 for i in range(len(p))]
    step[rng.randrange(len(p))] = rng.choice([-1, 1])
    p, q, w = [v * scale for v in p], [v * scale for v in q], w * scale
    if any(q) and rng.random() < 0.5:
        q = [v + d for v, d in zip(q, step, strict=True)]
    else:
        p = [v + d for v, d in zip(p, step, strict=True)]
    proof.vertices[k] = lowest(p, q, w)


def flipped_pattern_bit(proof, rng):
    proof.regions[rng.randrange(len(proof.regions))][0] ^= random_bit(proof, rng)
    return proof.units > 0


def set_padding_bit(proof, rng):
    padding = range(proof.units, -proof.units % 8 + proof.units)
    if padding:
        proof.regions[rng.randrange(len(proof.regions))][0] |= 1 << rng.choice(padding)
    return bool(padding)


def swapped_patterns(proof, rng):
    if len(proof.regions) < 2:
        return False
    one, two = rng.sample(proof.regions, 2)
    one[0], two[0] = two[0], one[0]
    return True


def swapped_corners(proof, rng):
    _, loop = rng.choice(proof.regions)
    i, j = rng.sample(range(len(loop)), 2)
    loop[i], loop[j] = loop[j], loop[i]


def reversed_region(proof, rng):
    rng.choice(proof.regions)[1].reverse()


def region_walked_twice(proof, rng):
    region = rng.choice(proof.regions)
    region[1] = region[1] * 2


def dropped_corner(proof, rng):
    _, loop = rng.choice(proof.regions)
    loop.pop(rng.randrange(len(loop)))


def replaced_corner(proof, rng):
    _, loop = rng.choice(proof.regions)
    k = rng.randrange(len(loop))
    loop[k] = rng.choice([i for i in range(len(proof.vertices) + 2) if i != loop[k]])


def merged_regions(proof, rng):
    """Two neighbours become one polygon (or interval) under the pattern of either."""
    pairs = [
        (one, two, i)
        for one in proof.regions
        for two in proof.regions
        if one is not two
        for i in common_edge(proof.header["dim"], one[1], two[1])
    ]
    if not pairs:
        return False
    one, two, (i, j) = rng.choice(pairs)
    a, b = one[1], two[1]
    if proof.header["dim"] == 1:
        loop = [a[0], b[1]]
    else:  # a runs i -> j, b runs j -> i
        a = a[a.index(j) :] + a[: a.index(j)]
        b = b[b.index(i) :] + b[: b.index(i)]
        loop = straightened(proof, a + b[1:-1])
    proof.regions = [r for r in proof.regions if r is not one and r is not two]
    proof.regions.append([rng.choice([one[0], two[0], one[0] | two[0], one[0] & two[0]]), loop])
    proof.recount()
    return True


def common_edge(dim, one, two):
    if dim == 1:
        return [(one[1], two[0])] if one[1] == two[0] else []
    return [(i, j) for i, j in around(one) if (j, i) in around(two)]


def straightened(proof, loop):
    """The loop without corners on a straight line."""
    steps = [checker._step(*(proof.vertices[i] for i in edge)) for edge in around(loop)]
    turns = [checker._cross(d, e) for d, e in around(steps)]
    return [i for i, turn in zip(loop[1:] + loop[:1], turns, strict=True) if turn != (0, 0, 0)]


def split_region(proof, rng):
    """One region becomes two along a chord; a half gets the pattern, one maybe a flipped bit."""
    k = rng.randrange(len(proof.regions))
    pattern, loop = proof.regions[k]
    if proof.header["dim"] == 1:
        proof.vertices.append(middle(proof, *loop))
        halves = [loop[0], len(proof.vertices) - 1], [len(proof.vertices) - 1, loop[1]]
    elif len(loop) > 3 and rng.random() < 0.5:
        j = rng.randrange(2, len(loop) - 1)
        halves = loop[: j + 1], [*loop[j:], loop[0]]
    else:  # from a corner to the middle of an edge; the neighbour learns of the new vertex, or not
        j = rng.randrange(1, len(loop) - 1)
        new, edge = len(proof.vertices), (loop[j + 1], loop[j])
        proof.vertices.append(middle(proof, *edge))
        halves = [*loop[: j + 1], new], [new, *loop[j + 1 :], loop[0]]
        for _, other in proof.regions:
            if edge in around(other) and rng.random() < 0.5:
                other.insert(other.index(edge[0]) + 1, new)
    bit = rng.choice([0, random_bit(proof, rng)])
    patterns = [pattern, pattern ^ bit]
    rng.shuffle(patterns)
    proof.regions[k : k + 1] = [[p, list(h)] for p, h in zip(patterns, halves, strict=True)]
    proof.recount()


def wrong_domain_polygon(proof, rng):
    corners = proof.header["domain_vertices"]
    way = rng.randrange(6)
    if way == 0:
        corners.pop(rng.randrange(len(corners)))
    elif way == 1:
        corners.reverse()
    elif way == 2:
        corners += corners
    elif way == 3:
        k = rng.randrange(len(corners))
        corners[k] = rng.choice([i for i in range(len(proof.vertices)) if i != corners[k]])
    elif way == 4:
        corners.insert(rng.randrange(len(corners)), rng.randrange(len(proof.vertices)))
    else:
        proof.header["domain_vertices"] = list(rng.choice(proof.regions)[1])
        return len(proof.regions) > 1
    return True


def changed_constraint(proof, rng):
    rows = proof.header["constraints"]
    if not rows:
        return False
    row = rng.choice(rows)
    k = rng.randrange(len(row))
    row[k] = str(int(row[k]) + rng.choice([-1, 1, 10**6]))
    return None


def dropped_constraint(proof, rng):
    rows = proof.header["constraints"]
    if rows:
        rows.pop(rng.randrange(len(rows)))
        return None
    return False


def changed_slice(proof, rng):
    part = proof.header["slice"]
    if part is None:
        return False
    row = rng.choice(part["rows"])
    k = rng.randrange(len(row))
    row[k] = str(int(row[k]) + rng.choice([-1, 1, 3]))
    return None


def changed_scale(proof, rng):
    part = proof.header["slice"]
    if part is None:
        return False
    part["scale"] = str(int(part["scale"]) + rng.choice([-1, 1, 5]))
    return None


FALSE_PROOFS = [
    false_count, dropped_region, duplicated_region, duplicated_region_with_another_pattern,
    moved_vertex, flipped_pattern_bit, set_padding_bit, swapped_patterns, swapped_corners,
    reversed_region, region_walked_twice, dropped_corner, replaced_corner, merged_regions,
    split_region, wrong_domain_polygon,
]  # fmt: skip
OTHER_STATEMENTS = [changed_constraint, dropped_constraint, changed_slice, changed_scale]
