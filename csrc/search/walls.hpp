// What fixed units demand of a node's inputs where the network is affine, exactly.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "bound/ascent.hpp"
#include "search/problem.hpp"

namespace plv {

// A row that is >= 0 where a fixed unit is on its piece, or a window's slot at least another one,
// and the unit inputs whose multipliers in a proof are that of the row times `scale`.
struct Wall {
    ExactRow row;
    uint64_t number = 0, other = UINT64_MAX;
    Int scale;

    void list(const Int& multiplier, std::vector<std::pair<uint64_t, Int>>& listed) const;
};

std::vector<Wall> walls_of(const CaseProblem& problem, const std::vector<FixedUnit>& path,
                           const uint8_t* pattern);

// A side of the box: x_k - end, or end - x_k, over the free inputs, times a positive number.
ExactRow side_row(size_t dim, size_t k, const Rational& end, bool low);

}  // namespace plv
