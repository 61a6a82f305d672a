// The regions of a domain as a complex: one list, neighbours across edges, and the merge into
// linear regions.
//
// Neighbours. The cells meet face to face, because every pre-activation is continuous. Across an
// edge on the line of a unit, when no other unit vanishes along the edge, the neighbour's pattern
// is the region's with that one bit flipped: a look-up. Where other units vanish too (the engine
// marks such edges while it splits), the pattern on the far side is read off exactly: one forward
// pass of the germ m + eps n, m a point inside the edge and n the outward normal.
//
// Linear regions. Two neighbours belong together if and only if their output maps are exactly the
// same. Rounded Jacobians that differ by more than their error bounds settle most pairs; the rest
// are decided in integers: if one unit flipped, by whether the outputs depend on it under the
// pattern; otherwise by comparing the two exact maps.
#pragma once

#include <cstdint>
#include <vector>

#include "region/enumerate.hpp"

namespace plv {

// Batches as they come, then one list in walking order.
template <int D>
class Collector {
public:
    void take(RegionBatch<D>&& batch) { batches_.push_back(std::move(batch)); }
    // Joins all batches; exact points are listed once each, in order of first use.
    RegionBatch<D> join();

private:
    std::vector<RegionBatch<D>> batches_;
};

inline constexpr int32_t kBoundary = -1;  // the edge lies on the domain's boundary
inline constexpr int32_t kUnknown = -2;   // the neighbour is not in the list (an incomplete run)

// Neighbour of each region across each of its facets, in the order of the list of facets.
template <int D>
std::vector<int32_t> neighbours(const Problem<D>& problem, const RegionBatch<D>& regions,
                                StopToken& stop);

// Label of each region's linear region, numbered 0, 1, ... in order of first appearance.
template <int D>
std::vector<int32_t> linear_regions(const Problem<D>& problem, const RegionBatch<D>& regions,
                                    const std::vector<int32_t>& neighbour, StopToken& stop);

// Exact vertices (user's coordinates) of region `index`.
template <int D>
std::vector<ExactPoint<D>> exact_vertices(const Problem<D>& problem, const RegionBatch<D>& regions,
                                          int64_t index);

}  // namespace plv
