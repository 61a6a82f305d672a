// Backward substitution of several rows at once: `kLanes` of them lie side by side in `lanes_`, so
// that a weight is loaded once for all, and every loop over lanes is one of vector instructions.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "check/clones.hpp"
#include "check/dual_doubles.hpp"
#include "check/vectors.hpp"

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kHalfUlp = 0x1p-53;
constexpr double kFlat = 0x1p-30;  // of the terms of a half-space: as a slope, 0

// The next number below a finite one, as nextafter, without a call.
double next_below(double v) {
    if (v == 0) return -std::numeric_limits<double>::denorm_min();
    return std::bit_cast<double>(std::bit_cast<int64_t>(v) + (v > 0 ? -1 : 1));
}

}  // namespace

bool DualDoubles::substitute(const Cell& cell, const std::vector<DualRow>* where) {
    if (net_.rounds && !propagate(cell)) return false;  // which finds the errors
    lo_ = cell.lo;
    hi_ = cell.hi;
    where_.clear();
    if (const Condensed* net = small_network(where)) return bound_condensed(cell, *net, where);
    measure(cell);
    // Where little is known yet, magnitudes follow the bounds node after node: else those of the
    // first ones would grow from node to node, and the errors with them.
    const bool rough = std::any_of(hi_.begin(), hi_.end(), [](double v) { return v == kInf; });
    const auto follow = [&](uint32_t k) {
        if (rough) measure_node(cell, lo_.data(), hi_.data(), k);
    };
    make_room();
    if (where != nullptr) narrow(cell, *where);
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        const DualNode& extra = net_.nodes[k];
        const Node& node = net_.net.nodes[k];
        if (node.is_linear()) {
            follow(k);
            continue;
        }
        batch_.clear();
        const auto want = [&](uint32_t s) {
            const uint32_t e = extra.slot_entry[s], tensor = net_.tensor_of(e);
            batch_.push_back({extra.first_input + s, e, tensor, 1});
            batch_.push_back({extra.first_input + s, e, tensor, -1});
        };
        for (uint32_t i = 0; i < node.size; ++i) {
            if (net_.own_piece[extra.first_unit + i] >= 0) continue;
            if (node.kind == Kind::max) {
                for (uint32_t s = extra.slot_start[i]; s < extra.slot_start[i + 1]; ++s) want(s);
                continue;
            }
            // A unit whose piece is known keeps its bounds.
            const uint32_t at = extra.first_input + i;
            if (cell.pieces[extra.first_unit + i] >= 0 || (lo_[at] < 0 && hi_[at] > 0)) want(i);
        }
        for (size_t at = 0; at < batch_.size(); at += kLanes) {
            tick_();
            const size_t n = std::min(kLanes, batch_.size() - at);
            if (!bound_batch(cell, &batch_[at], n)) return false;
        }
        relax(cell, k);
        follow(k);
    }
    return true;
}

void DualDoubles::make_room() {
    lanes_.resize(net_.entries() * kLanes);
    reached_.resize(net_.entries());
    taken_.resize(net_.entries());
}

// The first rows, as functions of the input.
void DualDoubles::narrow(const Cell& cell, const std::vector<DualRow>& rows) {
    for (uint32_t k = 0; k < net_.nodes.size(); ++k)
        if (!net_.net.nodes[k].is_linear()) relax(cell, k);
    const size_t n = std::min(kLanes, rows.size());
    Lanes sum{};
    sum.unit = unit_;
    start_rows(rows, 0, n, sum);
    pull_batch(cell, static_cast<uint32_t>(net_.nodes.size()), sum);
    keep_half_spaces(n, sum);
}

// The gradients of some rows, in the lanes.
void DualDoubles::start_rows(const std::vector<DualRow>& rows, size_t first, size_t n, Lanes& sum) {
    for (size_t l = 0; l < n; ++l) {
        const DualRow& row = rows[first + l];
        sum.lower[l] = -row.bound;
        sum.error[l] = std::abs(row.bound);
        for (const DualRow::Term& term : row.terms) {
            lanes_[term.entry * kLanes + l] += term.rounded;
            reached_[term.entry] = 1;
            sum.error[l] += std::abs(term.rounded) * local_.a[term.entry];
        }
    }
}

// What the first lanes have come to.
void DualDoubles::keep_half_spaces(size_t n, const Lanes& sum) {
    for (size_t l = 0; l < n; ++l) {
        HalfSpace out{};
        double size = 0;
        for (uint32_t i = 0; i < net_.net.input_size; ++i) {
            out.slope[i] = lanes_[i * kLanes + l];
            out.inverse[i] = 1 / out.slope[i];
            size += std::abs(out.slope[i]) * local_.a[i];
        }
        const double least = sum.lower[l] - ((sum.error[l] + size) * sum.unit + local_.tiny);
        out.constant = std::nextafter(least, -kInf);
        out.size = size + std::abs(least);
        if (std::isfinite(out.size)) where_.push_back(out);
    }
    std::fill_n(lanes_.begin(), net_.net.input_size * kLanes, 0.0);
    std::fill_n(reached_.begin(), net_.net.input_size, 0);
}

void DualDoubles::pull_batch(const Cell& cell, uint32_t nodes, Lanes& sum) {
    for (uint32_t k = nodes; k-- > 0;) {
        const Kind kind = net_.net.nodes[k].kind;
        if (kind == Kind::units)
            batch_units(k, sum);
        else if (kind == Kind::max)
            batch_windows(cell, k, sum);
        else
            batch_linear(k, sum);
    }
}

bool DualDoubles::bound_batch(const Cell& cell, const Wanted* wanted, size_t n) {
    uint32_t nodes = 0;
    for (size_t l = 0; l < n; ++l) nodes = std::max(nodes, wanted[l].nodes);
    // All lanes are 0 here: what a batch adds it takes back once it is read. Only entries that are
    // marked as reached may hold something else.
    Lanes sum{};
    sum.unit = unit_;
    for (size_t l = 0; l < n; ++l) {
        lanes_[wanted[l].entry * kLanes + l] = wanted[l].sign;
        reached_[wanted[l].entry] = 1;
        sum.error[l] = local_.a[wanted[l].entry];
    }
    pull_batch(cell, nodes, sum);
    return end_batch(cell, wanted, n, sum);
}

// With the gradients of the inputs in the lanes.
PLV_CLONES bool DualDoubles::end_batch(const Cell& cell, const Wanted* wanted, size_t n,
                                       Lanes& sum) {
    Vector inputs = {}, error = vector_at(sum.error);
    for (uint32_t i = 0; i < net_.net.input_size; ++i) {
        const Vector c = vector_at(&lanes_[i * kLanes]), none = {};
        const double lo = cell.box.lo[i].rounded, hi = cell.box.hi[i].rounded;
        inputs += c * (c > 0.0 ? none + lo : none + hi);
        error += absolute(c) * local_.a[i];
    }
    vector_at(sum.error) = error;
    double best[kLanes];
    vector_at(best) = vector_at(sum.lower) + inputs - (error * sum.unit + local_.tiny);
    if (ball_.ball != nullptr) batch_ball(sum, best);
    if (!where_.empty()) batch_where(cell, sum, best);
    std::fill_n(lanes_.begin(), net_.net.input_size * kLanes, 0.0);
    std::fill_n(reached_.begin(), net_.net.input_size, 0);
    for (size_t l = 0; l < n; ++l) {
        const Wanted& w = wanted[l];
        const double value = best[l];
        const double bound = std::isfinite(value) ? next_below(value)
                                                  : bound_exactly(cell, w.nodes, w.entry, w.sign);
        double &lo = lo_[w.input], &hi = hi_[w.input];
        if (w.sign > 0)
            lo = std::max(lo, bound);
        else
            hi = std::min(hi, -bound);
        if (lo > hi) return false;
    }
    return true;
}

// Better bounds with the ball, into `best`; `sum` is what all nodes add and the magnitudes.
PLV_CLONES void DualDoubles::batch_ball(const Lanes& sum, double* best) {
    const auto gradient = [&](size_t i) -> const Vector& { return vector_at(&lanes_[i * kLanes]); };
    Vector m = {};
    for (size_t l = 0; l < kLanes; ++l) m[l] = ball_.first_multiplier(&lanes_[l], kLanes);
    for (int k = 0; k < BallBox::kTries; ++k) {
        const auto found = over_ball(ball_, gradient, m);
        bool more = false;
        for (size_t l = 0; l < kLanes; ++l) {
            if (m[l] == 0) continue;
            const double size = ball_.ball->size;
            const double error = (sum.error[l] + m[l] * (found.reach[l] + size)) * sum.unit;
            const double value = sum.lower[l] + (found.value[l] + m[l] * (found.reach[l] - size)) -
                                 (error + m[l] * ball_.error + local_.tiny);
            if (std::isfinite(value) && !(best[l] >= value)) best[l] = value;
            m[l] =
                ball_.ball->squares ? ball_.next_multiplier(m[l], found.free[l], found.held[l]) : 0;
            more = more || m[l] != 0;
        }
        if (!more) return;
    }
}

// Better bounds with half-spaces, into `best`. Of each in turn the multiplier is the one with which
// the minimum over the box is largest: it lies where one of the coefficients becomes 0. Where one
// is 0 it is the half-space's own slope that tells where the minimum goes.
PLV_CLONES void DualDoubles::batch_where(const Cell& cell, const Lanes& sum, double* best) const {
    const uint32_t n = net_.net.input_size;
    const Vector none = {}, never = none + kInf;
    Vector c[kMostInputs], at[kMostInputs], bend[kMostInputs], error, constant;
    double lo[kMostInputs], hi[kMostInputs];
    std::memcpy(&error, sum.error, sizeof(error));
    std::memcpy(&constant, sum.lower, sizeof(constant));
    for (uint32_t i = 0; i < n; ++i) {
        std::memcpy(&c[i], &lanes_[i * kLanes], sizeof(c[i]));
        lo[i] = cell.box.lo[i].rounded;
        hi[i] = cell.box.hi[i].rounded;
    }
    for (const HalfSpace& one : where_) {
        Vector beyond = none + one.constant;
        for (uint32_t i = 0; i < n; ++i) {
            const double low = one.slope[i] * lo[i], high = one.slope[i] * hi[i];
            const double own = one.slope[i] > 0 ? low : high;
            beyond += c[i] > 0.0 ? none + low : c[i] < 0.0 ? none + high : none + own;
        }
        if (!is_any(beyond > one.size * kFlat)) continue;
        for (uint32_t i = 0; i < n; ++i) {
            const Vector zero = c[i] * -one.inverse[i];
            bend[i] = at[i] = zero > 0.0 ? zero : never;
        }
        Vector m = none;
        for (uint32_t round = 0; round < n; ++round) {
            Vector next = bend[0];
            for (uint32_t i = 1; i < n; ++i) next = bend[i] < next ? bend[i] : next;
            const Vector there = next < never ? beyond : -never;
            const Mask open = there > one.size * kFlat;
            if (!is_any(open)) break;
            m = open ? next : m;
            for (uint32_t i = 0; i < n; ++i) {
                const auto here = bend[i] <= next;
                const double drop = std::abs(one.slope[i]) * (hi[i] - lo[i]);
                beyond -= here ? none + drop : none;
                bend[i] = here ? never : bend[i];
            }
        }
        m = m > BallBox::kLeast ? m : none;
        m = m < BallBox::kMost ? m : none;
        for (uint32_t i = 0; i < n; ++i) c[i] = at[i] == m ? none : c[i] + m * one.slope[i];
        constant += m * one.constant;
        error += m * one.size;
    }
    for (uint32_t i = 0; i < n; ++i) constant += c[i] > 0.0 ? c[i] * lo[i] : c[i] * hi[i];
    const double unit = sum.unit + 8 * static_cast<double>(where_.size()) * kHalfUlp;
    for (size_t l = 0; l < kLanes; ++l) {
        const double value = constant[l] - (error[l] * unit + local_.tiny);
        if (std::isfinite(value) && !(best[l] >= value)) best[l] = value;
    }
}

double DualDoubles::bound_exactly(const Cell& cell, uint32_t nodes, uint32_t entry, double sign) {
    ++exact_rows_;
    exact_.clear();
    exact_.add_term(entry, Int(sign > 0 ? 1 : -1));
    if (!exact_.best(cell, lo_.data(), hi_.data(), nodes, errors())) return -kInf;
    return round_down(exact_.value().num, exact_.value().den);
}

// Magnitudes on a cell, from its bounds. They are rounded sums; see dual_doubles.hpp.
void DualDoubles::measure(const Cell& cell) {
    for (uint32_t i = 0; i < net_.net.input_size; ++i)
        local_.a[i] = std::max(std::abs(cell.box.lo[i].rounded), std::abs(cell.box.hi[i].rounded));
    double sum = 0;
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        measure_node(cell, cell.lo.data(), cell.hi.data(), k);
        if (net_.net.nodes[k].is_linear())
            for (uint32_t i = 0; i < net_.net.nodes[k].size; ++i)
                sum += local_.r[net_.nodes[k].base + i];
    }
    for (const double size : local_.a) sum += size;
    local_.tiny = sum <= 1e150 ? kTiny : kInf;
    ball_.set(cell);
}

PLV_CLONES void DualDoubles::measure_node(const Cell& cell, const double* lo, const double* hi,
                                          uint32_t k) {
    double* a = local_.a.data();
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    if (!node.is_linear()) {
        for (uint32_t i = 0; i < node.size; ++i) measure_unit(cell, lo, hi, k, i);
        return;
    }
    double* __restrict r = &local_.r[extra.base];
    for (uint32_t i = 0; i < node.size; ++i)
        r[i] = std::abs(extra.bias[i]) + (extra.strange[node.row_of(i)] != 0 ? kInf : 0);
    if (extra.dense) {
        for (uint32_t j = 0; j < node.width; ++j) {
            const double* w = &extra.turned[size_t{j} * node.rows];
            const double size = a[extra.source + j];
            if (size == 0) continue;
            if (std::isfinite(size)) {
                for (uint32_t i = 0; i < node.rows; ++i) r[i] += std::abs(w[i]) * size;
            } else {
                for (uint32_t i = 0; i < node.rows; ++i)
                    if (w[i] != 0) r[i] = kInf;
            }
        }
    } else {
        for (uint32_t i = 0; i < node.size; ++i)
            extra.each_weight(node, i, [&](uint32_t j, double w) {
                const double size = a[extra.entry(j)];
                if (w != 0 && size != 0) r[i] += std::abs(w) * size;
            });
    }
    for (uint32_t i = 0; i < node.size; ++i) a[extra.base + i] = r[i] + errors_[extra.base + i];
}

// Of a unit's inputs, where their bounds say more, and of the unit.
void DualDoubles::measure_unit(const Cell& cell, const double* lo, const double* hi, uint32_t k,
                               uint32_t i) {
    const DualNode& extra = net_.nodes[k];
    const bool window = net_.net.nodes[k].kind == Kind::max;
    const uint32_t first = window ? extra.slot_start[i] : i;
    const uint32_t last = window ? extra.slot_start[i + 1] : i + 1;
    double most = 0;
    for (uint32_t s = first; s < last; ++s) {
        const uint32_t at = extra.first_input + s;
        double& size = local_.a[extra.slot_entry[s]];
        size = std::min(size, std::max(std::abs(lo[at]), std::abs(hi[at])));
        most = std::max(most, size);
    }
    double& out = local_.a[extra.base + i];
    out = most;
    if (window) return;
    const uint32_t at = extra.first_input + i;
    const double slope = std::abs(extra.slope[i]);
    const int32_t piece = cell.pieces[extra.first_unit + i];
    // slope z below 0, z above.
    const double left = piece == 1 ? 0 : piece == 0 ? most : std::min(most, std::max(-lo[at], 0.0));
    const double right = piece == 0 ? 0 : piece == 1 ? most : std::min(most, std::max(hi[at], 0.0));
    out = std::max(slope == 0 ? 0 : slope * left, right);
    if (extra.strange[i] != 0) out = kInfinity;
}

// Of the entries of a node those that are marked as reached, counted from its first; the marks are
// taken back.
std::span<const uint32_t> DualDoubles::take_reached(size_t base, uint32_t size) {
    uint8_t* marks = &reached_[base];
    uint32_t *taken = taken_.data(), i = 0;
    size_t count = 0;
    while (i < size) {
        const uint32_t end = std::min(i + 8, size);
        uint64_t eight = 1;
        if (end == i + 8) std::memcpy(&eight, marks + i, 8);
        if (eight == 0) {
            i = end;
            continue;
        }
        for (; i < end; ++i) {
            taken[count] = i;
            count += marks[i] != 0;
            marks[i] = 0;
        }
    }
    return {taken, count};
}

PLV_CLONES void DualDoubles::batch_linear(uint32_t k, Lanes& sum) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    // What is stored below cannot change these.
    double *const lanes = lanes_.data(), *const g = lanes + size_t{extra.base} * kLanes;
    const double *const r = &local_.r[extra.base], *const bias = extra.bias.data(),
                        *const off = &errors_[extra.base];
    Vector constant = {}, error = vector_at(sum.error);
    const std::span<const uint32_t> active = take_reached(extra.base, node.size);
    const auto take = [&](uint32_t i) __attribute__((always_inline)) {
        const Vector y = vector_at(g + i * kLanes), size = absolute(y);
        vector_at(g + i * kLanes) = Vector{};
        constant += y * bias[i] - size * off[i];
        error += size * (r[i] + off[i]);
        return y;
    };
    if (!extra.dense) {
        uint8_t* const reached = reached_.data();
        const uint8_t* const zero = zero_.data();
        const uint32_t* const gather = extra.gather.empty() ? nullptr : extra.gather.data();
        const size_t source = extra.source;
        for (const uint32_t i : active) {
            const Vector y = take(i);
            extra.each_weight(node, i, [=](uint32_t j, double w) {
                const size_t e = gather == nullptr ? source + j : gather[j];
                if (zero[e] != 0) return;  // as in batch_units
                vector_at(lanes + e * kLanes) += w * y;
                reached[e] = 1;
            });
        }
        vector_at(sum.error) = error;
        vector_at(sum.lower) += constant;
        return;
    }
    panel_.resize(active.size() * kLanes);
    double* const panel = panel_.data();
    for (size_t a = 0; a < active.size(); ++a) vector_at(panel + a * kLanes) = take(active[a]);
    vector_at(sum.error) = error;
    vector_at(sum.lower) += constant;
    live_.clear();
    for (uint32_t j = 0; j < node.width; ++j)
        if (zero_[extra.source + j] == 0) live_.push_back(extra.source + j);
    const double* turned = extra.turned.data();
    sum_columns(
        live_.size(), active.data(), active.size(), panel,
        [&](size_t c) { return turned + size_t{live_[c] - extra.source} * node.rows; },
        [&](size_t c, const Vector& total) {
            vector_at(&lanes_[live_[c] * kLanes]) += total;
            reached_[live_[c]] = 1;
        });
}

PLV_CLONES void DualDoubles::batch_units(uint32_t k, Lanes& sum) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    // What is stored below cannot change these.
    double* const lanes = lanes_.data();
    uint8_t* const reached = reached_.data();
    const double* const sizes = local_.a.data();
    const double *const slope = extra.slope.data(), *const above_of = &above_[extra.first_input],
                        *const below_of = &below_[extra.first_input],
                        *const left_of = &left_[extra.first_input],
                        *const right_of = &right_[extra.first_input];
    const uint32_t *const entry = extra.slot_entry.data(), base = extra.base;
    const uint8_t *const held = &held_[base], *const zero = &zero_[base];
    Vector term = {}, error = {};
    for (const uint32_t i : take_reached(base, node.size)) {
        double* g = lanes + size_t{base + i} * kLanes;
        const uint32_t e = entry[i];
        double* to = lanes + size_t{e} * kLanes;
        const double s = slope[i], out = sizes[base + i], in = sizes[e];
        const double above = above_of[i], below = below_of[i];
        const Vector x = vector_at(g), none = {};
        if (held[i] != 0) {
            error += absolute(x) * out;
            continue;
        }
        vector_at(g) = none;
        if (zero[i] != 0) continue;  // a = 0 and h = 0
        reached[e] = 1;
        if (std::isnan(above + below)) {  // no line on one side of the graph
            for (size_t l = 0; l < kLanes; ++l) {
                if (x[l] == 0) continue;
                const double h = x[l] * (x[l] > 0 ? below : above);
                sum.error[l] += std::abs(x[l]) * out + std::abs(h) * in;
                to[l] += h;
            }
            continue;
        }
        const Vector h = (x > 0.0 ? x : none) * below + (x < 0.0 ? x : none) * above;
        const Vector a = (x - h) * right_of[i], b = (s * x - h) * left_of[i];
        const Vector low = a < b ? a : b;
        // What is undefined here is so in the error, too.
        term += low < 0.0 ? low : none;
        error += absolute(x) * out + absolute(h) * in;
        vector_at(to) += h;
    }
    vector_at(sum.error) += error;
    vector_at(sum.lower) += term;
}

void DualDoubles::batch_windows(const Cell& cell, uint32_t k, Lanes& sum) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    double term[kLanes] = {};
    for (const uint32_t w : take_reached(extra.base, node.size)) {
        double* g = &lanes_[(extra.base + w) * kLanes];
        const Chosen line = choose(cell, k, w);
        const uint32_t first = extra.slot_start[w];
        const uint32_t low = extra.slot_entry[first + line.low];
        const uint32_t high = extra.slot_entry[first + line.high];
        const double lo = lo_[extra.first_input + first + line.high];
        const double hi = hi_[extra.first_input + first + line.high];
        for (size_t l = 0; l < kLanes; ++l) {
            if (g[l] == 0) continue;
            sum.error[l] += std::abs(g[l]) * local_.a[extra.base + w];
            const double h = g[l] > 0 ? g[l] : g[l] * line.slope;
            const uint32_t e = g[l] > 0 ? low : high;
            if (h != 0) {
                sum.error[l] += std::abs(h) * local_.a[e];
                lanes_[e * kLanes + l] += h;
                reached_[e] = 1;
            }
            // Convex in the slot, so that the maximum lies at an end.
            if (g[l] < 0)
                term[l] +=
                    h == 0 ? g[l] * hi : std::min(g[l] * line.from - h * lo, (g[l] - h) * hi);
        }
        std::fill_n(g, kLanes, 0.0);
    }
    for (size_t l = 0; l < kLanes; ++l) sum.lower[l] += term[l];
}

DualDoubles::Chosen DualDoubles::choose(const Cell& cell, uint32_t k, uint32_t w) const {
    const DualNode& extra = net_.nodes[k];
    const uint32_t first = extra.slot_start[w], n = extra.slot_start[w + 1] - first;
    const double *lo = &lo_[extra.first_input + first], *hi = &hi_[extra.first_input + first];
    if (const int32_t piece = cell.pieces[extra.first_unit + w]; piece >= 0) {
        const auto p = static_cast<uint32_t>(piece);
        return {p, p, 1, lo[p]};
    }
    const Line line = default_line(lo, hi, n);
    const double l = lo[line.high], u = hi[line.high];
    const bool finite = std::isfinite(l) && std::isfinite(u);
    const double slope = !finite ? 0 : line.from > l ? (u - line.from) / (u - l) : 1;
    return {line.low, line.high, slope, line.from};
}

}  // namespace plv::check
