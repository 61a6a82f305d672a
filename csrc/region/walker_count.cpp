// Counting the cells into which the units of the last layer cut a cell, without building them.
//
// Adding one hyperplane h to an arrangement in a convex cell adds as many cells as the others cut
// the section by h into (deletion and restriction; Zaslavsky 1975). So the count is 1 plus, for
// every unit, the number of cells of the earlier units in its section: lower dimension by lower
// dimension down to segments, where it is 1 plus the number of distinct points.
//
// Sections need no coordinates. Where unit i vanishes on the edge from u to v, the point is a
// positive multiple of |z_i(u)| v + |z_i(v)| u in homogeneous coordinates, and so is the value of
// every other unit there. Bounds of the errors go along (docs/developer.md); where a sign is open,
// or two points are not told apart, the caller splits the cell instead.
#include <algorithm>

#include "region/walker.hpp"

namespace plv {

template <int D>
int64_t Walker<D>::count_cells(const Cell& cell, const Conflicts& list) {
    if (list.n == 1) return 2;
    if (options_.decide != Decide::filtered || options_.unchecked || D == 1) return 0;
    const Mark before = mark();
    const size_t values_mark = values_.size();
    Section whole{cell, D, list.n, padded(list.n), 0, 0, 0};  // one bound for all vertices
    const auto stride = static_cast<size_t>(whole.stride);
    whole.values = values_mark;
    whole.bounds = whole.values + static_cast<size_t>(cell.n) * stride;
    values_.grow((static_cast<size_t>(cell.n) + 1) * stride);
    const double* m = rows_.data() + list.at;
    kernels_.values(m, list.stride, whole.stride / kPad, m + static_cast<size_t>(NC) * list.stride,
                    block(cell), values_.data() + whole.values, values_.data() + whole.bounds);
    int64_t total = 0;
    const bool sure = count_sections(whole, total);
    values_.shrink(values_mark);
    release(before);
    return sure ? total : 0;
}

// Fills cuts_, and from three dimensions on cut_bits_, with the edges of a section on which unit i
// changes sign. False if it is open at a vertex, or more facets than usual meet in an edge.
template <int D>
bool Walker<D>::cut_section(const Section& s, int i) {
    signs_.shrink(0);
    signs_.grow(static_cast<size_t>(s.cell.n));
    for (int k = 0; k < s.cell.n; ++k) {
        const double z = values_[s.values + static_cast<size_t>(k * s.stride + i)];
        const double e = values_[s.bounds + static_cast<size_t>(k * s.step + i)];
        signs_[k] = static_cast<int8_t>((z > e) - (z < -e));
        if (signs_[k] == 0) return false;
    }
    if constexpr (D == 2) {
        cuts_.shrink(0);
        for (int k = 0; k < s.cell.n; ++k) {
            const int next = k + 1 == s.cell.n ? 0 : k + 1;
            if (signs_[k] * signs_[next] < 0) cuts_.push({k, next});
        }
        return cuts_.size() == 2;
    } else {
        find_cuts(s.cell, signs_.data());
        for (size_t j = 0; j < cuts_.size(); ++j)
            if (!is_simple(cut_bits_.data() + j * static_cast<size_t>(s.cell.words), s.cell.words,
                           s.dimension - 1))
                return false;
        return true;
    }
}

// Adds the number of cells of a section.
template <int D>
bool Walker<D>::count_sections(const Section& s, int64_t& total) {
    if (stop_.poll()) throw Stopped{};
    total += 2;  // the cell, and the section by the first unit
    const SignMasks masks{list_masks_[0].bytes(), list_masks_[1].bytes(), list_masks_[2].bytes()};
    for (int i = 1; i < s.n; ++i) {
        if (!cut_section(s, i)) return false;
        const Mark before = mark();
        const size_t values_mark = values_.size(), picks_mark = row_units_.size();
        const int cuts = static_cast<int>(cuts_.size());
        const int stride = padded(i), blocks = stride / kPad;
        const size_t table = static_cast<size_t>(cuts) * static_cast<size_t>(stride);
        const size_t z = values_mark, e = z + table;
        values_.grow(2 * table);
        double* const values = values_.data();
        for (int j = 0; j < cuts; ++j) {
            MixEnd ends[2];
            double size[2], error[2];
            const int at[2] = {cuts_[j].u, cuts_[j].v};
            for (int k = 0; k < 2; ++k) {
                ends[k].z = values + s.values + at[k] * s.stride;
                ends[k].bound = values + s.bounds + at[k] * s.step;
                size[k] = std::fabs(ends[k].z[i]);
                error[k] = ends[k].bound[i];
            }
            // Any positive scale will do.
            const double scale = 1.0 / (size[0] + size[1]);
            for (int k = 0; k < 2; ++k) {
                ends[k].weight = size[k] * scale;
                ends[k].error = error[k] * scale * kUp;
            }
            kernels_.mix(blocks, ends[0], ends[1], values + z + j * stride,
                         values + e + j * stride);
        }
        kernels_.judge(blocks, cuts, values + z, values + e, stride, masks);
        for (int b = 0; b < blocks; ++b) {
            const unsigned here = (1u << std::min(i - b * kPad, kPad)) - 1;
            const unsigned crossing = masks.crossing[b] & here;
            if (((masks.positive[b] | masks.negative[b] | crossing) & here) != here) return false;
            for_each_bit(crossing, b * kPad, [&](int j) { row_units_.push(j); });
        }
        const int crossing = static_cast<int>(row_units_.size() - picks_mark);
        if (crossing < 2 || s.dimension == 2) {
            total += 1 + crossing;
            if (crossing > 1 && !distinct(values + z, values + e, stride, picks_mark)) return false;
        } else {
            Section next{s.cell, s.dimension - 1, crossing, padded(crossing), padded(crossing), 0,
                         0};
            const auto words = static_cast<size_t>(s.cell.words);
            dimension_ = s.dimension;
            join_cuts(s.cell, true);
            dimension_ = D;
            next.cell.n = cuts;
            next.cell.bits = bits_.size();
            std::copy_n(cut_bits_.data(), cuts * words, bits_.grow(cuts * words));
            next.cell.edges = edges_.size();
            next.cell.edge_count = static_cast<int>(joins_.size());
            std::copy_n(joins_.data(), joins_.size(), edges_.grow(joins_.size()));
            pick_values(z, e, stride, picks_mark, next);
            if (!count_sections(next, total)) return false;
        }
        release(before);
        values_.shrink(values_mark);
        row_units_.shrink(picks_mark);
    }
    return true;
}

// The columns of the units named in row_units_ from `picks` on, as the table of a section.
template <int D>
void Walker<D>::pick_values(size_t z, size_t e, int stride, size_t picks, Section& to) {
    const size_t table = static_cast<size_t>(to.cell.n) * static_cast<size_t>(to.stride);
    to.values = values_.size();
    to.bounds = to.values + table;
    values_.grow(2 * table);
    std::fill_n(values_.data() + to.values, 2 * table, 0.0);
    for (int k = 0; k < to.cell.n; ++k)
        for (int j = 0; j < to.n; ++j) {
            const size_t from = static_cast<size_t>(k * stride) +
                                static_cast<size_t>(row_units_[picks + static_cast<size_t>(j)]);
            const size_t at = static_cast<size_t>(k * to.stride + j);
            values_[to.values + at] = values_[z + from];
            values_[to.bounds + at] = values_[e + from];
        }
}

// Whether the units named in row_units_ from `picks` on, which change sign on a segment, surely do
// so at different points: where z_j vanishes, the sign of z_k is that of a determinant.
template <int D>
bool Walker<D>::distinct(const double* z, const double* e, int stride, size_t picks) {
    const int* unit = row_units_.data() + picks;
    const int n = static_cast<int>(row_units_.size() - picks);
    for (int a = 0; a < n; ++a)
        for (int b = a + 1; b < n; ++b) {
            const int j = unit[a], k = unit[b];
            const double p = z[j] * z[stride + k], q = z[stride + j] * z[k];
            const double pe = std::fabs(z[j]) * e[stride + k] + e[j] * std::fabs(z[stride + k]) +
                              e[j] * e[stride + k];
            const double qe = std::fabs(z[stride + j]) * e[k] + e[stride + j] * std::fabs(z[k]) +
                              e[stride + j] * e[k];
            const double slack = pe + qe + 0x1p-50 * (std::fabs(p) + std::fabs(q)) + 1e-290;
            if (!(std::fabs(p - q) > slack * kUp)) return false;
        }
    return true;
}

#define PLV_INSTANTIATE(D) \
    template int64_t Walker<D>::count_cells(const Cell& cell, const Conflicts& list);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
