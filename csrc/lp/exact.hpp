// Strict feasibility of linear inequalities, decided exactly.
//
// Either there is a point at which all rows are positive, or some nonnegative combination of the
// rows, not all of it zero, is a constant that is not positive (Motzkin's theorem). The first is
// a point in the open polyhedron, the second a proof that it is empty.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/stop.hpp"
#include "num/int.hpp"

namespace plv {

// a . x + c in integers.
struct ExactRow {
    std::vector<Int> a;
    Int c;
    bool is_constant() const;
};

struct StrictPoint {
    bool found = false;
    // found: x / den, den > 0, where every row is positive.
    std::vector<Int> x;
    Int den = 1;
    // Not found: sum of multiplier * row is a constant <= 0, and < 0 unless a strict row is among
    // them; rows by increasing number.
    std::vector<std::pair<int, Int>> multipliers;
};

// Decides the rows over `dim` variables. `hint`: rows that are thought to be tight where the least
// row is as large as possible; they save pivots and decide nothing. nullopt where stopped.
std::optional<StrictPoint> strict_point(int dim, const std::vector<const ExactRow*>& rows,
                                        const std::vector<int>& hint, StopToken* stop);
// The same where rows that are not `strict` need only be >= 0.
std::optional<StrictPoint> mixed_point(int dim, const std::vector<const ExactRow*>& rows,
                                       const std::vector<uint8_t>& strict,
                                       const std::vector<int>& hint, StopToken* stop);

// The largest value / point.den of a function where all rows are >= 0, and a point that attains
// it; point.found is false where there is no such point or the function is unbounded.
struct ExactMaximum {
    StrictPoint point;
    Int value;
};
std::optional<ExactMaximum> exact_maximum(int dim, const std::vector<const ExactRow*>& rows,
                                          const ExactRow& goal, StopToken* stop);

// The facets of the polyhedron on which all rows are >= 0, and a point inside.
struct Facets {
    StrictPoint inside;           // not found: no interior, and nothing below
    std::vector<int> rows;        // one row per facet, the first of those that describe it
    std::vector<StrictPoint> on;  // of each facet a point of its relative interior
};
std::optional<Facets> find_facets(int dim, const std::vector<ExactRow>& rows, StopToken* stop);

}  // namespace plv
