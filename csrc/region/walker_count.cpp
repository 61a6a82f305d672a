// Counting the cells into which the units of the last layer cut a cell, without building them.
//
// Adding one hyperplane h to an arrangement in a convex cell adds as many cells as the others cut
// the section by h into (deletion and restriction; Zaslavsky 1975). So the count is 1 plus, for
// every unit, the number of cells of the earlier units in its section: lower dimension by lower
// dimension down to segments, where it is 1 plus the number of distinct points. Floating point
// alone does this, with the same proven signs as everywhere; where one is open, or two points are
// not told apart, the caller splits the cell instead.
#include <algorithm>

#include "region/walker.hpp"

namespace plv {

template <int D>
int64_t Walker<D>::count_cells(const Cell& cell, const Conflicts& list) {
    if (list.n == 1) return 2;
    if (options_.decide != Decide::filtered || options_.unchecked || D == 1) return 0;
    const Mark before = mark();
    fixed_.clear();
    int64_t total = 0;
    const bool sure = count_sections(cell, list, total);
    fixed_.clear();
    release(before);
    return sure ? total : 0;
}

// The part of the cell, of dimension D - fixed_.size(), where unit i of a list is zero; its line is
// the last one. False if floating point cannot tell.
template <int D>
bool Walker<D>::section(const Cell& cell, const Conflicts& list, int i, Cell& out) {
    double row[NC];
    for (int c = 0; c < NC; ++c) row[c] = rows_[list.at + static_cast<size_t>(c) * list.stride + i];
    const double error = rows_[list.at + static_cast<size_t>(NC) * list.stride + i];
    signs_.shrink(0);
    signs_.grow(static_cast<size_t>(cell.n));
    for (int k = 0; k < cell.n; ++k) {
        signs_[k] = static_cast<int8_t>(float_sign(row, error, vertices_[cell.at + k]));
        if (signs_[k] == 0) return false;
    }
    const int32_t line = push_line(row, error, {});
    out = cell;
    out.at = vertices_.size();
    out.n = 0;
    if constexpr (D == 2) {
        for (int k = 0; k < cell.n; ++k) {
            if (signs_[k] * signs_[k + 1 == cell.n ? 0 : k + 1] > 0) continue;
            vertices_.push(meet(lines_[vertices_[cell.at + k].line].rounded, lines_[line].rounded));
            ++out.n;
        }
        return out.n == 2;
    } else if constexpr (D > 2) {
        find_cuts(cell, signs_.data());
        out.n = static_cast<int>(cuts_.size());
        const size_t words = static_cast<size_t>(cell.words);
        const int dimension = D - static_cast<int>(fixed_.size());
        for (int j = 0; j < out.n; ++j)
            if (!is_simple(cut_bits_.data() + j * words, cell.words)) return false;
        cut_vertices(cell, true, line);
        std::copy_n(fresh_.data(), out.n, vertices_.grow(static_cast<size_t>(out.n)));
        if (dimension > 2) {
            join_cuts(cell, true);
            out.bits = bits_.size();
            std::copy_n(cut_bits_.data(), out.n * words, bits_.grow(out.n * words));
            out.edges = edges_.size();
            out.edge_count = static_cast<int>(joins_.size());
            std::copy_n(joins_.data(), joins_.size(), edges_.grow(joins_.size()));
        }
        return true;
    }
    return false;
}

template <int D>
bool Walker<D>::count_sections(const Cell& cell, const Conflicts& list, int64_t& total) {
    if (stop_.poll()) throw Stopped{};
    total += 2;  // the cell, and the section by the first unit
    const int dimension = D - static_cast<int>(fixed_.size());
    const SignMasks masks{list_masks_[0].bytes(), list_masks_[1].bytes(), list_masks_[2].bytes()};
    const double* m = rows_.data() + list.at;
    for (int i = 1; i < list.n; ++i) {
        const Mark before = mark();
        const size_t picks_mark = row_units_.size(), rows_mark = rows_.size();
        Cell cut;
        if (!section(cell, list, i, cut)) return false;
        m = rows_.data() + list.at;
        const int blocks = padded(i) / kPad;
        const RowError error{m + static_cast<size_t>(NC) * list.stride, zeros_.data(), 1.0, 0.0};
        kernels_.classify(m, list.stride, blocks, error, block(cut), masks);
        int undecided = 0;
        for (int b = 0; b < blocks; ++b) {
            const int left = std::min(i - b * kPad, kPad);
            const unsigned here = (1u << left) - 1;
            const unsigned crossing = masks.crossing[b] & here;
            undecided += ((masks.positive[b] | masks.negative[b] | crossing) & here) != here;
            for_each_bit(crossing, b * kPad, [&](int j) { row_units_.push(j); });
        }
        if (undecided) return false;
        const int crossing = static_cast<int>(row_units_.size() - picks_mark);
        if (crossing < 2) {
            total += 1 + crossing;
        } else {
            const Conflicts rest = pick_rows(list, picks_mark, crossing);
            bool sure;
            if (dimension == 2) {
                total += 1 + crossing;
                sure = distinct(rest, static_cast<int32_t>(lines_.size()) - 1);
            } else {
                fixed_.push_back(static_cast<int32_t>(lines_.size()) - 1);
                sure = count_sections(cut, rest, total);
                fixed_.pop_back();
            }
            if (!sure) return false;
        }
        release(before);
        rows_.shrink(rows_mark);
        row_units_.shrink(picks_mark);
    }
    return true;
}

// The rows of a list named in row_units_ from `picks` on, as a list.
template <int D>
typename Walker<D>::Conflicts Walker<D>::pick_rows(const Conflicts& list, size_t picks, int n) {
    const Conflicts out{rows_.size(), picks, n, padded(n)};
    rows_.grow(static_cast<size_t>(NC + 1) * out.stride);
    for (int c = 0; c <= NC; ++c) {
        const double* from = rows_.data() + list.at + static_cast<size_t>(c) * list.stride;
        double* to = rows_.data() + out.at + static_cast<size_t>(c) * out.stride;
        for (int k = 0; k < n; ++k) to[k] = from[row_units_[picks + static_cast<size_t>(k)]];
        std::fill(to + n, to + out.stride, 0.0);
    }
    return out;
}

// Whether the units of a list surely cross a segment, on the lines in fixed_ and `line`, at
// different points.
template <int D>
bool Walker<D>::distinct(const Conflicts& list, int32_t line) {
    units_.clear();
    for (int i = 0; i < list.n; ++i) {
        RoundedLine<D> unit;
        for (int c = 0; c < D; ++c)
            unit.a[c] = rows_[list.at + static_cast<size_t>(c) * list.stride + i];
        unit.c = rows_[list.at + static_cast<size_t>(D) * list.stride + i];
        unit.error = rows_[list.at + static_cast<size_t>(NC) * list.stride + i];
        units_.push_back(unit);
    }
    fresh_.shrink(0);
    meets_.clear();
    for (const RoundedLine<D>& unit : units_) {
        if constexpr (D == 2) {
            fresh_.push(meet(lines_[line].rounded, unit));
        } else {
            for (int32_t other : fixed_) meets_.push_back(&lines_[other].rounded);
            meets_.push_back(&lines_[line].rounded);
            meets_.push_back(&unit);
        }
    }
    if constexpr (D > 2) meet_lines();
    int along = 0;
    double widest = -1.0;
    for (int c = 0; c < D; ++c) {
        const auto [low, high] =
            std::minmax_element(fresh_.begin(), fresh_.end(),
                                [&](const auto& a, const auto& b) { return a.x[c] < b.x[c]; });
        if (high->x[c] - low->x[c] > widest) widest = high->x[c] - low->x[c], along = c;
    }
    std::sort(fresh_.begin(), fresh_.end(),
              [&](const auto& a, const auto& b) { return a.x[along] < b.x[along]; });
    for (size_t k = 0; k + 1 < fresh_.size(); ++k) {
        const Vertex<D>&a = fresh_[k], &b = fresh_[k + 1];
        if (!(b.x[along] - a.x[along] > (a.delta + b.delta) * detail::kUp)) return false;
    }
    return true;
}

#define PLV_INSTANTIATE(D) \
    template int64_t Walker<D>::count_cells(const Cell& cell, const Conflicts& list);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
