#include "region/walker.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace plv {

namespace {

// Interned points kept before those off the current path are forgotten.
constexpr size_t kPointCap = 20000;

// The unit that splits a cell next stands first in its list. Taking the middle one keeps the lists
// short where units come sorted: they halve from split to split instead of losing one.
void middle_first(int* units, int n) { std::rotate(units, units + n / 2, units + n / 2 + (n > 0)); }

}  // namespace

template <int D>
Walker<D>::Walker(const Problem<D>& problem, const EnumerateOptions& options, const Sink<D>& sink,
                  StopToken& stop, std::atomic<int64_t>& next_claim, std::atomic<int64_t>* progress)
    : problem_(problem),
      net_(*problem.net),
      options_(options),
      sink_(sink),
      stop_(stop),
      kernels_(options.portable ? portable_kernels(D) : kernels(D)),
      next_claim_(next_claim),
      progress_(progress),
      depth_(static_cast<int>(problem.net->layers.size())),
      counting_(!sink.regions && !sink.ties),
      points_(*problem.exact, &stop) {
    int widest = 1;
    bool slow_start = false;
    for (int l = 0; l <= depth_; ++l) widest = std::max(widest, net_.exact_form(l).rows);
    for (const Layer& layer : net_.layers) widest = std::max(widest, layer.units);
    zeros_.assign(static_cast<size_t>(padded(widest)), 0.0);
    for (int l = 0; l <= depth_; ++l) {
        levels_.push_back(make_level(l));
        slow_start |= levels_.back().origin == Origin::general;
    }
    // Few enough subtrees that starting each from fresh maps costs nothing, enough to share out
    // evenly.
    const int deepest = slow_start ? 5 : 10;
    while (claim_depth_ < deepest && (1 << claim_depth_) < net_.unit_count) ++claim_depth_;
    for (Bits& mask : list_masks_) mask = Bits(widest);
    raw_error_.assign(zeros_.size(), 0.0);
    crossing_ = Bits(widest);
    flat_.assign(static_cast<size_t>(net_.pattern_bytes()) + 1, 0);
    for (int k = 0; k < D; ++k) size_[k] = std::ldexp(1.0, problem.frame.exponent[k]);
    stats_.unit_tests.assign(depth_, 0);
    stats_.undecided.assign(depth_, 0);
    stats_.exact_signs.assign(static_cast<size_t>(depth_) + 1, 0);
}

template <int D>
void Walker<D>::run() {
    for (size_t i = 0; i < problem_.lines.size(); ++i) {
        const ExactLine<D>& exact = problem_.lines[i];
        size_t bits = std::max(exact.c.bit_length(), exact.d.bit_length());
        for (int k = 0; k < D; ++k) bits = std::max(bits, exact.a[k].bit_length());
        const Int unit = Int(1) << bits;
        Line line;
        double size = 0.0;
        for (int k = 0; k < D; ++k)
            size += std::fabs(line.rounded.a[k] = Int::ratio(exact.a[k], unit));
        size += std::fabs(line.rounded.c = Int::ratio(exact.c, unit));
        line.rounded.d = Int::ratio(exact.d, unit);
        line.rounded.error = exact.d.is_zero() ? 4 * kRound * size : 0.0;
        const int index = static_cast<int>(i);
        const bool side = index >= problem_.constraint_count;
        line.wall.layer = side ? kBoxSide : kConstraint;
        line.wall.entry = side ? index - problem_.constraint_count : index;
        line.exact = std::make_unique<ExactLine<D>>(exact);
        lines_.push_back(std::move(line));
    }
    const Cell root = root_cell();
    try {
        if (depth_ > 0) {
            enter_layer(0, root, 0);
        } else if (claim()) {
            in_subtree_ = true;
            region(root);
        }
    } catch (const Stopped&) {
        flush();
        throw;
    }
    flush();
}

template <int D>
bool Walker<D>::claim() {
    const int64_t node = node_++;
    if (mine_ < node) mine_ = next_claim_.fetch_add(1, std::memory_order_relaxed);
    if (mine_ != node) return false;
    subtree_ = node;
    return true;
}

template <int D>
void Walker<D>::leave_subtree(int l) {
    in_subtree_ = false;
    start_afresh(l);
    flush();
}

// Maps above layer l are computed from scratch next: a subtree's numbers must not depend on what
// the thread walked before.
template <int D>
void Walker<D>::start_afresh(int l) {
    for (int k = l + 1; k <= depth_; ++k)
        if (k == l + 1 || levels_[k].origin == Origin::general) levels_[k].map_valid = false;
}

// ----------------------------------------------------------------------------------------------------------------
// walking

template <int D>
void Walker<D>::enter_layer(int l, Cell cell, int depth) {
    if (stop_.poll()) throw Stopped{};
    if (options_.decide == Decide::filtered && points_.size() > kPointCap) forget_points();
    Level& s = levels_[l];
    ++s.stamp;
    s.zero_unit = l > 0 && levels_[l - 1].zero_unit;
    if (s.is_max()) {
        enter_windows(l, cell, depth);
        return;
    }
    stats_.unit_tests[l] += static_cast<uint64_t>(s.rows);
    test_floating(l, cell);
    const size_t units_mark = row_units_.size();
    for (size_t k = 0; k < s.on.words(); ++k) {
        const uint64_t real = s.real.word(k);
        uint64_t positive = s.positive.word(k) & real, crossing = s.crossing.word(k) & real;
        uint64_t settled = positive | s.negative.word(k) | crossing;
        if (!known_.empty()) settled = test_known(l, k, cell, positive, crossing);
        const int base = static_cast<int>(64 * k);
        for_each_bit(real & ~settled, base, [&](int unit) {
            ++stats_.undecided[l];
            double row[NC];
            for (int c = 0; c < NC; ++c) row[c] = s.map[static_cast<size_t>(c) * s.stride + unit];
            bool all_zero = false;
            const int verdict = resolve(l, unit, row, row_error(l, unit), cell, all_zero);
            if (verdict == 1) positive |= uint64_t{1} << (unit - base);
            if (verdict == 2) crossing |= uint64_t{1} << (unit - base);
            if (all_zero && l > 0) s.zero_unit = true;
        });
        s.on.word(k) = s.positive.word(k) = positive;
        s.crossing.word(k) = crossing;
        s.ever_on.word(k) |= positive | crossing;
        s.ever_off.word(k) |= ~positive;
        for_each_bit(crossing, base, [&](int unit) { row_units_.push(unit); });
    }
    forget_map(l + 1);
    const int crossing = static_cast<int>(row_units_.size() - units_mark);
    if (levels_[l + 1].led) {
        find_leaders(l + 1, cell);
        levels_[l + 1].lead_size = crossing;
    }
    middle_first(row_units_.data() + units_mark, crossing);
    const Conflicts list{rows_.size(), units_mark, crossing, padded(crossing)};
    double* to = rows_.grow(static_cast<size_t>(NC + 1) * list.stride);
    for (int c = 0; c <= NC; ++c, to += list.stride) {
        const int* unit = row_units_.data() + units_mark;
        const double* from = s.map.data() + static_cast<size_t>(c) * s.stride;
        for (int n = 0; n < crossing; ++n) to[n] = c < NC ? from[unit[n]] : row_error(l, unit[n]);
        std::fill(to + crossing, to + list.stride, 0.0);
    }
    descend(l, cell, list, depth);
    rows_.shrink(list.at);
    row_units_.shrink(list.unit_at);
}

// Signs of the layer's units over the cell in floating point, into the level's masks: over the
// vertices whose exact signs are not known yet. Those that are known are listed in known_.
template <int D>
void Walker<D>::test_floating(int l, Cell cell) {
    Level& s = levels_[l];
    known_.clear();
    const bool ranges = !s.low.empty();
    const auto know_nothing = [&] {
        if (!ranges) return;
        std::fill_n(s.low.begin(), s.stride, -kFar);
        std::fill_n(s.high.begin(), s.stride, kFar);
    };
    if (options_.decide == Decide::exact_signs) {
        know_nothing();
        s.positive.clear();
        s.negative.clear();
        s.crossing.clear();
        return;
    }
    for (int k = 0; k < cell.n; ++k) {
        const int32_t point = vertices_[cell.at + k].point;
        if (point >= 0 && points_.evaluated(point)) known_.push_back(k);
    }
    const SignMasks masks{s.positive.bytes(), s.negative.bytes(), s.crossing.bytes()};
    const size_t mark = vertices_.size();
    if (!known_.empty()) {
        const Cell loose{mark, cell.n - static_cast<int>(known_.size())};
        for (int k = 0, next = 0; k < cell.n; ++k) {
            if (next < static_cast<int>(known_.size()) && known_[next] == k)
                ++next;
            else
                vertices_.push(vertices_[cell.at + k]);
        }
        if (loose.n == 0) {  // nothing to ask: all signs are known
            know_nothing();
            s.positive.clear();
            s.negative.clear();
            s.crossing.clear();
            return;
        }
        cell = loose;
    }
    const VertexBlock v = block(cell);
    const bool bounded = ranges && known_.empty() && !options_.unchecked;
    if (!bounded) know_nothing();
    if (options_.unchecked) {
        kernels_.classify_unchecked(s.map.data(), s.stride, s.blocks, v, masks);
    } else if (bounded) {
        kernels_.classify_ranges(s.map.data(), s.stride, s.blocks, s.error(), v, masks,
                                 s.low.data(), s.high.data());
    } else {
        kernels_.classify(s.map.data(), s.stride, s.blocks, s.error(), v, masks);
    }
    vertices_.shrink(mark);
}

// Joins what floating point says about a word of 64 units with the exact signs at the vertices in
// known_. Updates `positive` and `crossing`; returns the units that are settled now.
template <int D>
uint64_t Walker<D>::test_known(int l, size_t word, Cell cell, uint64_t& positive,
                               uint64_t& crossing) {
    Level& s = levels_[l];
    const uint64_t real = s.real.word(word);
    uint64_t any_positive = 0, any_negative = 0;
    for (int k : known_) {
        const int32_t point = vertices_[cell.at + k].point;
        any_positive |= points_.positive(point, l)[word];
        any_negative |= points_.negative(point, l)[word];
    }
    uint64_t settled;
    if (static_cast<int>(known_.size()) == cell.n) {
        crossing = any_positive & any_negative & real;
        positive = any_positive & ~any_negative & real;
        settled = real;  // what is zero at every vertex vanishes identically: piece 0
        if (l > 0 && (real & ~(any_positive | any_negative)) != 0) s.zero_unit = true;
    } else {
        const uint64_t negative = s.negative.word(word) & real;
        crossing |= (positive & any_negative) | (negative & any_positive) |
                    (any_positive & any_negative & real);
        positive &= ~any_negative;
        settled = positive | crossing | (negative & ~any_positive);
    }
    mark_known_zeros(l, word, cell, real & ~crossing);
    return settled;
}

template <int D>
void Walker<D>::descend(int l, Cell cell, Conflicts list, int depth) {
    const bool last = l + 1 == depth_;
    const bool counts = last && counting_;
    if (!in_subtree_ &&
        (depth >= claim_depth_ || (last && list.n <= 2) || (counts && options_.threads == 1))) {
        // The top of the tree is walked by every thread; this subtree by the one that claims it.
        if (!claim()) return;
        in_subtree_ = true;
        start_afresh(l);
        descend(l, cell, list, depth);
        leave_subtree(l);
        return;
    }
    if (list.n == 0) {
        leaf(l, cell, depth);
        return;
    }
    if (levels_[l].is_max()) {
        split_windows(l, cell, list, depth);
        return;
    }
    if (Level& above = levels_[l + 1]; above.led && 2 * list.n <= above.lead_size &&
                                       above.open.size() + above.swing.size() >= kPad) {
        descend_led(l, cell, list, depth);
        return;
    }
    if (counts && in_subtree_ && list.n <= count_below_) {
        const int64_t cells = count_cells(cell, list);
        count_ += cells;
        if (cells > 0) return;
        // What is open here is likely to be open for most of the units.
        const int before = count_below_;
        count_below_ = list.n / 2;
        split(l, cell, list, depth);
        count_below_ = before;
        return;
    }
    split(l, cell, list, depth);
}

template <int D>
void Walker<D>::leaf(int l, Cell cell, int depth) {
    if (l + 1 == depth_) {
        ++levels_[l].stamp;
        region(cell);
        return;
    }
    ++levels_[l].stamp;
    if (!in_subtree_) start_afresh(l);
    prepare_map(l + 1);
    enter_layer(l + 1, cell, depth);
}

template <int D>
void Walker<D>::split(int l, Cell cell, Conflicts list, int depth) {
    if (stop_.poll()) throw Stopped{};
    if (depth >= kMaxSplits) throw std::runtime_error("the split tree is too deep");
    Level& s = levels_[l];
    const int unit = row_units_[list.unit_at];
    double row[NC];
    for (int c = 0; c < NC; ++c) row[c] = rows_[list.at + static_cast<size_t>(c) * list.stride];
    const double error = rows_[list.at + static_cast<size_t>(NC) * list.stride];
    signs_.shrink(0);
    signs_.grow(static_cast<size_t>(cell.n));
    const bool filtered = options_.decide != Decide::exact_signs;
    const RowTest test(row, error, options_.unchecked);
    for (int k = 0; k < cell.n; ++k) {
        const int sure = filtered ? test.sign(vertices_[cell.at + k]) : 0;
        signs_[k] = static_cast<int8_t>(sure ? sure : sign_at({l, unit}, row, error, cell, k));
    }
    // Which side first: in 1-D the left one, so that regions come out sorted; else the side of the
    // map that is at hand.
    bool first = true;
    if constexpr (D == 1)
        first = signs_[0] > 0;
    else if (in_subtree_ && levels_[l + 1].map_valid && levels_[l + 1].origin == Origin::chain)
        first = levels_[l + 1].included.get(unit);
    const Mark before = mark();
    const int32_t line = push_line(row, error, {l, unit});
    Cell children[2];
    build_children(cell, signs_.data(), line, children);
    for (const bool side : {first, !first}) {
        const Cell child = children[side ? 1 : 0];
        s.on.put(unit, side);
        const size_t rows_mark = rows_.size(), units_mark = row_units_.size();
        const Conflicts rest = child_conflicts(l, child, list);
        descend(l, child, rest, depth + 1);
        rows_.shrink(rows_mark);
        row_units_.shrink(units_mark);
    }
    release(before);
}

template <int D>
void Walker<D>::classify_list(const Conflicts& list, const VertexBlock& v, const SignMasks& masks) {
    const int blocks = list.stride / kPad;
    const double* m = rows_.data() + list.at;
    if (options_.decide == Decide::exact_signs) {
        std::fill_n(masks.positive, blocks, uint8_t{0});
        std::fill_n(masks.negative, blocks, uint8_t{0});
        std::fill_n(masks.crossing, blocks, uint8_t{0});
    } else if (options_.unchecked) {
        kernels_.classify_unchecked(m, list.stride, blocks, v, masks);
    } else {
        const RowError error{m + static_cast<size_t>(NC) * list.stride, zeros_.data(), 1.0, 0.0};
        kernels_.classify(m, list.stride, blocks, error, v, masks);
    }
}

template <int D>
typename Walker<D>::Conflicts Walker<D>::child_conflicts(int l, Cell child,
                                                         const Conflicts& parent) {
    Level& s = levels_[l];
    Conflicts out{rows_.size(), row_units_.size(), 0, 0};
    if (parent.n == 1) return out;
    const SignMasks masks{list_masks_[0].bytes(), list_masks_[1].bytes(), list_masks_[2].bytes()};
    classify_list(parent, block(child), masks);
    stats_.unit_tests[l] += static_cast<uint64_t>(parent.n - 1);
    for (int i = 1; i < parent.n; ++i) {
        const int b = i >> 3;
        const unsigned m = 1u << (i & 7);
        const int unit = row_units_[parent.unit_at + i];
        int verdict = masks.positive[b] & m   ? 1
                      : masks.negative[b] & m ? -1
                      : masks.crossing[b] & m ? 2
                                              : 3;
        if (verdict == 3) {
            ++stats_.undecided[l];
            double row[NC];
            for (int c = 0; c < NC; ++c)
                row[c] = rows_[parent.at + static_cast<size_t>(c) * parent.stride + i];
            bool all_zero = false;
            verdict = resolve(l, unit, row,
                              rows_[parent.at + static_cast<size_t>(NC) * parent.stride + i], child,
                              all_zero);
            PLV_CHECK(
                !all_zero ||
                options_.unchecked);  // it crosses the parent, so it is not zero on an open set
        }
        if (verdict == 2)
            row_units_.push(i);  // position in the parent's list, for now
        else
            s.on.put(unit, verdict == 1);
    }
    out.n = static_cast<int>(row_units_.size() - out.unit_at);
    if (out.n == 0) return out;
    middle_first(row_units_.data() + out.unit_at, out.n);
    out.stride = padded(out.n);
    double* to = rows_.grow(static_cast<size_t>(NC + 1) * out.stride);
    const double* from = rows_.data() + parent.at;
    for (int c = 0; c <= NC; ++c, from += parent.stride, to += out.stride) {
        for (int k = 0; k < out.n; ++k) to[k] = from[row_units_[out.unit_at + k]];
        for (int k = out.n; k < out.stride; ++k) to[k] = 0.0;
    }
    for (int k = 0; k < out.n; ++k) {
        int& u = row_units_[out.unit_at + k];
        u = row_units_[parent.unit_at + u];
    }
    return out;
}

// -----------------------------------------------------------------------------------------------------------------
// signs

template <int D>
int Walker<D>::sign_at(const Wall& wall, const double* row, double error, Cell cell, int k) {
    if (options_.decide != Decide::exact_signs) {
        const int sure = RowTest(row, error, options_.unchecked).sign(vertices_[cell.at + k]);
        if (sure != 0 || options_.unchecked) return sure;
    }
    const int32_t id = intern(cell, k);
    ++stats_.exact_signs[wall.layer];
    if (wall.window >= 0) return points_.window_sign(id, wall.layer, wall.window, wall.a, wall.b);
    return wall.minus < 0 ? points_.sign(id, wall.layer, wall.entry)
                          : points_.output_sign(id, wall.entry, wall.minus);
}

template <int D>
int Walker<D>::resolve(int l, int unit, const double* row, double error, Cell cell,
                       bool& all_zero) {
    bool positive = false, negative = false, zero = false;
    signs_.shrink(0);
    signs_.grow(static_cast<size_t>(cell.n));
    for (int k = 0; k < cell.n; ++k) {
        const int s = sign_at({l, unit}, row, error, cell, k);
        signs_[k] = static_cast<int8_t>(s);
        positive |= s > 0;
        negative |= s < 0;
        zero |= s == 0;
    }
    if (positive && negative) return 2;
    all_zero = !positive && !negative;
    if (zero) mark_zero_edges(cell);
    return positive ? 1 : negative ? -1 : 0;
}

template <int D>
void Walker<D>::forget_points() {
    std::vector<int32_t> kept;
    std::vector<int32_t> renamed(points_.size(), -1);
    for (Vertex<D>& v : vertices_) {
        if (v.point < 0) continue;
        if (renamed[v.point] < 0) {
            renamed[v.point] = static_cast<int32_t>(kept.size());
            kept.push_back(v.point);
        }
        v.point = renamed[v.point];
    }
    stats_.exact_points += points_.size() - kept.size();
    points_.keep(kept);
}

template <int D>
void Walker<D>::assemble_pattern(uint8_t* out, int layers) const {
    for (int l = 0; l < layers; ++l) {
        const Level& s = levels_[l];
        if (s.is_max()) {
            for (int w = 0; w < s.layer->units; ++w) net_.set_piece(out, l, w, s.piece(w));
            continue;
        }
        const size_t offset = net_.bit_offset[l];
        const unsigned shift = offset & 7;
        uint8_t* to = out + (offset >> 3);
        const uint8_t* on = s.on.bytes();
        for (int b = 0; b < (s.rows + 7) / 8; ++b) {
            const unsigned v = static_cast<unsigned>(on[b]) << shift;
            to[b] = static_cast<uint8_t>(to[b] | v);
            if (v >> 8) to[b + 1] = static_cast<uint8_t>(to[b + 1] | v >> 8);
        }
    }
}

template <int D>
const EnumerateStats& Walker<D>::stats() {
    stats_.exact_passes = points_.forward_passes();
    stats_.exact_points += points_.size();
    return stats_;
}

template <int D>
void Walker<D>::ever(std::vector<uint8_t>& on, std::vector<uint8_t>& off) const {
    on.resize(static_cast<size_t>(net_.unit_count), 0);
    off.resize(static_cast<size_t>(net_.unit_count), 0);
    for (int l = 0; l < depth_; ++l)
        for (int i = 0; i < net_.layers[l].units; ++i) {
            const bool window = levels_[l].is_max();
            on[net_.unit_offset[l] + i] |= window || levels_[l].ever_on.get(i);
            off[net_.unit_offset[l] + i] |= window || levels_[l].ever_off.get(i);
        }
}

#define PLV_INSTANTIATE(D) template class Walker<D>;
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
