#include "region/complex.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "base/contract.hpp"
#include "geom/dimension.hpp"

namespace plv {

namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T>& from) {
    if (to.empty())
        to = std::move(from);
    else
        to.insert(to.end(), std::make_move_iterator(from.begin()),
                  std::make_move_iterator(from.end()));
    from = {};
}

// The line between a unit's piece and another one; of a window positive where the pattern's wins.
template <int D>
ExactLine<D> unit_line(const Problem<D>& problem, int layer, int unit, int beyond,
                       const uint8_t* pattern) {
    const Layer& units = problem.net->layers[layer];
    if (!units.is_max()) return problem.exact->row(layer, unit, pattern);
    const int here = problem.net->piece(pattern, layer, unit);
    return problem.exact->row(layer, units.entry(unit, here), pattern, units.entry(unit, beyond));
}

template <int D>
ExactLine<D> line_of(const Problem<D>& problem, const RegionBatch<D>& regions, size_t facet,
                     const uint8_t* pattern) {
    const int layer = regions.line_layer[facet], unit = regions.line_unit[facet];
    if (layer == kConstraint) return problem.lines[unit];
    if (layer == kBoxSide)
        return problem.lines[static_cast<size_t>(problem.constraint_count) + unit];
    return unit_line<D>(problem, layer, unit, regions.line_piece[facet], pattern);
}

template <class T>
std::vector<size_t> starts_of(const std::vector<T>& counts) {
    std::vector<size_t> starts(counts.size() + 1, 0);
    for (size_t k = 0; k < counts.size(); ++k)
        starts[k + 1] = starts[k] + static_cast<size_t>(counts[k]);
    return starts;
}

// Where the facets of each region begin.
template <int D>
std::vector<size_t> facet_starts(const RegionBatch<D>& regions) {
    return starts_of(D > 2 ? regions.facet_count : regions.vertex_count);
}

// Where a region's facets and their vertices begin.
struct Place {
    size_t facet, listed;
};

template <int D>
Place place_of(const RegionBatch<D>& regions, int64_t index) {
    Place out{0, 0};
    for (int64_t r = 0; r < index; ++r)
        out.facet += static_cast<size_t>(D > 2 ? regions.facet_count[r] : regions.vertex_count[r]);
    if constexpr (D > 2)
        for (size_t f = 0; f < out.facet; ++f) out.listed += regions.facet_size[f];
    return out;
}

// Exact vertices in local coordinates of a region.
template <int D>
std::vector<ExactPoint<D>> local_vertices(const Problem<D>& problem, const RegionBatch<D>& regions,
                                          int64_t index, Place at) {
    const uint8_t* pattern = regions.patterns.data() + index * problem.net->pattern_bytes();
    const int n = regions.vertex_count[index];
    const int facets = D > 2 ? regions.facet_count[index] : n;
    std::vector<ExactLine<D>> lines;
    for (int k = 0; k < facets; ++k)
        lines.push_back(line_of<D>(problem, regions, at.facet + static_cast<size_t>(k), pattern));
    std::vector<std::vector<const ExactLine<D>*>> on(static_cast<size_t>(n));
    if constexpr (D > 2) {
        const int32_t* vertex = regions.facet_vertex.data() + at.listed;
        for (int f = 0; f < facets; ++f)
            for (int k = 0; k < regions.facet_size[at.facet + static_cast<size_t>(f)]; ++k)
                on[*vertex++].push_back(&lines[f]);
    } else {
        for (int k = 0; k < n; ++k) {
            on[k].push_back(&lines[k]);
            if (D == 2) on[k].push_back(&lines[k == 0 ? n - 1 : k - 1]);
        }
    }
    std::vector<ExactPoint<D>> out;
    for (const auto& meeting : on)
        out.push_back(intersect<D>(meeting.data(), static_cast<int>(meeting.size())));
    return out;
}

// Exactly the pattern just beyond facet `k` of a region.
template <int D>
std::vector<uint8_t> pattern_beyond(const Problem<D>& problem, const RegionBatch<D>& regions,
                                    int64_t index, Place at, int k, StopToken& stop) {
    const Net& net = *problem.net;
    const uint8_t* pattern = regions.patterns.data() + index * net.pattern_bytes();
    const std::vector<ExactPoint<D>> corners = local_vertices<D>(problem, regions, index, at);
    std::vector<const ExactPoint<D>*> on;  // the facet's vertices
    if constexpr (D > 2) {
        const int32_t* vertex = regions.facet_vertex.data() + at.listed;
        for (int f = 0; f < k; ++f) vertex += regions.facet_size[at.facet + static_cast<size_t>(f)];
        for (int j = 0; j < regions.facet_size[at.facet + static_cast<size_t>(k)]; ++j)
            on.push_back(&corners[vertex[j]]);
    } else {
        on.push_back(&corners[k]);
        if (D == 2) on.push_back(&corners[(k + 1) % corners.size()]);
    }
    // The sum of the vertices over a common denominator, p + R q, is n times a point in the facet's
    // relative interior.
    std::array<Int, D> p, q;
    Int den = 1;
    bool infinite = false;
    for (const ExactPoint<D>* point : on) {
        for (int c = 0; c < D; ++c) {
            p[c] = p[c] * point->den + point->p[c] * den;
            q[c] = q[c] * point->den + point->q[c] * den;
        }
        den *= point->den;
        infinite |= point->infinite;
    }
    ExactGerm<D> germ;
    germ.den = den * Int(static_cast<int64_t>(on.size()));
    const int layer = regions.line_layer[at.facet + static_cast<size_t>(k)];
    const int unit = regions.line_unit[at.facet + static_cast<size_t>(k)];
    const int beyond = regions.line_piece[at.facet + static_cast<size_t>(k)];
    std::array<Int, D> outward = unit_line<D>(problem, layer, unit, beyond, pattern).a;
    if (net.layers[layer].is_max() || net.piece(pattern, layer, unit) != 0)
        for (Int& v : outward) v.negate();
    if (infinite) {
        germ.levels = {q, p, outward};
        germ.unit_level = 1;
    } else {
        germ.levels = {p, outward};
    }
    GermSigns signs;
    if (!problem.exact->forward(germ, signs, nullptr, &stop)) throw Stopped{};
    std::vector<uint8_t> out(static_cast<size_t>(net.pattern_bytes()), 0);
    problem.exact->pattern_of(signs, out.data());
    return out;
}

}  // namespace

template <int D>
RegionBatch<D> Collector<D>::join() {
    std::stable_sort(
        batches_.begin(), batches_.end(),
        [](const RegionBatch<D>& a, const RegionBatch<D>& b) { return a.subtree < b.subtree; });
    RegionBatch<D> out;
    std::array<size_t, std::tuple_size_v<decltype(out.arrays())>> sizes{};
    for (RegionBatch<D>& batch : batches_) {
        size_t k = 0;
        std::apply([&](auto&... a) { ((sizes[k++] += a.size()), ...); }, batch.arrays());
    }
    size_t k = 0;
    std::apply([&](auto&... a) { (a.reserve(sizes[k++]), ...); }, out.arrays());
    std::unordered_multimap<uint64_t, int32_t> index;
    for (RegionBatch<D>& batch : batches_) {
        std::vector<int32_t> renamed;
        for (ExactPoint<D>& point : batch.exact) {
            const uint64_t h = point.hash();
            int32_t id = -1;
            for (auto [it, end] = index.equal_range(h); it != end && id < 0; ++it)
                if (out.exact[it->second] == point) id = it->second;
            if (id < 0) {
                id = static_cast<int32_t>(out.exact.size());
                index.emplace(h, id);
                out.exact.push_back(std::move(point));
            }
            renamed.push_back(id);
        }
        for (int32_t& id : batch.points) id = renamed[id];
        out.count += batch.count;
        std::apply(
            [&](auto&... to) {
                std::apply([&](auto&... from) { (append(to, from), ...); }, batch.arrays());
            },
            out.arrays());
    }
    batches_.clear();
    return out;
}

template <int D>
std::vector<int32_t> neighbours(const Problem<D>& problem, const RegionBatch<D>& regions,
                                StopToken& stop) {
    const Net& net = *problem.net;
    const size_t bytes = static_cast<size_t>(net.pattern_bytes());
    const size_t count = static_cast<size_t>(regions.count);
    auto key = [&](const uint8_t* p) {
        return std::string_view(reinterpret_cast<const char*>(p), bytes);
    };
    std::unordered_map<std::string_view, int32_t> index;
    index.reserve(count);
    for (size_t r = 0; r < count; ++r)
        index.emplace(key(regions.patterns.data() + r * bytes), static_cast<int32_t>(r));
    const std::vector<size_t> starts = facet_starts<D>(regions);
    std::vector<size_t> listed(count + 1, 0);  // where the facets' vertices begin
    if constexpr (D > 2)
        for (size_t r = 0; r < count; ++r) {
            listed[r + 1] = listed[r];
            for (size_t f = starts[r]; f < starts[r + 1]; ++f)
                listed[r + 1] += regions.facet_size[f];
        }
    std::vector<int32_t> out(starts.back(), kBoundary);
    std::vector<uint8_t> flipped(bytes);
    const bool windows = std::any_of(net.layers.begin(), net.layers.end(),
                                     [](const Layer& layer) { return layer.is_max(); });
    for (size_t r = 0; r < count; ++r) {
        if (stop.poll()) throw Stopped{};
        for (size_t v = starts[r]; v < starts[r + 1]; ++v) {
            const int layer = regions.line_layer[v];
            if (layer < 0) continue;
            auto found = index.end();
            if (!(regions.coincident[v])) {
                std::memcpy(flipped.data(), regions.patterns.data() + r * bytes, bytes);
                net.set_piece(flipped.data(), layer, regions.line_unit[v], regions.line_piece[v]);
                found = index.find(key(flipped.data()));
            }
            // Beyond the edge slots of a window that were the same function may differ, and so the
            // piece of a window whose winner the unit feeds: only the exact look tells.
            if (regions.coincident[v] || (found == index.end() && windows)) {
                flipped = pattern_beyond<D>(problem, regions, static_cast<int64_t>(r),
                                            {starts[r], listed[r]}, static_cast<int>(v - starts[r]),
                                            stop);
                found = index.find(key(flipped.data()));
            }
            out[v] = found == index.end() ? kUnknown : found->second;
        }
    }
    return out;
}

template <int D>
std::vector<int32_t> linear_regions(const Problem<D>& problem, const RegionBatch<D>& regions,
                                    const std::vector<int32_t>& neighbour, StopToken& stop) {
    const Net& net = *problem.net;
    const size_t bytes = static_cast<size_t>(net.pattern_bytes());
    const size_t count = static_cast<size_t>(regions.count);
    const size_t entries = static_cast<size_t>(net.output_size()) * D;
    const std::vector<size_t> starts = facet_starts<D>(regions);
    std::vector<int32_t> root(count);
    std::iota(root.begin(), root.end(), 0);
    auto find = [&](int32_t r) {
        while (root[r] != r) r = root[r] = root[root[r]];
        return r;
    };
    auto surely_differ = [&](size_t a, size_t b) {
        const double slack = (regions.map_error[a] + regions.map_error[b]) * (1 + 0x1p-40);
        for (size_t e = 0; e < entries; ++e) {
            const int shift = problem.frame.exponent[e % D];
            const double x = std::ldexp(regions.jacobian[a * entries + e], shift);
            const double y = std::ldexp(regions.jacobian[b * entries + e], shift);
            if (std::fabs(x - y) > slack + 0x1p-50 * (std::fabs(x) + std::fabs(y))) return true;
        }
        return false;
    };
    auto same_map = [&](size_t a, size_t b) {
        const uint8_t* pa = regions.patterns.data() + a * bytes;
        const uint8_t* pb = regions.patterns.data() + b * bytes;
        int layer = -1, unit = -1, flips = 0;
        for (int l = 0; l < static_cast<int>(net.layers.size()) && flips < 2; ++l)
            for (int i = 0; i < net.layers[l].units && flips < 2; ++i)
                if (net.piece(pa, l, i) != net.piece(pb, l, i)) layer = l, unit = i, ++flips;
        // The two maps differ by (1 - slope) times this unit's row, or by the difference of two
        // slots, neither of which is zero, along the outputs' gradient.
        if (flips == 1) return problem.exact->output_ignores(layer, unit, pa);
        ExactRows<D> ra, rb;
        problem.exact->output_map(pa, ra);
        problem.exact->output_map(pb, rb);  // the same scale: it depends on the layers only
        for (size_t i = 0; i < ra.size(); ++i)
            if (ra[i].a != rb[i].a || ra[i].c != rb[i].c) return false;
        return true;
    };
    for (size_t r = 0; r < count; ++r) {
        if (stop.poll()) throw Stopped{};
        for (size_t v = starts[r]; v < starts[r + 1]; ++v) {
            const int32_t other = neighbour[v];
            if (other <= static_cast<int32_t>(r)) continue;  // each pair once
            const int32_t a = find(static_cast<int32_t>(r)), b = find(other);
            if (a != b && !surely_differ(r, other) && same_map(r, other))
                root[std::max(a, b)] = std::min(a, b);
        }
    }
    std::vector<int32_t> label(count, -1);
    int32_t next = 0;
    for (size_t r = 0; r < count; ++r) {
        const int32_t top = find(static_cast<int32_t>(r));
        if (label[top] < 0) label[top] = next++;
        label[r] = label[top];
    }
    return label;
}

template <int D>
std::vector<ExactPoint<D>> exact_vertices(const Problem<D>& problem, const RegionBatch<D>& regions,
                                          int64_t index) {
    PLV_EXPECT(index >= 0 && index < regions.count, "region index out of range");
    std::vector<ExactPoint<D>> out =
        local_vertices<D>(problem, regions, index, place_of<D>(regions, index));
    for (ExactPoint<D>& point : out) point = problem.frame.to_user(point);
    return out;
}

#define PLV_INSTANTIATE(D)                                                                    \
    template class Collector<D>;                                                              \
    template std::vector<int32_t> neighbours<D>(const Problem<D>&, const RegionBatch<D>&,     \
                                                StopToken&);                                  \
    template std::vector<int32_t> linear_regions<D>(const Problem<D>&, const RegionBatch<D>&, \
                                                    const std::vector<int32_t>&, StopToken&); \
    template std::vector<ExactPoint<D>> exact_vertices<D>(const Problem<D>&,                  \
                                                          const RegionBatch<D>&, int64_t);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
