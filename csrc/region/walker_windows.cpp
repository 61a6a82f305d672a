// Windows: units whose value is the maximum of several pre-activations.
//
// A window is settled in a cell when one slot is at least as large as every other at all vertices;
// of slots that are the same function there, the first counts. Otherwise the slots that none other
// dominates are kept, at least two of which win somewhere. Two slots split the cell like any unit,
// along the line on which they are equal; more split it into one convex cell per winner.
#include <algorithm>

#include "region/walker.hpp"

namespace plv {

// The row of slot a less slot b, with its error.
template <int D>
typename Walker<D>::Wall Walker<D>::difference(int l, int window, int a, int b, double* row,
                                               double& error) const {
    const Level& s = levels_[l];
    const Wall wall{l, s.layer->entry(window, a), s.layer->entry(window, b), window, a, b};
    error = s.row_error[wall.entry] + s.row_error[wall.minus];
    for (int c = 0; c < NC; ++c) {
        const double* column = s.map.data() + static_cast<size_t>(c) * s.stride;
        row[c] = column[wall.entry] - column[wall.minus];
        error += 0x1p-52 * std::fabs(row[c]);
    }
    error *= kUp;
    return wall;
}

// Signs of the difference of two slots at the cell's vertices, into signs_.
template <int D>
void Walker<D>::pair_signs(const Wall& wall, const double* row, double error, Cell cell) {
    signs_.shrink(0);
    signs_.grow(static_cast<size_t>(cell.n));
    const Level& s = levels_[wall.layer];
    for (int k = 0; k < cell.n; ++k) {
        const bool first = vanishes(wall.layer, wall.entry, cell, k);
        const bool second = vanishes(wall.layer, wall.minus, cell, k);
        int sign = 2;
        if (first && second) {
            sign = 0;
        } else if (first || second) {
            // What is left is one activation, which is not negative.
            const int rest = first ? wall.minus : wall.entry;
            double alone[NC];
            for (int c = 0; c < NC; ++c) alone[c] = s.map[static_cast<size_t>(c) * s.stride + rest];
            const RowTest test(alone, s.row_error[rest], options_.unchecked);
            if (options_.decide != Decide::exact_signs && test.sign(vertices_[cell.at + k]) > 0)
                sign = first ? -1 : 1;
        }
        if (sign == 2) sign = sign_at(wall, row, error, cell, k);
        signs_[k] = static_cast<int8_t>(sign);
    }
}

// Keeps of the n slots those that no other dominates in the cell, and of equal ones the first;
// returns how many. Marks edges along which the winner is not alone.
template <int D>
int Walker<D>::resolve_window(int l, int window, Cell cell, int* slots, int n) {
    const Level& s = levels_[l];
    for (int i = 0; i < n; ++i) {
        for (int j = i + 1; j < n;) {
            bool positive = false, negative = false;
            const int x = s.layer->entry(window, slots[i]), y = s.layer->entry(window, slots[j]);
            const auto nothing = [&](int r) {
                double size = s.row_error[r];
                for (int c = 0; c < NC; ++c)
                    size += std::fabs(s.map[static_cast<size_t>(c) * s.stride + r]);
                return size == 0.0;
            };
            const bool no_x = nothing(x), no_y = nothing(y);
            if (s.nonnegative && no_x != no_y) {
                positive = no_y;
                negative = no_x;
            } else if (!(no_x && no_y)) {
                double row[NC], error;
                const Wall wall = difference(l, window, slots[i], slots[j], row, error);
                pair_signs(wall, row, error, cell);
                bool zero = false;
                for (int k = 0; k < cell.n; ++k) {
                    positive |= signs_[k] > 0;
                    negative |= signs_[k] < 0;
                    zero |= signs_[k] == 0;
                }
                if (zero && positive != negative) mark_zero_edges(cell);
            }
            if (positive && negative) {
                ++j;
            } else if (!negative) {
                std::copy(slots + j + 1, slots + n, slots + j);
                --n;
            } else {
                std::copy(slots + i + 1, slots + n, slots + i);
                --n;
                j = i + 1;
            }
        }
    }
    return n;
}

// The windows of a table over a map's rows, into best_ and decided_.
template <int D>
void Walker<D>::test_windows(const Level& s, const AlignedVector<double>& map,
                             const AlignedVector<double>& error, const std::vector<int32_t>& table,
                             int wide, bool nonnegative, Cell cell) {
    if (best_.size() < static_cast<size_t>(wide)) {
        best_.resize(static_cast<size_t>(wide));
        decided_.resize(static_cast<size_t>(wide / kPad));
    }
    if (options_.decide == Decide::exact_signs) {
        std::fill(decided_.begin(), decided_.end(), uint8_t{0});
        return;
    }
    VertexBlock v = block(cell);
    if (options_.unchecked) v.rho = v.delta = 0.0;
    kernels_.windows(map.data(), static_cast<int>(map.size() / NC),
                     {table.data(), s.layer->slots, wide, nonnegative}, error.data(), v,
                     best_.data(), decided_.data());
}

template <int D>
void Walker<D>::set_piece(int l, int window, int slot) {
    Level& s = levels_[l];
    const int entry = s.layer->entry(window, slot);
    int32_t row = entry;
    if (s.nonnegative) {
        const int32_t unit = s.weights->copies[entry];
        const bool on = levels_[s.weights->blocks[0].source].on.get(unit);
        row = !on ? -1 : s.led ? unit : entry;
    }
    s.value[window] = row;
}

// The slot of a window's value: of equal rows the first, and the first slot where all are off.
template <int D>
int Walker<D>::Level::piece(int window) const {
    if (value[window] < 0) return first_slot[window];
    int slot = first_slot[window];
    const auto row = [&] {
        const int entry = layer->entry(window, slot);
        return entry >= 0 && led ? weights->copies[entry] : entry;
    };
    while (row() != value[window]) ++slot;
    return slot;
}

// Windows over ReLUs of layer l - 1, whose cell is entered: one pre-activation that is larger than
// the window's others all over the cell wins wherever any is on. Units that are off all over the
// cell are out of the question.
template <int D>
void Walker<D>::find_leaders(int l, Cell cell) {
    Level& s = levels_[l];
    const Level& below = levels_[l - 1];
    const int units = s.layer->units, wide = padded(units);
    kernels_.leaders(below.low.data(), below.high.data(), s.raw.data(), s.layer->slots, wide,
                     s.value.data(), s.swings.data(), s.opens.data());
    s.swing.clear();
    s.swing_row.clear();
    s.open.clear();
    for (int b = 0; b < wide / kPad; ++b) {
        for_each_bit(s.opens[b], b * kPad, [&](int w) {
            if (w < units) s.open.push_back(w);
        });
        for_each_bit(s.swings[b], b * kPad, [&](int w) {
            if (w < units) lead(l, w, s.value[w], &below.crossing);
        });
    }
    settle(l, cell, s.open, &below.crossing);
}

// Goes on in a part of the cell that far fewer units of layer l cross, where more of the windows
// above are settled.
template <int D>
void Walker<D>::descend_led(int l, Cell cell, const Conflicts& list, int depth) {
    Level& s = levels_[l + 1];
    const std::vector<int32_t> open = s.open, swing = s.swing, swing_row = s.swing_row;
    const int size = s.lead_size;
    crossing_.clear();
    for (int i = 0; i < list.n; ++i)
        crossing_.put(row_units_[list.unit_at + static_cast<size_t>(i)], true);
    s.swing.clear();
    s.swing_row.clear();
    for (size_t i = 0; i < swing.size(); ++i) lead(l + 1, swing[i], swing_row[i], &crossing_);
    settle(l + 1, cell, s.open, &crossing_);
    s.lead_size = list.n;
    descend(l, cell, list, depth);
    s.open = open;
    s.swing = swing;
    s.swing_row = swing_row;
    s.lead_size = size;
}

// Settles a window over ReLUs that one row leads wherever any is on, for all of a cell that the
// given units of the layer below cross.
template <int D>
void Walker<D>::lead(int l, int window, int32_t row, const Bits* crossing) {
    Level& s = levels_[l];
    const Level& below = levels_[l - 1];
    if (crossing && crossing->get(row)) {
        s.swing.push_back(window);
        s.swing_row.push_back(row);
    } else {
        s.value[window] = below.on.get(row) ? row : -1;
    }
}

// Settles windows over ReLUs that have one leader, and leaves the others in the list. Differences
// of rows say more than their ranges, and exact signs more than those in floating point.
template <int D>
void Walker<D>::settle(int l, Cell cell, std::vector<int32_t>& windows, const Bits* crossing) {
    Level& s = levels_[l];
    const Level& below = levels_[l - 1];
    const int slots = s.layer->slots;
    const auto wide = static_cast<size_t>(padded(s.layer->units));
    const auto alive = [&](int32_t row) {
        return row < below.rows && (below.on.get(row) || (crossing && crossing->get(row)));
    };
    size_t kept = 0;
    stand_in_.clear();
    for (int w : windows) {
        const int32_t* raw = s.raw.data() + w;
        int32_t first = -1;
        bool alone = true;
        for (int k = 0; k < slots; ++k, raw += wide) {
            if (!alive(*raw)) continue;
            alone = first < 0;
            if (!alone) break;
            first = *raw;
        }
        if (!alone) {
            windows[kept++] = w;
            stand_in_.push_back(first);
        } else if (first < 0) {
            s.value[w] = -1;
        } else {
            lead(l, w, first, crossing);
        }
    }
    windows.resize(kept);
    if (kept == 0) return;
    const auto few = static_cast<size_t>(padded(static_cast<int>(kept)));
    close_table_.assign(few * static_cast<size_t>(slots), 0);
    raw_error_[0] = row_error(l - 1, 0);  // of padding windows
    for (size_t i = 0; i < kept; ++i) {
        const int32_t* raw = s.raw.data() + windows[i];
        for (int k = 0; k < slots; ++k, raw += wide) {
            const int32_t used = alive(*raw) ? *raw : stand_in_[i];
            close_table_[static_cast<size_t>(k) * few + i] = used;
            raw_error_[static_cast<size_t>(used)] = row_error(l - 1, used);
        }
    }
    test_windows(s, below.map, raw_error_, close_table_, static_cast<int>(few), false, cell);
    size_t open = 0;
    for (size_t i = 0; i < kept; ++i) {
        if (decided_[i >> 3] >> (i & 7) & 1)
            lead(l, windows[i], close_table_[static_cast<size_t>(best_[i]) * few + i], crossing);
        else
            windows[open++] = windows[i];
    }
    windows.resize(open);
}

template <int D>
void Walker<D>::enter_windows(int l, Cell cell, int depth) {
    Level& s = levels_[l];
    const Layer& layer = *s.layer;
    const size_t units_mark = row_units_.size(), items_mark = items_.size(),
                 slots_mark = slots_.size();
    const auto keep = [&](int w) {
        ++stats_.undecided[l];
        const size_t at = slots_.size();
        for (int k = 0; k < layer.slots; ++k)
            if (layer.entry(w, k) >= 0) slots_.push(k);
        keep_window(l, {w, static_cast<int>(slots_.size() - at), at}, cell);
    };
    if (s.led) {
        const Level& below = levels_[l - 1];
        stats_.unit_tests[l] += s.open.size();
        for (size_t i = 0; i < s.swing.size(); ++i)
            s.value[s.swing[i]] = below.on.get(s.swing_row[i]) ? s.swing_row[i] : -1;
        close_ = s.open;
        settle(l, cell, close_, nullptr);
        for (int w : close_) {
            for (int k = 0; k < layer.slots; ++k)
                if (layer.entry(w, k) >= 0) copy_row(l, layer.entry(w, k));
            keep(w);
        }
    } else {
        stats_.unit_tests[l] += static_cast<uint64_t>(layer.units);
        test_windows(s, s.map, s.row_error, s.table, padded(layer.units), s.nonnegative, cell);
        for (int w = 0; w < layer.units; ++w) {
            if (decided_[static_cast<size_t>(w >> 3)] >> (w & 7) & 1)
                set_piece(l, w, layer.entry(w, best_[w]) >= 0 ? best_[w] : s.first_slot[w]);
            else
                keep(w);
        }
    }
    forget_map(l + 1);
    const size_t rows_mark = rows_.size();
    descend(l, cell, window_rows(l, units_mark), depth);
    rows_.shrink(rows_mark);
    row_units_.shrink(units_mark);
    items_.shrink(items_mark);
    slots_.shrink(slots_mark);
}

// Settles the window of an item whose slots lie at the end of slots_, or lists it.
template <int D>
void Walker<D>::keep_window(int l, Item item, Cell cell) {
    item.n = resolve_window(l, item.window, cell, slots_.data() + item.at, item.n);
    if (item.n == 1) {
        set_piece(l, item.window, slots_[item.at]);
        slots_.shrink(item.at);
        return;
    }
    slots_.shrink(item.at + static_cast<size_t>(item.n));
    row_units_.push(static_cast<int>(items_.size()));
    items_.push(item);
}

// The list of the items named in row_units_ from `units_mark` on, with the row of the first two
// slots of each. Windows of more than two slots come first.
template <int D>
typename Walker<D>::Conflicts Walker<D>::window_rows(int l, size_t units_mark) {
    const int n = static_cast<int>(row_units_.size() - units_mark);
    int* first = row_units_.data() + units_mark;
    int* pairs =
        std::stable_partition(first, first + n, [&](int item) { return items_[item].n > 2; });
    if (pairs == first && n > 1) std::rotate(first, first + n / 2, first + n / 2 + 1);
    const Conflicts list{rows_.size(), units_mark, n, padded(n)};
    rows_.grow(static_cast<size_t>(NC + 1) * list.stride);
    std::fill_n(rows_.data() + list.at, static_cast<size_t>(NC + 1) * list.stride, 0.0);
    for (int i = 0; i < n; ++i) {
        const Item& item = items_[row_units_[units_mark + static_cast<size_t>(i)]];
        double row[NC], error;
        difference(l, item.window, slots_[item.at], slots_[item.at + 1], row, error);
        double* to = rows_.data() + list.at + i;
        for (int c = 0; c < NC; ++c) to[static_cast<size_t>(c) * list.stride] = row[c];
        to[static_cast<size_t>(NC) * list.stride] = error;
    }
    return list;
}

// The part of the parent's list, but for its first item, that is open in the child.
template <int D>
typename Walker<D>::Conflicts Walker<D>::child_windows(int l, Cell child, const Conflicts& parent) {
    const size_t units_mark = row_units_.size();
    const SignMasks masks{list_masks_[0].bytes(), list_masks_[1].bytes(), list_masks_[2].bytes()};
    if (parent.n > 1) classify_list(parent, block(child), masks);
    stats_.unit_tests[l] += static_cast<uint64_t>(parent.n - 1);
    for (int i = 1; i < parent.n; ++i) {
        const int number = row_units_[parent.unit_at + static_cast<size_t>(i)];
        const Item item = items_[number];
        const int b = i >> 3;
        const unsigned m = 1u << (i & 7);
        if (item.n == 2 && masks.crossing[b] & m) {
            row_units_.push(number);
        } else if (item.n == 2 && (masks.positive[b] | masks.negative[b]) & m) {
            set_piece(l, item.window, slots_[item.at + (masks.positive[b] & m ? 0 : 1)]);
        } else {
            ++stats_.undecided[l];
            const size_t at = slots_.size();
            for (int k = 0; k < item.n; ++k) slots_.push(slots_[item.at + static_cast<size_t>(k)]);
            // resolving uses list_masks_ nowhere, so the masks stay good
            keep_window(l, {item.window, item.n, at}, child);
        }
    }
    return window_rows(l, units_mark);
}

template <int D>
void Walker<D>::descend_side(int l, Cell child, const Conflicts& list, int depth) {
    const size_t rows_mark = rows_.size(), units_mark = row_units_.size(),
                 items_mark = items_.size(), slots_mark = slots_.size();
    descend(l, child, child_windows(l, child, list), depth + 1);
    rows_.shrink(rows_mark);
    row_units_.shrink(units_mark);
    items_.shrink(items_mark);
    slots_.shrink(slots_mark);
}

template <int D>
void Walker<D>::split_windows(int l, Cell cell, Conflicts list, int depth) {
    if (stop_.poll()) throw Stopped{};
    if (depth >= kMaxSplits) throw std::runtime_error("the split tree is too deep");
    const Item item = items_[row_units_[list.unit_at]];
    const Mark before = mark();
    if (item.n == 2) {
        double row[NC], error;
        const Wall wall =
            difference(l, item.window, slots_[item.at], slots_[item.at + 1], row, error);
        pair_signs(wall, row, error, cell);
        // In 1-D from left to right.
        const bool first = D > 1 || signs_[0] > 0;
        Cell children[2];
        build_children(cell, signs_.data(), push_line(row, error, wall), children);
        for (const bool side : {first, !first}) {
            set_piece(l, item.window, slots_[item.at + (side ? 0 : 1)]);
            descend_side(l, children[side ? 1 : 0], list, depth);
        }
    } else {
        std::vector<int> order(slots_.data() + item.at,
                               slots_.data() + item.at + static_cast<size_t>(item.n));
        if constexpr (D == 1) order = left_to_right(l, item, cell);
        for (int slot : order) {
            Cell child = cell;
            if (clip_to(l, item, slot, child)) {
                set_piece(l, item.window, slot);
                descend_side(l, child, list, depth);
            }
            release(before);
        }
    }
    release(before);
}

// Cuts the cell down to where a slot of an item wins; false if that has no interior.
template <int D>
bool Walker<D>::clip_to(int l, const Item& item, int slot, Cell& cell) {
    for (int k = 0; k < item.n; ++k) {
        const int other = slots_[item.at + static_cast<size_t>(k)];
        if (other == slot) continue;
        double row[NC], error;
        const Wall wall = difference(l, item.window, slot, other, row, error);
        pair_signs(wall, row, error, cell);
        bool positive = false, negative = false, zero = false;
        for (int v = 0; v < cell.n; ++v) {
            positive |= signs_[v] > 0;
            negative |= signs_[v] < 0;
            zero |= signs_[v] == 0;
        }
        if (!positive) return false;
        if (negative) {
            Cell children[2];
            build_children(cell, signs_.data(), push_line(row, error, wall), children);
            cell = children[1];
        } else if (zero) {
            // Ties along a facet of the cell: who lies beyond takes an exact look. The facet may be
            // shared with the parent, so the mark goes to a copy.
            cell = copy_cell(cell);
            mark_zero_edges(cell);
        }
    }
    return true;
}

// The winning slots of an item in one dimension in the order of their intervals.
template <int D>
std::vector<int> Walker<D>::left_to_right(int l, const Item& item, Cell cell) {
    std::vector<std::pair<ExactPoint<D>, int>> found;
    const Mark before = mark();
    for (int k = 0; k < item.n; ++k) {
        const int slot = slots_[item.at + static_cast<size_t>(k)];
        Cell child = cell;
        if (clip_to(l, item, slot, child))
            found.emplace_back(points_.point(intern(child, 0)), slot);
        release(before);
    }
    std::sort(found.begin(), found.end(), [](const auto& x, const auto& y) {
        const ExactPoint<D>&u = x.first, &v = y.first;
        const auto far = [](const ExactPoint<D>& p) { return p.infinite ? p.q[0].sign() : 0; };
        if (far(u) != far(v)) return far(u) < far(v);
        return far(u) == 0 && u.p[0] * v.den < v.p[0] * u.den;
    });
    std::vector<int> out;
    for (const auto& [point, slot] : found) out.push_back(slot);
    return out;
}

#define PLV_INSTANTIATE(D)                                                                    \
    template void Walker<D>::find_leaders(int l, Cell cell);                                  \
    template void Walker<D>::descend_led(int l, Cell cell, const Conflicts& list, int depth); \
    template int Walker<D>::Level::piece(int window) const;                                   \
    template void Walker<D>::set_piece(int l, int window, int slot);                          \
    template void Walker<D>::enter_windows(int l, Cell cell, int depth);                      \
    template void Walker<D>::split_windows(int l, Cell cell, Conflicts list, int depth);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
