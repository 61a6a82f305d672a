// What a walk hands out: regions as arrays, and the decision boundary.
#include <algorithm>

#include "region/walker.hpp"

namespace plv {

namespace {

// A vertex whose proven error is larger, relative to the domain, is listed from its exact point.
// (On generic networks the bound stays below 1e-7, and the error itself near 1e-15.)
constexpr double kListed = 0x1p-20;

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// regions

template <int D>
void Walker<D>::region(Cell cell) {
    ++count_;
    if (sink_.regions) emit(cell);
    if (sink_.ties) ties(cell);
    if (progress_ && count_ - reported_ >= 512) {
        progress_->fetch_add(count_ - reported_, std::memory_order_relaxed);
        reported_ = count_;
    }
}

template <int D>
void Walker<D>::emit(Cell cell) {
    RegionBatch<D>& out = batch_;
    const size_t bytes = static_cast<size_t>(net_.pattern_bytes());
    // assemble_pattern may touch one byte of padding past the end.
    out.patterns.resize(out.patterns.size() + bytes + 1, 0);
    assemble_pattern(out.patterns.data() + out.patterns.size() - bytes - 1, depth_);
    out.patterns.pop_back();
    out.vertex_count.push_back(cell.n);
    const Frame<D>& frame = problem_.frame;
    const size_t at = out.flags.size(), total = at + static_cast<size_t>(cell.n);
    out.vertices.resize(total * D);
    out.flags.resize(total);
    for (int k = 0; k < cell.n; ++k) {
        const Vertex<D>& v = vertices_[cell.at + k];
        const bool infinite = v.x[D] == 0.0;
        double* x = out.vertices.data() + (at + k) * D;
        double size = 1.0;
        for (int c = 0; c < D; ++c) size = std::max(size, std::fabs(v.x[c]));
        if (v.delta <= kListed * size) {
            for (int c = 0; c < D; ++c)
                x[c] = (infinite ? 0.0 : frame.center[c]) + v.x[c] * size_[c];
        } else {  // floating point hardly knows where it is
            const ExactPoint<D> point = frame.to_user(points_.point(intern(cell, k)));
            for (int c = 0; c < D; ++c)
                x[c] = Int::ratio(infinite ? point.q[c] : point.p[c], point.den);
        }
        out.flags[at + k] = infinite;
        if (options_.decide != Decide::filtered) out.points.push_back(vertices_[cell.at + k].point);
    }
    emit_facets(cell);
    if (depth_ > 0) prepare_map(depth_);
    const Level& s = levels_[depth_];
    double error = 0.0;
    for (int r = 0; r < s.rows; ++r) {
        double offset = s.map[static_cast<size_t>(D) * s.stride + r];
        for (int c = 0; c < D; ++c) {
            const double j = s.map[static_cast<size_t>(c) * s.stride + r] / size_[c];
            out.jacobian.push_back(j);
            offset -= j * frame.center[c];
        }
        out.offset.push_back(offset);
        const double here = row_error(depth_, r);
        if (!(here <= error)) error = here;  // NaN too
    }
    out.map_error.push_back(error);
    if (++out.count >= sink_.batch) flush();
}

template <int D>
void Walker<D>::emit_facets(const Cell& cell) {
    RegionBatch<D>& out = batch_;
    const bool all_coincident = depth_ > 0 && levels_[depth_ - 1].zero_unit;
    const auto put = [&](int32_t line, bool coincident) {
        const Wall& wall = lines_[line].wall;
        int beyond = -1;
        if (wall.window >= 0)
            beyond = levels_[wall.layer].piece(wall.window) == wall.a ? wall.b : wall.a;
        else if (wall.layer >= 0)
            beyond = !levels_[wall.layer].on.get(wall.entry);
        out.line_layer.push_back(wall.layer);
        out.line_unit.push_back(wall.window >= 0 ? wall.window : wall.entry);
        out.line_piece.push_back(beyond);
        out.coincident.push_back(coincident || all_coincident);
    };
    if constexpr (D <= 2) {
        for (int k = 0; k < cell.n; ++k)
            put(vertices_[cell.at + k].line, vertices_[cell.at + k].coincident);
    } else {
        const std::vector<std::vector<int32_t>> facets = facet_vertices(cell);
        int count = 0;
        for (int f = 0; f < cell.facet_count; ++f) {
            if (facets[f].empty()) continue;
            const Facet& facet = facets_[cell.facets + f];
            put(facet.line, facet.coincident);
            out.facet_size.push_back(static_cast<int32_t>(facets[f].size()));
            out.facet_vertex.insert(out.facet_vertex.end(), facets[f].begin(), facets[f].end());
            ++count;
        }
        out.facet_count.push_back(count);
    }
}

template <int D>
void Walker<D>::flush() {
    if (sink_.regions && batch_.count > 0) {
        if (options_.decide != Decide::filtered) {
            // Hand out the points used, once each, in the order of first use.
            std::vector<int32_t> renamed(points_.size(), -1);
            for (int32_t& id : batch_.points) {
                if (renamed[id] < 0) {
                    renamed[id] = static_cast<int32_t>(batch_.exact.size());
                    batch_.exact.push_back(problem_.frame.to_user(points_.point(id)));
                }
                id = renamed[id];
            }
        }
        batch_.subtree = subtree_;
        // The next batch is likely to be as large.
        RegionBatch<D> next;
        std::apply(
            [&](auto&... to) {
                std::apply([&](auto&... from) { (to.reserve(from.size()), ...); }, batch_.arrays());
            },
            next.arrays());
        sink_.regions(std::move(batch_));
        batch_ = std::move(next);
    }
    if (sink_.ties && !tie_batch_.empty()) {
        sink_.ties(subtree_, std::move(tie_batch_));
        tie_batch_.clear();
    }
    if (progress_ && count_ > reported_) {
        progress_->fetch_add(count_ - reported_, std::memory_order_relaxed);
        reported_ = count_;
    }
}

// ------------------------------------------------------------------------------------------------------
// decision boundary

// For each vertex the set of outputs that attain the maximum there, decided exactly: bytes of 0 or
// 1, vertex by vertex.
template <int D>
void Walker<D>::winners(Cell cell, int outputs, std::vector<uint8_t>& out) {
    const Level& s = levels_[depth_];
    out.assign(static_cast<size_t>(cell.n) * outputs, 0);
    for (int k = 0; k < cell.n; ++k) {
        uint8_t* wins = out.data() + static_cast<size_t>(k) * outputs;
        int best = 0;
        wins[0] = 1;
        for (int j = 1; j < outputs; ++j) {
            double row[NC];
            for (int c = 0; c < NC; ++c)
                row[c] = s.map[static_cast<size_t>(c) * s.stride + j] -
                         s.map[static_cast<size_t>(c) * s.stride + best];
            const int sign =
                sign_at({depth_, j, best}, row, difference_error(j, best, row), cell, k);
            if (sign > 0) {
                std::fill(wins, wins + j, uint8_t{0});
                best = j;
            }
            if (sign >= 0) wins[j] = 1;
        }
    }
}

template <int D>
void Walker<D>::ties(Cell cell) {
    const int outputs = net_.output_size();
    if (outputs < 2) return;
    if (depth_ > 0) prepare_map(depth_);
    std::vector<uint8_t> wins;
    winners(cell, outputs, wins);
    for (int i = 0; i < outputs; ++i) {
        bool everywhere = true;
        for (int k = 0; k < cell.n; ++k)
            everywhere &= wins[static_cast<size_t>(k) * outputs + i] != 0;
        if (everywhere) {
            emit_ties(cell, outputs, wins);
            return;
        }
    }
    // Two outputs i, j and two vertices u, v with f_i > f_j at u and f_i < f_j at v exist (take v
    // with a minimal set of winners): split where they are equal.
    const Level& s = levels_[depth_];
    auto win = [&](int k, int i) { return wins[static_cast<size_t>(k) * outputs + i] != 0; };
    int split_i = -1, split_j = -1;
    for (int u = 0; u < cell.n && split_i < 0; ++u)
        for (int v = 0; v < cell.n && split_i < 0; ++v)
            for (int i = 0; i < outputs && split_i < 0; ++i)
                for (int j = 0; j < outputs && split_i < 0; ++j)
                    if (win(u, i) && !win(v, i) && win(v, j) && !win(u, j))
                        split_i = i, split_j = j;
    PLV_CHECK(split_i >= 0);
    double row[NC];
    for (int c = 0; c < NC; ++c)
        row[c] = s.map[static_cast<size_t>(c) * s.stride + split_i] -
                 s.map[static_cast<size_t>(c) * s.stride + split_j];
    const double error = difference_error(split_i, split_j, row);
    std::vector<int8_t> signs(static_cast<size_t>(cell.n));
    for (int k = 0; k < cell.n; ++k)
        signs[k] = static_cast<int8_t>(sign_at({depth_, split_i, split_j}, row, error, cell, k));
    const Mark before = mark();
    const int32_t line = push_line(row, error, {depth_, split_i, split_j});
    Cell children[2];
    build_children(cell, signs.data(), line, children);
    for (const Cell& child : children) ties(child);
    release(before);
}

template <int D>
void Walker<D>::emit_ties(Cell cell, int outputs, const std::vector<uint8_t>& wins) {
    auto win = [&](int k, int i) { return wins[static_cast<size_t>(k) * outputs + i] != 0; };
    std::vector<uint8_t> on_cell(static_cast<size_t>(outputs),
                                 1);  // outputs that attain the maximum all over the cell
    int lead = -1, tied_on_cell = 0;
    for (int i = 0; i < outputs; ++i) {
        for (int k = 0; k < cell.n; ++k) on_cell[i] &= static_cast<uint8_t>(win(k, i));
        if (on_cell[i] && tied_on_cell++ == 0) lead = i;
    }
    for (int k = 0; k < cell.n; ++k) {
        const int next = D == 1 ? k : (k + 1 == cell.n ? 0 : k + 1);
        int other = -1;  // ties on the edge with the outputs that lead on the cell
        for (int i = 0; i < outputs && other < 0; ++i)
            if (!on_cell[i] && win(k, i) && win(next, i)) other = i;
        const bool open_set = other < 0;
        if (open_set && tied_on_cell < 2) continue;
        for (int i = lead + 1; open_set && other < 0; ++i)
            if (on_cell[i]) other = i;
        tie_batch_.push_back({problem_.frame.to_user(points_.point(intern(cell, k))),
                              problem_.frame.to_user(points_.point(intern(cell, next))),
                              std::min(lead, other), std::max(lead, other), open_set});
    }
}

#define PLV_INSTANTIATE(D)                      \
    template void Walker<D>::region(Cell cell); \
    template void Walker<D>::flush();
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
