#include "region/prove.hpp"

#include "base/contract.hpp"
#include "geom/dimension.hpp"
#include "proof/writer.hpp"

namespace plv {

template <int D>
RegionListBody region_list_body(const Problem<D>& problem, const RegionBatch<D>& regions) {
    RegionListBody body;
    std::string& out = body.bytes;
    for (const ExactPoint<D>& point : regions.exact) {
        out.push_back(point.infinite ? '\1' : '\0');
        for (const Int& v : point.p) put_big(out, v);
        if (point.infinite)
            for (const Int& v : point.q) put_big(out, v);
        put_big(out, point.den);
    }
    body.vertices = static_cast<int64_t>(regions.exact.size());
    const auto bytes = static_cast<size_t>(problem.net->pattern_bytes());
    size_t at = 0;
    for (size_t r = 0; r < regions.vertex_count.size(); ++r) {
        out.append(reinterpret_cast<const char*>(regions.patterns.data() + r * bytes), bytes);
        put_var(out, static_cast<uint64_t>(regions.vertex_count[r]));
        for (int k = 0; k < regions.vertex_count[r]; ++k)
            put_var(out, static_cast<uint64_t>(regions.points[at++]));
    }
    // The domain's corners are vertices of the regions that hold them.
    for (const DomainCorner<D>& corner : problem.corners) {
        const ExactPoint<D> at_corner = problem.frame.to_user(corner.at);
        int64_t id = -1;
        for (size_t k = 0; k < regions.exact.size() && id < 0; ++k)
            if (regions.exact[k] == at_corner) id = static_cast<int64_t>(k);
        PLV_CHECK(id >= 0);
        body.domain_vertices.push_back(id);
    }
    return body;
}

#define PLV_INSTANTIATE(D) \
    template RegionListBody region_list_body<D>(const Problem<D>&, const RegionBatch<D>&);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
