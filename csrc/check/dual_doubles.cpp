#include "check/dual_doubles.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kHalfUlp = 0x1p-53;

// sum |a_i| b_i in four chains, which a compiler may put side by side.
double dot_abs(const double* a, const double* b, size_t n) {
    double sum[4] = {};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t l = 0; l < 4; ++l) sum[l] += std::abs(a[i + l]) * b[i + l];
    for (; i < n; ++i) sum[0] += std::abs(a[i]) * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

double dot(const double* a, const double* b, size_t n) {
    double sum[4] = {};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t l = 0; l < 4; ++l) sum[l] += a[i + l] * b[i + l];
    for (; i < n; ++i) sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// The smaller one; undefined if one of them is.
double least(double a, double b) { return a < b ? a : b < a ? b : a + 0 * b; }

// The largest e up to 0 such that all numbers are multiples of 2^e; -2000 where one is infinite.
int grid(const double* x, size_t n, int e) {
    for (size_t i = 0; i < n; ++i) {
        if (x[i] == 0) continue;
        if (!std::isfinite(x[i])) return -2000;
        const auto bits = std::bit_cast<uint64_t>(x[i]);
        const int exponent = static_cast<int>(bits >> 52 & 2047);
        const uint64_t mantissa =
            (bits & ((uint64_t{1} << 52) - 1)) | static_cast<uint64_t>(exponent != 0) << 52;
        e = std::min(e, std::max(exponent, 1) - 1075 + std::countr_zero(mantissa));
    }
    return e;
}

// The minimum of g max z - sum h z over a finite box.
double free_window(double g, const double* h, const double* lo, const double* hi, uint32_t n) {
    double out = kInf;
    if (g < 0) {
        for (uint32_t i = 0; i < n; ++i) {
            double value = 0;
            for (uint32_t s = 0; s < n; ++s) {
                const double c = (s == i ? g : 0) - h[s];
                value += c * (c > 0 ? lo[s] : hi[s]);
            }
            out = least(out, value);
        }
        return out;
    }
    double low = -kInf;
    for (uint32_t s = 0; s < n; ++s) low = std::max(low, lo[s]);
    for (uint32_t i = 0; i <= n; ++i) {
        const double t = i == n ? low : hi[i];
        if (i < n && t <= low) continue;
        double value = g * t;
        for (uint32_t s = 0; s < n; ++s)
            value -= h[s] <= 0 ? h[s] * lo[s] : h[s] * std::min(hi[s], t);
        out = least(out, value);
    }
    return out;
}

using Listed = std::vector<Envelope>::const_iterator;

// The first one from a unit on.
Listed first_envelope(const Given& given, uint32_t unit) {
    return std::lower_bound(given.envelopes.begin(), given.envelopes.end(), unit,
                            [](const Envelope& e, uint32_t at) { return e.unit < at; });
}

double times(double c, double end) { return c == 0 ? 0 : c * end; }

}  // namespace

DualDoubles::DualDoubles(const DualNet& net, std::function<void()> tick)
    : net_(net), tick_(std::move(tick)), exact_(net, tick_), unit_(net.terms * kHalfUlp) {
    local_.a.assign(net.entries(), 0);
    local_.r.assign(net.entries(), 0);
    for (auto* v : {&lo_, &hi_, &above_, &below_, &left_, &right_, &v_, &h_})
        v->assign(net.inputs, 0);
    for (auto* v : {&entry_lo_, &entry_hi_, &g_, &errors_}) v->assign(net.entries(), 0);
    zero_.assign(net.entries(), 0);
    held_.assign(net.entries(), 0);
    for (auto* v : {&passed_, &row_}) v->assign(net.net.input_size, 0);
    seen_.assign(net.net.input_size, 0);
    if (net.net.input_size > kMostInputs || net.has_windows || net.rounds) return;
    for (uint32_t k = 0; k < net.nodes.size(); ++k) {
        const Node& node = net.net.nodes[k];
        const DualNode& extra = net.nodes[k];
        const auto count = [&](uint32_t, double) { ++weights_; };
        if (extra.dense)
            weights_ += size_t{node.size} * node.width;
        else if (node.is_linear())
            for (uint32_t i = 0; i < node.size; ++i) extra.each_weight(node, i, count);
    }
}

// ---------------------------------------------------------------------------------- intervals

bool DualDoubles::propagate(const Cell& cell) {
    lo_ = cell.lo;
    hi_ = cell.hi;
    for (uint32_t i = 0; i < net_.net.input_size; ++i) {
        entry_lo_[i] = cell.box.lo[i].rounded;
        entry_hi_[i] = cell.box.hi[i].rounded;
    }
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        const Node& node = net_.net.nodes[k];
        if (node.is_linear()) {
            linear(k);
            if (net_.rounds) widen(k);
        } else if (!(node.kind == Kind::units ? units(cell, k) : windows(cell, k))) {
            return false;
        }
    }
    return true;
}

void DualDoubles::linear(uint32_t k) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    double* __restrict lo = &entry_lo_[extra.base];
    double* __restrict hi = &entry_hi_[extra.base];
    sizes_.resize(node.size);
    double* __restrict size = sizes_.data();
    for (uint32_t i = 0; i < node.size; ++i) {
        lo[i] = hi[i] = extra.bias[i];
        size[i] = std::abs(lo[i]) + (extra.strange[node.row_of(i)] != 0 ? kInf : 0);
    }
    if (extra.dense) {
        for (uint32_t j = 0; j < node.width; ++j) {
            const double l = entry_lo_[extra.source + j], u = entry_hi_[extra.source + j];
            const double* w = &extra.turned[size_t{j} * node.rows];
            if (std::isfinite(l) && std::isfinite(u)) {
                for (uint32_t r = 0; r < node.rows; ++r) {
                    const double a = w[r] * l, b = w[r] * u;
                    const double small = a < b ? a : b, large = a < b ? b : a;
                    lo[r] += small;
                    hi[r] += large;
                    size[r] +=
                        std::abs(small) > std::abs(large) ? std::abs(small) : std::abs(large);
                }
                continue;
            }
            for (uint32_t r = 0; r < node.rows; ++r) {
                if (w[r] == 0) continue;
                lo[r] += w[r] * (w[r] > 0 ? l : u);
                hi[r] += w[r] * (w[r] > 0 ? u : l);
                size[r] = kInf;
            }
        }
    } else {
        for (uint32_t i = 0; i < node.size; ++i) {
            double least = lo[i], most = hi[i], sum = size[i];
            extra.each_weight(node, i, [&](uint32_t j, double w) {
                if (w == 0) return;
                const uint32_t e = extra.entry(j);
                least += w * (w > 0 ? entry_lo_[e] : entry_hi_[e]);
                most += w * (w > 0 ? entry_hi_[e] : entry_lo_[e]);
                sum += std::abs(w) * std::max(std::abs(entry_lo_[e]), std::abs(entry_hi_[e]));
            });
            lo[i] = least;
            hi[i] = most;
            size[i] = sum;
        }
    }
    // All ends are multiples of 2^step, so that the terms of a row are multiples of 2^(step -
    // shift). While they and their sums stay below 2^53 of these, nothing is rounded.
    int step = 0;
    for (const auto* ends : {&entry_lo_, &entry_hi_}) {
        if (extra.gather.empty()) step = grid(&(*ends)[extra.source], node.joined, step);
        for (const uint32_t e : extra.gather) step = grid(&(*ends)[e], 1, step);
    }
    const double relative = (node.width + 4) * 2 * kHalfUlp;
    for (uint32_t i = 0; i < node.size; ++i) {
        const uint32_t r = node.row_of(i);
        const auto shift = static_cast<int>(node.row_den[r].shift);
        if (extra.exact[r] != 0 && step - shift > -1000 &&
            size[i] < std::ldexp(1.0, 53 + step - shift))
            continue;
        // An infinite end leaves the other one as it is only in exact arithmetic.
        const double error = relative * size[i] + 1e-300;
        const bool unclear = !(std::abs(lo[i]) > error && std::abs(hi[i]) > error) ||
                             !(error < kInf) || !std::isfinite(lo[i]) || !std::isfinite(hi[i]);
        if (unclear) {
            exact_end(k, i, false);
            exact_end(k, i, true);
            continue;
        }
        lo[i] = std::nextafter(lo[i] - error, -kInf);
        hi[i] = std::nextafter(hi[i] + error, kInf);
    }
}

// Finds the errors of a linear node as executed, and widens its intervals.
void DualDoubles::widen(uint32_t k) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    const double relative = (node.width + 4) * 2 * kHalfUlp;
    for (uint32_t i = 0; i < node.size; ++i) {
        const double size = sizes_[i];
        const double sum = size + relative * size + 1e-300;
        double error = 0;
        if (extra.relative > 0 || extra.absolute[i] > 0)
            error = (extra.relative * sum + extra.absolute[i]) * (1 + 0x1p-40);
        if (!(sum + error <= extra.limit)) error = kInf;
        errors_[extra.base + i] = error;
        if (error == 0) continue;
        double &lo = entry_lo_[extra.base + i], &hi = entry_hi_[extra.base + i];
        lo = std::nextafter(lo - error, -kInf);
        hi = std::nextafter(hi + error, kInf);
    }
}

bool DualDoubles::errors_are_finite() const {
    return std::all_of(errors_.begin(), errors_.end(), [](double e) { return e < kInf; });
}

void DualDoubles::exact_end(uint32_t k, uint32_t i, bool upper) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    ++exact_rows_;
    Sum sum;
    bool infinite = false;
    sum.add(node.entries.at(node.bias_of(i)), Scale{});
    node.each_term(i, [&](uint32_t j, size_t at) {
        if (node.entries.is_zero(at)) return;
        const Int c = node.entries.at(at);
        const uint32_t e = extra.entry(j);
        const double end = (c.sign() > 0) == upper ? entry_hi_[e] : entry_lo_[e];
        if (std::isfinite(end))
            sum.add_double(c, end, Scale{});
        else
            infinite = true;
    });
    double& to = (upper ? entry_hi_ : entry_lo_)[extra.base + i];
    if (infinite) {
        to = upper ? kInf : -kInf;
        return;
    }
    const Scale& row = node.row_den[node.row_of(i)];
    const Scale den{sum.den.shift + row.shift, row.odd};
    to = upper ? round_up(sum.num, den) : round_down(sum.num, den);
}

bool DualDoubles::units(const Cell& cell, uint32_t k) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    for (uint32_t i = 0; i < node.size; ++i) {
        const uint32_t at = extra.first_input + i, e = extra.slot_entry[i];
        const double lo = lo_[at] = std::max(lo_[at], entry_lo_[e]);
        const double hi = hi_[at] = std::min(hi_[at], entry_hi_[e]);
        if (lo > hi) return false;
        const int state = state_of(cell.pieces[extra.first_unit + i], lo, hi);
        const auto [out_lo, out_hi] = unit_range(node, i, state, lo, hi);
        entry_lo_[extra.base + i] = out_lo;
        entry_hi_[extra.base + i] = out_hi;
    }
    return true;
}

bool DualDoubles::windows(const Cell& cell, uint32_t k) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    for (uint32_t w = 0; w < node.size; ++w) {
        double lo = -kInf, hi = -kInf;
        for (uint32_t s = extra.slot_start[w]; s < extra.slot_start[w + 1]; ++s) {
            const uint32_t at = extra.first_input + s, e = extra.slot_entry[s];
            lo_[at] = std::max(lo_[at], entry_lo_[e]);
            hi_[at] = std::min(hi_[at], entry_hi_[e]);
            if (lo_[at] > hi_[at]) return false;
            lo = std::max(lo, lo_[at]);
            hi = std::max(hi, hi_[at]);
        }
        const int32_t piece = cell.pieces[extra.first_unit + w];
        if (piece >= 0)
            hi = hi_[extra.first_input + extra.slot_start[w] + static_cast<uint32_t>(piece)];
        if (lo > hi) return false;
        entry_lo_[extra.base + w] = lo;
        entry_hi_[extra.base + w] = hi;
    }
    return true;
}

// ------------------------------------------------------------------------------- substitution

// The default lines of a node's units for the bounds in lo_ and hi_.
void DualDoubles::relax(const Cell& cell, uint32_t k) {
    const Node& node = net_.net.nodes[k];
    if (node.kind == Kind::max) return;
    for (uint32_t i = 0; i < node.size; ++i) relax_unit(cell, k, i);
}

void DualDoubles::relax_unit(const Cell& cell, uint32_t k, uint32_t i) {
    const DualNode& extra = net_.nodes[k];
    const uint32_t at = extra.first_input + i;
    const double lo = lo_[at], hi = hi_[at], s = extra.slope[i];
    const int state = state_of(cell.pieces[extra.first_unit + i], lo, hi);
    left_[at] = right_[at] = 0;
    zero_[extra.base + i] = 0;
    if (state >= 0) {
        above_[at] = below_[at] = state == 1 ? 1.0 : s;
        zero_[extra.base + i] = state == 0 && extra.kind[i] == DualNode::kFlat;
        return;
    }
    const double line = hi > kTie * -lo ? 1.0 : s;
    const double chord = std::isfinite(lo) && std::isfinite(hi) ? (hi - s * lo) / (hi - lo) : kNaN;
    // `below_` serves gradients > 0, for which lines below the graph are wanted.
    const bool convex = extra.kind[i] != DualNode::kConcave;
    below_[at] = convex ? line : chord;
    above_[at] = convex ? chord : line;
    if (std::isfinite(lo) && std::isfinite(hi)) {
        left_[at] = lo;
        right_[at] = hi;
    }
}

// From the gradients in g_; `start.error` is the sum of magnitudes of what is there.
DualDoubles::Value DualDoubles::pull(const Cell& cell, const Magnitudes& size, Value start,
                                     double around, const Given* given) {
    Value sum = start;
    for (size_t at = net_.nodes.size(); at-- > 0;) {
        const auto k = static_cast<uint32_t>(at);
        const Node& node = net_.net.nodes[k];
        if (node.is_linear()) {
            pull_linear(k, size, sum);
        } else if (node.kind == Kind::max) {
            auto envelope =
                given != nullptr ? first_envelope(*given, net_.nodes[k].first_unit) : Listed{};
            for (uint32_t w = 0; w < node.size; ++w) {
                if (given != nullptr && envelope != given->envelopes.end() &&
                    envelope->unit == net_.nodes[k].first_unit + w)
                    pull_envelope(cell, *envelope++, size, sum);
                else
                    pull_window(cell, k, w, given != nullptr, size, sum);
            }
        } else if (given != nullptr) {
            pull_given(cell, k, *given, size, sum);
        } else {
            pull_units(k, size, sum);
        }
    }
    const uint32_t n = net_.net.input_size;
    double inputs = 0;
    for (uint32_t i = 0; i < n && around == 0; ++i) {
        const double c = g_[i];
        if (c == 0) continue;
        inputs += c * (c > 0 ? cell.box.lo[i].rounded : cell.box.hi[i].rounded);
    }
    for (uint32_t i = 0; i < n; ++i)
        if (g_[i] != 0) sum.error += std::abs(g_[i]) * size.a[i];
    if (around != 0) {
        const double* g = g_.data();
        const auto found = over_ball(ball_, [&](size_t i) { return g[i]; }, around);
        inputs = found.value + around * (found.reach - ball_.ball->size);
        sum.error += around * (found.reach + ball_.ball->size);
    }
    sum.lower += inputs;
    // An envelope adds to the sum, and to gradients of inputs, one by one.
    const double listed = given != nullptr ? static_cast<double>(given->envelopes.size()) : 0;
    sum.error = sum.error * (unit_ + 2 * listed * kHalfUlp) + size.tiny;
    if (around != 0) sum.error += around * ball_.error;
    return sum;
}

void DualDoubles::pull_linear(uint32_t k, const Magnitudes& size, Value& sum) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    const double* g = &g_[extra.base];
    active_.clear();
    for (uint32_t i = 0; i < node.size; ++i)
        if (g[i] != 0) active_.push_back(i);
    if (active_.empty()) return;
    if (!extra.dense) {
        double constant = 0, error = 0;
        for (const uint32_t i : active_) {
            const double lost = std::abs(g[i]) * errors_[extra.base + i];
            constant += g[i] * extra.bias[i] - lost;
            error += std::abs(g[i]) * size.r[extra.base + i] + lost;
            extra.each_weight(node, i,
                              [&](uint32_t j, double w) { g_[extra.entry(j)] += g[i] * w; });
        }
        sum.lower += constant;
        sum.error += error;
        return;
    }
    const size_t width = size_t{node.width} + 1;
    sum.lower += dot(g, extra.bias.data(), node.size);
    if (net_.rounds) {
        const double lost = dot_abs(g, &errors_[extra.base], node.size);
        sum.lower -= lost;
        sum.error += lost;
    }
    if (size.tiny < kInf) {
        sum.error += dot_abs(g, &size.r[extra.base], node.size);
    } else {
        for (const uint32_t i : active_) sum.error += std::abs(g[i]) * size.r[extra.base + i];
    }
    double* __restrict to = &g_[extra.source];
    size_t a = 0;
    for (; a + 4 <= active_.size(); a += 4) {
        const double* w[4];
        double y[4];
        for (size_t l = 0; l < 4; ++l) {
            w[l] = &extra.weight[active_[a + l] * width];
            y[l] = g[active_[a + l]];
        }
        const double *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
        const double y0 = y[0], y1 = y[1], y2 = y[2], y3 = y[3];
        for (uint32_t j = 0; j < node.width; ++j)
            to[j] += (y0 * w0[j] + y1 * w1[j]) + (y2 * w2[j] + y3 * w3[j]);
    }
    for (; a < active_.size(); ++a) {
        const double* w0 = &extra.weight[active_[a] * width];
        const double y0 = g[active_[a]];
        for (uint32_t j = 0; j < node.width; ++j) to[j] += y0 * w0[j];
    }
}

// With default slopes, which `relax` found.
void DualDoubles::pull_units(uint32_t k, const Magnitudes& size, Value& sum) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    const size_t n = node.size;
    const double* g = &g_[extra.base];
    const double *above = &above_[extra.first_input], *below = &below_[extra.first_input];
    const double *left = &left_[extra.first_input], *right = &right_[extra.first_input];
    const double* s = extra.slope.data();
    double* __restrict h = h_.data();
    double* __restrict to = v_.data();
    for (size_t i = 0; i < n; ++i) {
        const double slope = g[i] > 0 ? below[i] : above[i];
        const double y = g[i] * slope;
        h[i] = g[i] == 0 ? 0.0 : y;
        const double a = (g[i] - h[i]) * right[i], b = (s[i] * g[i] - h[i]) * left[i];
        const double low = a < b ? a : b;
        to[i] = low < 0 ? low : 0.0;
    }
    double term = 0, error = 0;
    for (size_t i = 0; i < n; ++i) term += to[i];
    if (size.tiny < kInf) {
        error = dot_abs(g, &size.a[extra.base], n);
    } else {
        for (size_t i = 0; i < n; ++i)
            if (g[i] != 0) error += std::abs(g[i]) * size.a[extra.base + i];
    }
    for (size_t i = 0; i < n; ++i) {
        if (g[i] == 0) continue;
        const uint32_t e = extra.slot_entry[i];
        g_[e] += h[i];
        error += std::abs(h[i]) * size.a[e];
        // A chord's slope is rounded with an absolute error, here and in the definition.
        if (left[i] != 0) error += std::abs(g[i]) * size.a[e];
    }
    sum.lower += term;
    sum.error += error;
}

// With the multipliers in v_.
void DualDoubles::pull_given(const Cell& cell, uint32_t k, const Given& given,
                             const Magnitudes& size, Value& sum) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    const auto under = [](const Envelope& e, uint32_t at) { return e.unit < at; };
    auto envelope =
        std::lower_bound(given.envelopes.begin(), given.envelopes.end(), extra.first_unit, under);
    double term = 0, error = 0;
    for (uint32_t i = 0; i < node.size; ++i) {
        const uint32_t at = extra.first_input + i, e = extra.slot_entry[i];
        if (envelope != given.envelopes.end() && envelope->unit == extra.first_unit + i) {
            pull_envelope(cell, *envelope++, size, sum);
            continue;
        }
        const double g = g_[extra.base + i], v = v_[at];
        if (g == 0 && v == 0) continue;
        const double lo = cell.lo[at], hi = cell.hi[at], s = extra.slope[i];
        const int state = state_of(cell.pieces[extra.first_unit + i], lo, hi);
        // Of a unit that is not fixed the multiplier itself is listed, whatever is known.
        const bool whole = cell.pieces[extra.first_unit + i] < 0 && v != 0;
        double h = v;
        if (state == 1) {
            const double w = whole ? g - v : v;
            h = whole ? v : g - v;
            term += times(w, w > 0 ? lo : hi);
        } else if (state == 0) {
            const double w = whole ? v - s * g : v;
            h = whole ? v : s * g + v;
            term += times(-w, w < 0 ? lo : hi);
        } else if (std::isfinite(lo) && std::isfinite(hi)) {
            term += least(0, least((g - h) * hi, (s * g - h) * lo));
        } else {
            error = kInf;
        }
        if (g != 0) error += std::abs(g) * size.a[extra.base + i] * (1 + std::abs(s));
        if (v != 0) error += std::abs(v) * size.a[e];
        if (h != 0) {
            error += std::abs(h) * size.a[e];
            g_[e] += h;
        }
    }
    sum.lower += term;
    sum.error += error;
}

// The least of the pieces' minima, where they read the input alone. What is passed on are the
// numbers that the gradients get: no more is rounded than in other sums of these terms.
void DualDoubles::pull_envelope(const Cell& cell, const Envelope& envelope, const Magnitudes& size,
                                Value& sum) {
    const uint32_t k = net_.node_of[envelope.unit], n = net_.net.input_size;
    const DualNode& extra = net_.nodes[k];
    const uint32_t own = extra.base + envelope.unit - extra.first_unit;
    const double g = g_[own];
    if (g == 0) return;
    const std::vector<Piece> pieces = pieces_of(net_, cell, envelope.unit);
    const auto reads_input = [&](uint32_t entry) {
        const uint32_t tensor = net_.tensor_of(entry);
        return tensor > 0 && net_.net.nodes[tensor - 1].is_linear() &&
               net_.nodes[tensor - 1].reads_input_only;
    };
    for (const Piece& piece : pieces)
        if (!reads_input(piece.entry)) sum.error = kInf;
    if (pieces.empty() || sum.error == kInf) return;
    // Of an input these are 0 unless it is listed as read.
    std::vector<uint32_t>& read = active_;
    read.clear();
    const auto note = [&](uint32_t j) {
        if (seen_[j] == 0) read.push_back(j);
        seen_[j] = 1;
    };
    const auto each_term = [&](uint32_t entry, auto visit) {
        const uint32_t tensor = net_.tensor_of(entry);
        const DualNode& reads = net_.nodes[tensor - 1];
        net_.net.nodes[tensor - 1].each_term(
            entry - net_.base[tensor], [&](uint32_t j, size_t at) { visit(j, reads.weight[at]); });
    };
    const double unit =
        std::ldexp(1.0, -static_cast<int>(std::min<uint64_t>(envelope.shift, 2000)));
    const bool window = net_.is_window(envelope.unit);
    for (const auto& [entry, value] : envelope.terms) {
        if (entry < n) {
            passed_[entry] = g * value.to_double() * unit;
            note(entry);
        } else if (window) {  // an output of a unit: what a unit's row does not read does not count
            sum.error = kInf;
        }
    }
    // A row may read an input more than once.
    if (!window) {  // of what the unit reads
        each_term(pieces[0].entry, [&](uint32_t j, double w) { row_[j] += passed_[j] * w; });
        passed_.swap(row_);
        for (const uint32_t j : read) row_[j] = 0;
    }
    double term = 0, error = std::abs(g) * size.a[own];
    for (const Piece& piece : pieces) {
        const bool first = &piece == pieces.data();
        double factor = g;
        if (!piece.active) {
            const DualNode& of = net_.nodes[net_.node_of[piece.of]];
            factor = g * of.slope[piece.of - of.first_unit];
        }
        const uint32_t tensor = net_.tensor_of(piece.entry);
        const double bias = net_.nodes[tensor - 1].bias[piece.entry - net_.base[tensor]];
        double value = factor * bias;
        each_term(piece.entry, [&](uint32_t j, double w) {
            note(j);
            row_[j] += w;
        });
        for (const uint32_t j : read) {
            const double c = factor * row_[j] - passed_[j];
            value += times(c, c > 0 ? cell.box.lo[j].rounded : cell.box.hi[j].rounded);
            row_[j] = 0;
        }
        if (net_.rounds) value -= std::abs(factor) * errors_[piece.entry];
        term = first ? value : least(term, value);
        error += std::abs(factor) * size.r[piece.entry] * 2;
        if (net_.rounds) error += std::abs(factor) * errors_[piece.entry];
    }
    for (const uint32_t j : read) {
        seen_[j] = 0;
        const double passed = std::exchange(passed_[j], 0.0);
        if (passed == 0) continue;
        g_[j] += passed;
        error += std::abs(passed) * size.a[j] * static_cast<double>(pieces.size());
    }
    sum.lower += term;
    sum.error += 4 * error;
}

void DualDoubles::pull_window(const Cell& cell, uint32_t k, uint32_t w, bool given,
                              const Magnitudes& size, Value& sum) {
    const DualNode& extra = net_.nodes[k];
    const uint32_t first = extra.slot_start[w], n = extra.slot_start[w + 1] - first;
    const uint32_t at = extra.first_input + first;
    const double g = g_[extra.base + w];
    const double *lo = given ? &cell.lo[at] : &lo_[at], *hi = given ? &cell.hi[at] : &hi_[at];
    double* v = &v_[at];
    const int32_t piece = cell.pieces[extra.first_unit + w];
    if (!given) {
        std::fill_n(v, n, 0.0);
        const Chosen line = choose(cell, k, w);
        if (piece < 0) v[g > 0 ? line.low : line.high] = g > 0 ? g : g * line.slope;
    }
    bool any = g != 0;
    for (uint32_t s = 0; s < n; ++s) any = any || v[s] != 0;
    if (!any) return;
    if (g != 0) sum.error += std::abs(g) * size.a[extra.base + w];
    double* h = &h_[at];
    double weight = std::abs(g), end = 0;
    for (uint32_t s = 0; s < n; ++s) {
        h[s] = v[s];
        weight += std::abs(v[s]);
        end = std::max({end, std::abs(lo[s]), std::abs(hi[s])});
        if (v[s] != 0) sum.error += std::abs(v[s]) * size.a[extra.slot_entry[first + s]];
    }
    // Where multipliers are given large terms of both signs may meet at an end of the bounds, which
    // may be beyond the magnitudes. (Infinite ones are seen to below.)
    if (given && end < kInf) sum.error += weight * end;
    double term = 0;
    if (piece >= 0) {
        const auto p = static_cast<uint32_t>(piece);
        h[p] = g - v[p];
        double low = -kInf;
        bool all_zero = true, finite = true;
        for (uint32_t s = 0; s < n; ++s) {
            low = std::max(low, lo[s]);
            all_zero = all_zero && v[s] == 0;
            finite = finite && std::isfinite(lo[s]) && std::isfinite(hi[s]);
        }
        if (!all_zero && !finite) {
            sum.error = kInf;
        } else if (!all_zero) {
            // Convex in t, so that the least of its values at the kinks is the minimum.
            const auto value = [&](double t) {
                double out = v[p] * t;
                for (uint32_t s = 0; s < n; ++s)
                    if (s != p) out -= v[s] <= 0 ? v[s] * lo[s] : v[s] * std::min(hi[s], t);
                return out;
            };
            term = least(value(low), value(hi[p]));
            for (uint32_t s = 0; s < n; ++s)
                if (s != p && low < hi[s] && hi[s] < hi[p]) term = least(term, value(hi[s]));
        }
    } else {
        term = free_window(g, v, lo, hi, n);
        for (uint32_t s = 0; s < n; ++s) {
            sum.error += std::abs(g) * size.a[extra.slot_entry[first + s]];
            if (!std::isfinite(lo[s]) || !std::isfinite(hi[s])) sum.error = kInf;
        }
    }
    for (uint32_t s = 0; s < n; ++s) {
        if (h[s] == 0) continue;
        const uint32_t e = extra.slot_entry[first + s];
        sum.error += std::abs(h[s]) * size.a[e];
        g_[e] += h[s];
    }
    sum.lower += term;
}

double DualDoubles::bound(const Cell& cell, uint32_t entry, double sign, uint64_t shift,
                          const Given& given) {
    measure(cell);
    if (!(local_.tiny < kInf) || shift > 900) return -kInf;
    std::fill(g_.begin(), g_.end(), 0.0);
    std::fill(v_.begin(), v_.end(), 0.0);
    g_[entry] = sign;
    for (const Multiplier& v : given.multipliers)
        v_[v.index] = std::ldexp(v.rounded, -static_cast<int>(shift));
    const Value value = pull(cell, local_, {0, local_.a[entry]}, 0, &given);
    const double least = value.lower - value.error;
    if (least < 0 && value.lower + value.error >= 0) return -kInf;  // the sign tells pieces
    return std::isfinite(least) ? std::nextafter(least, -kInf) : -kInf;
}

void DualDoubles::keep(const Cell& cell) {
    measure(cell);
    kept_ = local_;
    keeps_ = true;
}

bool DualDoubles::is_positive(const Cell& cell, const std::vector<DualRow>& rows,
                              const std::vector<Multiplier>& used, double around,
                              const Given* given) {
    if (around != 0 && !BallBox::usable(around)) return false;
    if (keeps_) {
        ball_.set(cell);
        if (is_positive(cell, rows, used, around, given, kept_)) return true;
    }
    measure(cell);
    return is_positive(cell, rows, used, around, given, local_);
}

bool DualDoubles::is_positive(const Cell& cell, const std::vector<DualRow>& rows,
                              const std::vector<Multiplier>& used, double around,
                              const Given* given, const Magnitudes& size) {
    if (!(size.tiny < kInf)) return false;
    std::fill(g_.begin(), g_.end(), 0.0);
    Value start{0, 0};
    for (const Multiplier& u : used) {
        const DualRow& row = rows[u.index];
        for (const DualRow::Term& term : row.terms) {
            const double c = u.rounded * term.rounded;
            g_[term.entry] += c;
            start.error += std::abs(c) * size.a[term.entry];
        }
        start.lower -= u.rounded * row.bound;
        start.error += std::abs(u.rounded * row.bound);
    }
    // Every row adds to these sums once more.
    start.error *= 1 + 4 * static_cast<double>(used.size()) * kHalfUlp / unit_;
    if (given != nullptr) {
        std::fill(v_.begin(), v_.end(), 0.0);
        for (const Multiplier& v : given->multipliers) v_[v.index] = v.rounded;
    } else {
        lo_ = cell.lo;
        hi_ = cell.hi;
        for (uint32_t k = 0; k < net_.nodes.size(); ++k)
            if (!net_.net.nodes[k].is_linear()) relax(cell, k);
    }
    const Value value = pull(cell, size, start, around, given);
    return std::isfinite(value.lower) && value.lower - value.error > 0;
}

}  // namespace plv::check
