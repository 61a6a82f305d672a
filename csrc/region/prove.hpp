// The body of a region-list proof (docs/proof_format.md) from a complete run with exact vertices.
#pragma once

#include <string>
#include <vector>

#include "region/enumerate.hpp"

namespace plv {

struct RegionListBody {
    std::string bytes;  // before compression
    int64_t vertices = 0;
    std::vector<int64_t> domain_vertices;
};

template <int D>
RegionListBody region_list_body(const Problem<D>& problem, const RegionBatch<D>& regions);

}  // namespace plv
