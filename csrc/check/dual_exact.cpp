#include "check/dual_exact.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "check/dual_ball.hpp"

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr uint32_t kChordBits = 52;

Int product(const Scale& factor, Int value) {
    factor.apply(value);
    return value;
}

bool same(const Scale& a, const Scale& b) { return a.shift == b.shift && a.odd == b.odd; }

Scale times(const Scale& a, const Scale& b) {
    return {a.shift + b.shift, a.odd.is_one() ? b.odd : b.odd.is_one() ? a.odd : a.odd * b.odd};
}

bool less(const Sum& a, const Sum& b) {
    Sum difference = b;
    difference.add(-a.num, a.den);
    return difference.num.sign() > 0;
}

// floor(2^52 a / b).
Int floor_ratio(const Sum& top, const Sum& bottom) {
    const Int a = (top.num << bottom.den.shift) << kChordBits, b = bottom.num << top.den.shift;
    Int quotient, rest;
    Int::divmod(a, b, quotient, rest);
    if (rest.is_negative()) quotient -= Int(1);
    return quotient;
}

// floor(2^52 (u - s l) / (u - l)) for the slope s = num / 2^shift.
Int chord(const Int& num, uint32_t shift, double l, double u) {
    Sum top, bottom;
    top.add_double(Int(1), u, Scale{});
    top.add_double(-num, l, Scale{shift, Int(1)});
    bottom.add_double(Int(1), u, Scale{});
    bottom.add_double(Int(-1), l, Scale{});
    return floor_ratio(top, bottom);
}

// floor(2^52 (u - m) / (u - l)).
Int share(double m, double l, double u) {
    Sum top, bottom;
    top.add_double(Int(1), u, Scale{});
    top.add_double(Int(-1), m, Scale{});
    bottom.add_double(Int(1), u, Scale{});
    bottom.add_double(Int(-1), l, Scale{});
    return floor_ratio(top, bottom);
}

// What an output of a unit or window can be on a cell.
std::pair<double, double> output_range(const DualNet& net, const Cell& cell, uint32_t entry) {
    const uint32_t k = net.tensor_of(entry) - 1;
    const DualNode& extra = net.nodes[k];
    const uint32_t i = entry - extra.base;
    const int32_t piece = cell.pieces[extra.first_unit + i];
    if (net.net.nodes[k].kind == Kind::units) {
        const double lo = cell.lo[extra.first_input + i], hi = cell.hi[extra.first_input + i];
        return unit_range(net.net.nodes[k], i, state_of(piece, lo, hi), lo, hi);
    }
    const uint32_t first = extra.first_input + extra.slot_start[i];
    const uint32_t n = extra.slot_start[i + 1] - extra.slot_start[i];
    const double *lo = &cell.lo[first], *hi = &cell.hi[first];
    return {*std::max_element(lo, lo + n), piece < 0 ? *std::max_element(hi, hi + n) : hi[piece]};
}

}  // namespace

std::pair<double, double> unit_range(const Node& node, uint32_t i, int state, double lo,
                                     double hi) {
    if (state == 1) return {lo, hi};
    const uint32_t shift = node.slope_shift[i];
    const Int slope = node.slope_num.at(i);
    if (slope.is_zero()) return {0.0, state == 0 ? 0.0 : hi};
    // Slopes are rounded outwards; those of -1, 1, 2, ... are not rounded at all.
    const auto scaled = [&](double z, bool up) {
        if (!std::isfinite(z)) return slope.sign() > 0 ? z : -z;
        Sum value;
        value.add_double(slope, z, Scale{shift, Int(1)});
        return up ? round_up(value.num, value.den) : round_down(value.num, value.den);
    };
    const bool rises = slope.sign() > 0;
    if (state == 0) return {scaled(rises ? lo : hi, false), scaled(rises ? hi : lo, true)};
    return {rises ? scaled(lo, false) : 0.0, rises ? hi : std::max(hi, scaled(lo, true))};
}

std::vector<Piece> pieces_of(const DualNet& net, const Cell& cell, uint32_t unit) {
    std::vector<Piece> out;
    const uint32_t k = net.node_of[unit], i = unit - net.nodes[k].first_unit;
    const DualNode& extra = net.nodes[k];
    const int32_t own = cell.pieces[unit];
    if (!net.is_window(unit)) {
        if (own != 0) out.push_back({extra.slot_entry[i], true});
        if (own != 1) out.push_back({extra.slot_entry[i], false, unit});
        return out;
    }
    for (uint32_t s = extra.slot_start[i]; s < extra.slot_start[i + 1]; ++s) {
        if (own >= 0 && s != extra.slot_start[i] + static_cast<uint32_t>(own)) continue;
        const uint32_t entry = extra.slot_entry[s], tensor = net.tensor_of(entry);
        const Node* from = tensor == 0 ? nullptr : &net.net.nodes[tensor - 1];
        const uint32_t row = entry - net.base[tensor];
        const bool convex = from != nullptr && from->kind == Kind::units &&
                            !(Int(1) << from->slope_shift[row] < from->slope_num.at(row));
        if (!convex) {
            out.push_back({entry, true});
            continue;
        }
        const std::vector<Piece> inner =
            pieces_of(net, cell, net.nodes[tensor - 1].first_unit + row);
        out.insert(out.end(), inner.begin(), inner.end());
    }
    return out;
}

void Sum::add(Int x, const Scale& d) {
    if (x.is_zero()) return;
    if (!same(den, d)) {
        const Scale common = lcm(den, d);
        quotient(common, den).apply(num);
        quotient(common, d).apply(x);
        den = common;
    }
    num += x;
}

void Sum::add_double(const Int& c, double x, const Scale& d) {
    int e = 0;
    Int value = Int::from_double_scaled(x, e) * c;
    if (e >= 0)
        add(value << static_cast<size_t>(e), d);
    else
        add(std::move(value), Scale{d.shift + static_cast<uint64_t>(-e), d.odd});
}

DualExact::DualExact(const DualNet& net, std::function<void()> tick)
    : net_(net), tick_(std::move(tick)), grads_(net.nodes.size() + 1) {}

void DualExact::clear() {
    for (Gradient& g : grads_) {
        g.values.clear();
        g.den = {};
    }
    sum_ = {};
}

DualExact::Gradient& DualExact::of(uint32_t tensor) {
    Gradient& out = grads_[tensor];
    if (out.values.empty()) out.values.resize(net_.net.tensor_size(tensor));
    return out;
}

void DualExact::add_term(uint32_t entry, const Int& coefficient) {
    const uint32_t tensor = net_.tensor_of(entry);
    of(tensor).values[entry - net_.base[tensor]] += coefficient;
}

void DualExact::add_row(const DualRow& row, const Int& m) {
    for (const DualRow::Term& term : row.terms) add_term(term.entry, m * term.coefficient);
    sum_.add(-(m * row.bound_num), scale_of(row.bound_den));
}

// Adds a gradient of the joined sources to those of the tensors.
void DualExact::scatter(uint32_t k, const std::vector<Int>& back, const Scale& den) {
    size_t at = 0;
    for (const uint32_t source : net_.net.nodes[k].sources) {
        const size_t n = net_.net.tensor_size(source), from = at;
        at += n;
        bool any = false;
        for (size_t j = 0; j < n && !any; ++j) any = !back[from + j].is_zero();
        if (!any) continue;
        Gradient& g = of(source);
        const Scale common = lcm(g.den, den);
        const Scale old = quotient(common, g.den), more = quotient(common, den);
        for (size_t j = 0; j < n; ++j) {
            if (!old.is_one()) old.apply(g.values[j]);
            if (!back[from + j].is_zero()) g.values[j] += product(more, back[from + j]);
        }
        g.den = common;
    }
}

// False if there is no bound.
bool DualExact::pull_linear(uint32_t k, const double* errors) {
    const Node& node = net_.net.nodes[k];
    const Gradient& g = grads_[k + 1];
    if (g.values.empty()) return true;
    const Scale den = times(g.den, node.den);
    std::vector<Int> back(node.joined);
    Int bias;
    for (uint32_t i = 0; i < node.size; ++i) {
        if (g.values[i].is_zero()) continue;
        if ((i & 63) == 0) tick_();
        if (errors != nullptr) {
            const Int c = g.values[i].is_negative() ? -g.values[i] : g.values[i];
            if (!add_least(sum_, -c, -kInf, errors[net_.nodes[k].base + i], g.den)) return false;
        }
        const Int y = product(node.part[node.row_of(i)], g.values[i]);
        node.entries.add_mul(bias, y, node.bias_of(i));
        node.each_term(i, [&](uint32_t j, size_t at) { node.entries.add_mul(back[j], y, at); });
    }
    sum_.add(bias, den);
    scatter(k, back, den);
    return true;
}

// Adds the minimum of c z / den; false if there is none.
bool DualExact::add_least(Sum& to, const Int& c, double lo, double hi, const Scale& den) const {
    if (c.is_zero()) return true;
    const double end = c.sign() > 0 ? lo : hi;
    if (!std::isfinite(end)) return false;
    to.add_double(c, end, den);
    return true;
}

bool DualExact::pull_units(uint32_t k, const Cell& cell, const double* lo, const double* hi,
                           const Given* given, const double* errors) {
    const Node& node = net_.net.nodes[k];
    const DualNode& extra = net_.nodes[k];
    auto next = std::vector<Multiplier>::const_iterator{};
    auto end = next;
    auto envelope = std::vector<Envelope>::const_iterator{};
    auto last = envelope;
    if (given != nullptr) {
        const auto before = [](const Multiplier& m, uint32_t at) { return m.index < at; };
        const std::vector<Multiplier>& all = given->multipliers;
        next = std::lower_bound(all.begin(), all.end(), extra.first_input, before);
        const auto stop = extra.first_input + static_cast<uint32_t>(extra.slot_entry.size());
        end = std::lower_bound(next, all.end(), stop, before);
        const auto under = [](const Envelope& e, uint32_t at) { return e.unit < at; };
        last = given->envelopes.end();
        envelope = std::lower_bound(given->envelopes.begin(), last, extra.first_unit, under);
    }
    const Gradient& out = grads_[k + 1];
    if (out.values.empty() && next == end) return true;
    const uint64_t shift = node.slope_top + (given == nullptr ? kChordBits : 0);
    const Scale den{out.den.shift + shift, out.den.odd};
    std::vector<Int> back(node.joined), v;
    tick_();
    for (uint32_t i = 0; i < node.size; ++i) {
        const uint32_t first = node.kind == Kind::max ? extra.slot_start[i] : i;
        const uint32_t n = node.kind == Kind::max ? extra.slot_start[i + 1] - first : 1;
        const uint32_t at = extra.first_input + first;
        v.assign(n, Int());
        bool any = !out.values.empty() && !out.values[i].is_zero();
        for (; next != end && next->index < at + n; ++next) {
            v[next->index - at] = product(den, next->value);
            any = true;
        }
        if (!any) continue;
        Int g = out.values.empty() ? Int() : out.values[i] << shift;
        const int32_t piece = cell.pieces[extra.first_unit + i];
        while (envelope != last && envelope->unit < extra.first_unit + i) ++envelope;
        if (envelope != last && envelope->unit == extra.first_unit + i) {
            if (!pull_envelope(*envelope, cell, g, den, errors)) return false;
            continue;
        }
        if (node.kind == Kind::units) {
            const int state = state_of(piece, lo[at], hi[at]);
            if (!unit(state, piece >= 0, node, i, lo[at], hi[at],
                      given != nullptr ? &v[0] : nullptr, g, den))
                return false;
            back[i] += g;
            continue;
        }
        if (!window(piece, lo + at, hi + at, g, v, given != nullptr, den)) return false;
        uint32_t s = 0;
        for (uint32_t tap = 0; tap < node.taps; ++tap) {
            const int64_t place = node.slot(i, tap);
            if (place >= 0) back[static_cast<size_t>(place)] += v[s++];
        }
    }
    scatter(k, back, den);
    return true;
}

// Adds the unit's minimum and replaces g by h.
bool DualExact::unit(int state, bool fixed, const Node& node, uint32_t i, double lo, double hi,
                     const Int* v, Int& g, const Scale& den) {
    Int given = v != nullptr ? *v : Int();
    // Of a unit that is not fixed the multiplier itself is listed, whatever is known.
    const bool whole = !fixed && !given.is_zero();
    if (state == 1) {
        if (whole) given = g - given;
        g -= given;
        return add_least(sum_, given, lo, hi, den);
    }
    const Int num = node.slope_num.at(i);
    const uint32_t shift = node.slope_shift[i];
    // Below the denominator there is at least 2^shift, so the division is exact.
    const Int low = (g * num) >> shift;
    if (state == 0) {
        if (whole) given -= low;
        g = low + given;
        return add_least(sum_, -given, lo, hi, den);
    }
    Int h = given;
    if (v == nullptr) {
        const bool convex = num < Int(1) << shift;
        if ((g.sign() > 0) == convex)
            h = hi > kTie * -lo ? g : low;
        else if (!std::isfinite(lo) || !std::isfinite(hi))
            return false;
        else
            h = (g * chord(num, shift, lo, hi)) >> kChordBits;
    }
    Sum right, left;
    if (!add_least(right, g - h, 0.0, hi, den) || !add_least(left, low - h, lo, 0.0, den))
        return false;
    sum_.add(less(left, right) ? left : right);
    g = std::move(h);
    return true;
}

DualExact::Form DualExact::form_of(uint32_t entry, const double* errors) const {
    Form out;
    std::map<uint32_t, Sum, std::greater<>> open;  // what a node reads comes before its outputs
    open[entry].num = 1;
    while (!open.empty()) {
        const auto [e, c] = *open.begin();
        open.erase(open.begin());
        const uint32_t tensor = net_.tensor_of(e);
        if (tensor == 0 || !net_.net.nodes[tensor - 1].is_linear()) {
            if (!c.num.is_zero()) out.terms[e] = c;
            continue;
        }
        const Node& node = net_.net.nodes[tensor - 1];
        const uint32_t i = e - net_.base[tensor];
        if (errors != nullptr) {
            const Int size = c.num.is_negative() ? -c.num : c.num;
            out.bounded = add_least(out.error, size, errors[e], kInf, c.den) && out.bounded;
        }
        const Int y = product(node.part[node.row_of(i)], c.num);
        const Scale den = times(c.den, node.den);
        out.constant.add(y * node.entries.at(node.bias_of(i)), den);
        node.each_term(i, [&](uint32_t j, size_t at) {
            if (!node.entries.is_zero(at))
                open[net_.nodes[tensor - 1].entry(j)].add(y * node.entries.at(at), den);
        });
    }
    return out;
}

void DualExact::add_gradient(uint32_t entry, const Sum& value) {
    const uint32_t tensor = net_.tensor_of(entry);
    Gradient& g = of(tensor);
    if (!same(g.den, value.den)) {
        const Scale common = lcm(g.den, value.den), old = quotient(common, g.den);
        for (Int& x : g.values) old.apply(x);
        g.den = common;
    }
    g.values[entry - net_.base[tensor]] += product(quotient(g.den, value.den), value.num);
}

// The minimum of a piece times g / den, less what is passed on; false if there is none.
bool DualExact::least_piece(const Piece& piece, const std::map<uint32_t, Sum>& passed,
                            const Cell& cell, const Int& g, const Scale& den, const double* errors,
                            Sum& out) const {
    const Form form = form_of(piece.entry, errors);
    if (!form.bounded) return false;
    Sum y{g, den};
    if (!piece.active) {
        const uint32_t k = net_.node_of[piece.of], i = piece.of - net_.nodes[k].first_unit;
        y.num *= net_.net.nodes[k].slope_num.at(i);
        y.den.shift += net_.net.nodes[k].slope_shift[i];
    }
    out.add(y.num * form.constant.num, times(y.den, form.constant.den));
    out.add(-(y.num.is_negative() ? -y.num : y.num) * form.error.num, times(y.den, form.error.den));
    std::map<uint32_t, Sum> left;
    for (const auto& [entry, w] : form.terms) left[entry] = {y.num * w.num, times(y.den, w.den)};
    for (const auto& [entry, value] : passed) left[entry].add(-value.num, value.den);
    for (const auto& [entry, c] : left) {
        if (c.num.is_zero()) continue;
        if (net_.tensor_of(entry) != 0) {
            const auto [low, high] = output_range(net_, cell, entry);
            if (!add_least(out, c.num, low, high, c.den)) return false;
            continue;
        }
        const DualEnd& end = c.num.sign() > 0 ? cell.box.lo[entry] : cell.box.hi[entry];
        if (!end.finite) return false;
        out.add(c.num * end.num, times(c.den, scale_of(end.den)));
    }
    return true;
}

// Adds the least of the pieces' minima over what they read, less what is passed on, and passes
// that on. The gradient is g / den.
bool DualExact::pull_envelope(const Envelope& envelope, const Cell& cell, const Int& g,
                              const Scale& den, const double* errors) {
    std::map<uint32_t, Sum> passed;
    for (const auto& [entry, value] : envelope.terms) {
        Sum& one = passed[entry] = {g * value, den};
        one.den.shift += envelope.shift;
    }
    if (!net_.is_window(envelope.unit)) {
        // Shares are of what the unit reads.
        const uint32_t k = net_.node_of[envelope.unit];
        const DualNode& extra = net_.nodes[k];
        const Form form = form_of(extra.slot_entry[envelope.unit - extra.first_unit], errors);
        std::erase_if(passed, [&](const auto& one) { return !form.terms.contains(one.first); });
        for (auto& [entry, value] : passed) {
            const Sum& w = form.terms.at(entry);
            value = {value.num * w.num, times(value.den, w.den)};
        }
    }
    Sum best;
    bool any = false;
    for (const Piece& piece : pieces_of(net_, cell, envelope.unit)) {
        Sum sum;
        if (!least_piece(piece, passed, cell, g, den, errors, sum)) return false;
        if (!any || less(sum, best)) best = std::move(sum);
        any = true;
    }
    sum_.add(best);
    for (const auto& [entry, value] : passed) add_gradient(entry, value);
    return true;
}

// Adds the window's minimum; v becomes h.
bool DualExact::window(int32_t piece, const double* lo, const double* hi, const Int& g,
                       std::vector<Int>& v, bool given, const Scale& den) {
    const auto n = static_cast<uint32_t>(v.size());
    const double low = *std::max_element(lo, lo + n), top = *std::max_element(hi, hi + n);
    if (piece >= 0) {
        const auto p = static_cast<uint32_t>(piece);
        const Int c = v[p];
        if (given && !least_maximum(c, lo, hi, v, p, low, hi[p], den)) return false;
        v[p] = g - c;
        return true;
    }
    if (!given) {
        const Line line = default_line(lo, hi, n);
        if (g.sign() > 0)
            v[line.low] = g;
        else if (line.from == lo[line.high])
            v[line.high] = g;
        else if (std::isfinite(lo[line.high]) && std::isfinite(hi[line.high]))
            v[line.high] = (g * share(line.from, lo[line.high], hi[line.high])) >> kChordBits;
    }
    if (!g.is_negative()) return least_maximum(g, lo, hi, v, kNothing, low, top, den);
    Sum total, best;
    bool any = false;
    std::vector<Sum> gain(n);
    for (uint32_t s = 0; s < n; ++s) {
        Sum apart;
        if (!add_least(apart, -v[s], lo[s], hi[s], den)) return false;
        total.add(apart);
        if (!add_least(gain[s], g - v[s], lo[s], hi[s], den)) return false;
        gain[s].add(-apart.num, apart.den);
    }
    for (const Sum& sum : gain) {
        if (!any || less(sum, best)) best = sum;
        any = true;
    }
    sum_.add(total);
    sum_.add(best);
    return true;
}

// Adds the minimum of c t - sum v z for low <= t <= top and lo <= z <= min(hi, t).
bool DualExact::least_maximum(const Int& c, const double* lo, const double* hi,
                              const std::vector<Int>& v, uint32_t without, double low, double top,
                              const Scale& den) {
    Int below = c, above = c;  // the slopes far below and far above
    std::vector<double> kinks;
    const auto kink = [&](double t) {
        if (std::isfinite(t)) kinks.push_back(t);
    };
    kink(low);
    kink(top);
    for (uint32_t s = 0; s < v.size(); ++s) {
        if (s == without || v[s].is_zero()) continue;
        if (v[s].is_negative()) {
            if (!std::isfinite(lo[s])) return false;
            sum_.add_double(-v[s], lo[s], den);
            continue;
        }
        below -= v[s];
        if (hi[s] == kInf) above -= v[s];
        if (low < hi[s] && hi[s] < top) kink(hi[s]);
    }
    if ((low == -kInf && below.sign() > 0) || (top == kInf && above.is_negative())) return false;
    if (kinks.empty()) kinks.push_back(0);
    Sum best;
    bool any = false;
    for (const double t : kinks) {
        Sum value;
        value.add_double(c, t, den);
        for (uint32_t s = 0; s < v.size(); ++s)
            if (s != without && v[s].sign() > 0) value.add_double(-v[s], std::min(hi[s], t), den);
        if (!any || less(value, best)) best = std::move(value);
        any = true;
    }
    sum_.add(best);
    return true;
}

bool DualExact::least(const Cell& cell, const double* lo, const double* hi, uint32_t nodes,
                      const Given* given, const double* errors, const Int& around) {
    return pull_back(cell, lo, hi, nodes, given, errors) && add_inputs(sum_, cell, around, Scale{});
}

bool DualExact::best(const Cell& cell, const double* lo, const double* hi, uint32_t nodes,
                     const double* errors) {
    if (!pull_back(cell, lo, hi, nodes, nullptr, errors)) return false;
    Sum best;
    bool any = false;
    const auto consider = [&](const Int& m, const Scale& over) {
        Sum sum = sum_;
        if (!add_inputs(sum, cell, m, over)) return;
        if (!any || less(best, sum)) best = std::move(sum);
        any = true;
    };
    consider(Int(), Scale{});
    if (cell.ball != nullptr) {
        BallBox box;
        box.set(cell);
        std::vector<double> g(cell.box.lo.size());
        const Gradient& from = grads_[0];
        for (size_t i = 0; i < from.values.size(); ++i)
            g[i] =
                Int::ratio_scaled(from.values[i], from.den.odd, -static_cast<long>(from.den.shift));
        double m = box.first_multiplier(g.data(), 1);
        for (int k = 0; k < BallBox::kTries && m != 0; ++k) {
            int e = 0;
            const Int whole = Int::from_double_scaled(m, e);
            if (e >= 0)
                consider(whole << static_cast<size_t>(e), Scale{});
            else
                consider(whole, Scale{static_cast<uint64_t>(-e), Int(1)});
            const auto found = over_ball(box, [&](size_t i) { return g[i]; }, m);
            m = cell.ball->squares ? box.next_multiplier(m, found.free, found.held) : 0;
        }
    }
    sum_ = std::move(best);
    return any;
}

// What all nodes add, into sum_, and the gradient of the inputs; false if there is no bound.
bool DualExact::pull_back(const Cell& cell, const double* lo, const double* hi, uint32_t nodes,
                          const Given* given, const double* errors) {
    for (uint32_t k = nodes; k-- > 0;) {
        const bool bounded = net_.net.nodes[k].is_linear()
                                 ? pull_linear(k, errors)
                                 : pull_units(k, cell, lo, hi, given, errors);
        if (!bounded) return false;
        grads_[k + 1].values.clear();
    }
    return true;
}

// Adds the minimum over the box of the gradient times x, plus m / over times (phi(x) - size).
bool DualExact::add_inputs(Sum& to, const Cell& cell, const Int& m, const Scale& over) const {
    const Gradient& gradient = grads_[0];
    const bool around = !m.is_zero();
    if (gradient.values.empty() && !around) return true;
    const Int scale = over.value(), whole = gradient.den.value();
    const Int den = (m * whole) << 1;
    Int squares, zero;
    for (size_t i = 0; i < cell.box.lo.size(); ++i) {
        const Int& g = gradient.values.empty() ? zero : gradient.values[i];
        const DualEnd &lo = cell.box.lo[i], &hi = cell.box.hi[i];
        if (g.is_zero() && !around) continue;
        const DualEnd* end = g.sign() > 0 ? &lo : &hi;
        if (around) {
            const Int &num = cell.ball->num[i], &part = cell.ball->den[i];
            // Whether what the centre is moved by takes it to an end, or beyond.
            const bool l2 = cell.ball->squares;
            const Int step = l2 ? g * scale : Int();
            const auto gap = [&](const DualEnd& e) {  // (c - e) den part e.den - step part e.den
                return (num * e.den - e.num * part) * den - step * part * e.den;
            };
            const bool bends = l2 || Int::compare_abs(g * scale, m * whole) <= 0;
            if (bends && lo.finite && gap(lo).sign() <= 0) {
                end = &lo;
            } else if (bends && hi.finite && gap(hi).sign() >= 0) {
                end = &hi;
            } else if (bends) {
                to.add(g * num, times(gradient.den, scale_of(part)));
                if (l2) squares += g * g;
                continue;
            }
            if (!end->finite) return false;
            Int away = end->num * part - num * end->den;
            Scale unit = times(scale_of(part), scale_of(end->den));
            if (l2) {
                away = away * away;
                unit = times(unit, unit);
            } else if (away.is_negative()) {
                away.negate();
            }
            to.add(m * away, times(over, unit));
        }
        if (!end->finite) return false;
        to.add(g * end->num, times(gradient.den, scale_of(end->den)));
    }
    if (!around) return true;
    // What remains of g x + m (x - c)^2 where no end is in the way is g c - g^2 / (4 m).
    if (!squares.is_zero())
        to.add(-(squares * scale), times(times(gradient.den, gradient.den), scale_of(m << 2)));
    to.add(-(m * cell.ball->size_num), times(over, scale_of(cell.ball->size_den)));
    return true;
}

std::vector<Sum> DualExact::evaluate(const std::vector<Sum>& point) const {
    std::vector<std::vector<Int>> values(net_.net.nodes.size() + 1);
    std::vector<Scale> dens(values.size());
    const auto unify = [](const std::vector<Sum>& from, std::vector<Int>& to, Scale& den) {
        for (const Sum& x : from) den = lcm(den, x.den);
        for (const Sum& x : from) to.push_back(product(quotient(den, x.den), x.num));
    };
    unify(point, values[0], dens[0]);
    for (size_t k = 0; k < net_.net.nodes.size(); ++k) {
        const Node& node = net_.net.nodes[k];
        tick_();
        std::vector<Int> in, &out = values[k + 1];
        Scale den;
        for (const uint32_t source : node.sources) den = lcm(den, dens[source]);
        for (const uint32_t source : node.sources) {
            const Scale factor = quotient(den, dens[source]);
            for (const Int& x : values[source]) in.push_back(product(factor, x));
        }
        const Int one = product(den, Int(1));
        for (uint32_t i = 0; i < node.size; ++i) {
            Int z;
            if (node.is_linear()) {
                node.entries.add_mul(z, one, node.bias_of(i));
                node.each_term(i,
                               [&](uint32_t j, size_t at) { node.entries.add_mul(z, in[j], at); });
                z = product(node.part[node.row_of(i)], std::move(z));
            } else if (node.kind == Kind::units) {
                z = in[i].sign() > 0
                        ? in[i] << node.slope_top
                        : (in[i] * node.slope_num.at(i)) << (node.slope_top - node.slope_shift[i]);
            } else {
                bool any = false;
                for (uint32_t tap = 0; tap < node.taps; ++tap) {
                    const int64_t at = node.slot(i, tap);
                    if (at < 0) continue;
                    const Int& x = in[static_cast<size_t>(at)];
                    if (!any || z < x) z = x;
                    any = true;
                }
            }
            out.push_back(std::move(z));
        }
        dens[k + 1] =
            node.is_linear() ? times(den, node.den) : Scale{den.shift + node.slope_top, den.odd};
    }
    std::vector<Sum> out;
    for (Int& y : values.back()) out.push_back({std::move(y), dens.back()});
    return out;
}

}  // namespace plv::check
