#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "check/clones.hpp"
#include "check/gain.hpp"

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kUlp = 0x1p-52;
constexpr double kTiny = 1e-290;  // what underflow costs at most
constexpr size_t kMostLanes = 128;
constexpr uint32_t kInputs = ~uint32_t{0};  // in the place of a node

double down(double x) { return std::nextafter(x, -kInf); }
double up(double x) { return std::nextafter(x, kInf); }

// to[l] += w from[l]
PLV_CLONES void add_lanes(const uint32_t* at, const double* weight, size_t n, const double* from,
                          double* to, size_t lanes) {
    for (size_t k = 0; k < n; ++k) {
        const double* x = from + at[k] * lanes;
        const double w = weight[k];
        for (size_t l = 0; l < lanes; ++l) to[l] += w * x[l];
    }
}

}  // namespace

GainRanges::GainRanges(size_t points) : lo(points, -kInf), hi(points, kInf) {}

GainDoubles::GainDoubles(const GainGraph& graph, std::function<void()> tick)
    : graph_(graph), tick_(std::move(tick)), relative_((graph.terms + 16) * 2 * kUlp) {
    for (auto* v : {&lo_, &hi_, &size_}) v->resize(graph.points);
    reached_.resize(graph.points);
}

// ------------------------------------------------------------------------------- backwards

// Intersects the ranges with the sums in lo_ and hi_, of terms of magnitudes size_.
void GainDoubles::settle(uint32_t first, uint32_t count, GainRanges& ranges) const {
    for (uint32_t p = first; p < first + count; ++p) {
        const double error = relative_ * size_[p] + kTiny;
        double &lo = ranges.lo[p], &hi = ranges.hi[p];
        // Infinities of both signs make no number, and that is no bound.
        if (const double x = down(lo_[p] - error); x > lo) lo = x;
        if (const double x = up(hi_[p] + error); x < hi) hi = x;
        if (lo > hi) hi = lo;  // no region is in the cell, and nothing said about them is false
    }
}

void GainDoubles::propagate(const GainForm& row, const GainSlopes& slopes, bool tight,
                            GainRanges& ranges) {
    for (auto* v : {&lo_, &hi_, &size_}) std::fill(v->begin(), v->end(), 0.0);
    const auto spread = [&](const GainForm& form, double lo, double hi) {
        const double unusable = form.size < kInf ? 0.0 : kInf;
        for (size_t k = 0; k < form.at.size(); ++k) {
            const double a = form.weight[k] * lo, b = form.weight[k] * hi;
            const uint32_t p = form.at[k];
            lo_[p] += a < b ? a : b;
            hi_[p] += a < b ? b : a;
            size_[p] += std::max(std::abs(a), std::abs(b)) + unusable;
        }
    };
    spread(row, 1.0, 1.0);
    const DualNet& net = graph_.net;
    for (auto k = static_cast<uint32_t>(net.nodes.size()); k-- > 0;) {
        const Node& node = net.net.nodes[k];
        if (node.is_linear()) continue;
        tick_();
        const uint32_t first = net.nodes[k].first_unit;
        settle(graph_.inputs() + first, node.size, ranges);
        if (tight && graph_.level[k] > 1) single(k, row, slopes, ranges);
        for (uint32_t u = first; u < first + node.size; ++u) {
            const GainSlopes::Unit& unit = slopes.units[u];
            const double g_lo = ranges.lo[graph_.inputs() + u],
                         g_hi = ranges.hi[graph_.inputs() + u];
            double lo = g_lo, hi = g_hi;
            if (node.kind == Kind::max) {
                if (unit.open) lo = std::min(lo, 0.0), hi = std::max(hi, 0.0);
            } else if (unit.low != 1.0 || unit.high != 1.0) {
                const auto times = [](double f, double g) { return f == 0.0 ? 0.0 : f * g; };
                const double ends[] = {times(unit.low, g_lo), times(unit.low, g_hi),
                                       times(unit.high, g_lo), times(unit.high, g_hi)};
                lo = *std::min_element(ends, ends + 4);
                hi = *std::max_element(ends, ends + 4);
                // Slopes that are no doubles were rounded.
                if (lo != 0.0) lo = down(lo - kUlp * std::abs(lo));
                if (hi != 0.0) hi = up(hi + kUlp * std::abs(hi));
            }
            if (lo == 0.0 && hi == 0.0) continue;
            for (uint32_t f = 0; f < unit.count; ++f)
                spread(graph_.forms[slopes.forms[unit.first + f]], lo, hi);
        }
    }
    settle(0, graph_.inputs(), ranges);
    if (tight && graph_.input_level > 1) single(kInputs, row, slopes, ranges);
}

// ------------------------------------------------------------------------------- forwards

// Bounds of single gradients, in the inputs or the outputs of a node of units.
void GainDoubles::single(uint32_t node, const GainForm& row, const GainSlopes& slopes,
                         GainRanges& ranges) {
    const DualNet& net = graph_.net;
    std::vector<uint32_t> wanted;
    if (node == kInputs) {
        for (uint32_t j = 0; j < graph_.inputs(); ++j) wanted.push_back(j);
    } else {
        const uint32_t first = net.nodes[node].first_unit;
        for (uint32_t u = first; u < first + net.net.nodes[node].size; ++u)
            if (slopes.units[u].low != 0.0 || slopes.units[u].high != 0.0)
                wanted.push_back(graph_.inputs() + u);
    }
    for (size_t at = 0; at < wanted.size(); at += kMostLanes / 2) {
        tick_();
        const size_t n = std::min(wanted.size() - at, kMostLanes / 2);
        lanes_ = 2 * n;
        tangent_.assign(size_t{graph_.points} * lanes_, 0.0);
        std::fill(reached_.begin(), reached_.end(), 0);
        for (size_t i = 0; i < n; ++i) {
            const uint32_t p = wanted[at + i];
            tangent_[p * lanes_ + 2 * i] = 1.0;
            tangent_[p * lanes_ + 2 * i + 1] = -1.0;
            reached_[p] = 1;
        }
        most_tangent_.assign(lanes_, 1.0);
        push(node == kInputs ? 0 : node + 1, row, slopes, ranges);
        for (size_t i = 0; i < n; ++i) {
            const uint32_t p = wanted[at + i];
            double &lo = ranges.lo[p], &hi = ranges.hi[p];
            if (total_[2 * i] < hi) hi = total_[2 * i];
            if (-total_[2 * i + 1] > lo) lo = -total_[2 * i + 1];
            if (lo > hi) hi = lo;
        }
    }
}

// From the tangents at hand to upper bounds in total_, by the nodes from `from` on.
void GainDoubles::push(uint32_t from, const GainForm& row, const GainSlopes& slopes,
                       const GainRanges& ranges) {
    const DualNet& net = graph_.net;
    total_.assign(lanes_, 0.0);
    total_size_.assign(lanes_, 0.0);
    for (auto* v : {&now_, &least_, &most_, &error_}) v->resize(lanes_);
    for (auto k = from; k < net.nodes.size(); ++k) {
        const Node& node = net.net.nodes[k];
        if (node.is_linear()) continue;
        const uint32_t first = net.nodes[k].first_unit;
        for (uint32_t u = first; u < first + node.size; ++u) bend(u, slopes, ranges);
        // What is larger than all tangents so far, for the error of the next node's.
        for (uint32_t u = first; u < first + node.size; ++u) {
            const uint32_t p = graph_.inputs() + u;
            if (reached_[p] == 0) continue;
            const double* t = &tangent_[size_t{p} * lanes_];
            for (size_t l = 0; l < lanes_; ++l)
                most_tangent_[l] = std::max(most_tangent_[l], std::abs(t[l]));
        }
    }
    multiply(row, now_.data());
    for (size_t l = 0; l < lanes_; ++l) {
        const double size = total_size_[l] + row.size * most_tangent_[l];
        const double sum = total_[l] + now_[l] + 2 * relative_ * size + kTiny;
        total_[l] = sum == sum ? up(sum) : kInf;
    }
}

// A form at the tangents; off by relative_ * form.size * most_tangent_, and kTiny.
void GainDoubles::multiply(const GainForm& form, double* to) const {
    std::fill_n(to, lanes_, 0.0);
    add_lanes(form.at.data(), form.weight.data(), form.at.size(), tangent_.data(), to, lanes_);
}

// The tangents of a unit's output, and what they cost.
void GainDoubles::bend(uint32_t u, const GainSlopes& slopes, const GainRanges& ranges) {
    const GainSlopes::Unit& unit = slopes.units[u];
    const uint32_t p = graph_.inputs() + u;
    if (unit.low == 0.0 && unit.high == 0.0) return;
    bool any = false;
    for (uint32_t f = 0; f < unit.count && !any; ++f) {
        const GainForm& form = graph_.forms[slopes.forms[unit.first + f]];
        for (size_t k = 0; k < form.at.size() && !any; ++k) any = reached_[form.at[k]] != 0;
    }
    if (!any) return;
    reached_[p] = 1;
    const double lo = ranges.lo[p], hi = ranges.hi[p], far = std::max(-lo, hi);
    const double steep = std::max(std::abs(unit.low), std::abs(unit.high));
    double* out = &tangent_[size_t{p} * lanes_];
    for (uint32_t f = 0; f < unit.count; ++f) {
        const GainForm& form = graph_.forms[slopes.forms[unit.first + f]];
        multiply(form, now_.data());
        const double relative = relative_ * form.size;
        for (size_t l = 0; l < lanes_; ++l) {
            const double a = unit.low * now_[l], b = unit.high * now_[l];
            const double small = a < b ? a : b, large = a < b ? b : a;
            // Slopes and these products were rounded.
            const double error =
                steep * (relative * most_tangent_[l] + kTiny + 4 * kUlp * std::abs(now_[l]));
            least_[l] = f == 0 || small < least_[l] ? small : least_[l];
            most_[l] = f == 0 || large > most_[l] ? large : most_[l];
            error_[l] = f == 0 || error > error_[l] ? error : error_[l];
        }
    }
    if (!unit.open) {
        for (size_t l = 0; l < lanes_; ++l) {
            out[l] = least_[l];
            total_[l] += far * error_[l];
            total_size_[l] += far * error_[l];
        }
        return;
    }
    const bool rises = lo >= 0, falls = hi <= 0;
    const double share = rises ? 1.0 : falls ? 0.0 : hi / (hi - lo);
    for (size_t l = 0; l < lanes_; ++l) {
        const double m = share * most_[l] + (1 - share) * least_[l];
        out[l] = m;
        // The largest (r - m) g for r between the ends and g in the range.
        const double above = most_[l] - m, below = least_[l] - m;
        const double x = hi * (hi > 0 ? above : below), y = lo * (lo > 0 ? above : below);
        const double size = std::abs(most_[l]) + std::abs(least_[l]) + std::abs(m);
        const double price = std::max(x, y) + far * (error_[l] + 8 * kUlp * size);
        total_[l] += price;
        total_size_[l] += std::abs(price);
    }
}

// ------------------------------------------------------------------------------- goals

void GainDoubles::bound(const GainGoal& goal, const Cell& cell, bool tight,
                        std::vector<GainRanges>& ranges) {
    const GainSlopes slopes(graph_, cell);
    for (size_t r = 0; r < goal.rows.size(); ++r) propagate(goal.rows[r], slopes, tight, ranges[r]);
}

bool GainDoubles::is_met(const GainGoal& goal, const Cell& cell,
                         const std::vector<GainRanges>& known) {
    using Norm = GainGoal::Norm;
    const GainSlopes slopes(graph_, cell);
    std::vector<GainRanges> ranges = known;
    for (size_t r = 0; r < goal.rows.size(); ++r) propagate(goal.rows[r], slopes, false, ranges[r]);
    const double limit = round_down(goal.num, scale_of(goal.den));
    const uint32_t n = graph_.inputs();
    const double grow =
        1 + (static_cast<double>(n) * static_cast<double>(goal.rows.size()) + 8) * 2 * kUlp;
    std::vector<double> columns(n, 0.0);
    double total = 0.0;
    for (const GainRanges& one : ranges)
        for (uint32_t j = 0; j < n; ++j) {
            const double most = std::max(-one.lo[j], one.hi[j]);
            columns[j] += most;
            total += goal.norm == Norm::l2 ? most * most : most;
        }
    if (goal.norm == Norm::l1) {
        return std::all_of(columns.begin(), columns.end(),
                           [&](double sum) { return sum * grow + kTiny <= limit; });
    }
    if (total * grow + kTiny <= limit) return true;
    if (goal.rows.size() == 1) return by_chords(goal, slopes, ranges[0]) <= limit;
    return goal.norm == Norm::l2 && spectral(goal, ranges);
}

// An upper bound of the norm of one row (in l2 its square), from a linear function above it.
double GainDoubles::by_chords(const GainGoal& goal, const GainSlopes& slopes,
                              const GainRanges& ranges) {
    const uint32_t n = graph_.inputs();
    lanes_ = 1;
    tangent_.assign(graph_.points, 0.0);
    std::fill(reached_.begin(), reached_.end(), 0);
    most_tangent_.assign(1, 0.0);
    double constant = 0.0, size = 0.0;
    for (uint32_t j = 0; j < n; ++j) {
        const double lo = ranges.lo[j], hi = ranges.hi[j];
        const bool square = goal.norm == GainGoal::Norm::l2;
        double s = 0.0;
        if (square)
            s = lo + hi;
        else if (lo >= 0 || hi <= 0)
            s = lo >= 0 ? 1.0 : -1.0;
        else
            s = (hi + lo) / (hi - lo);
        // A convex function less a linear one is largest at an end.
        const double at_lo = (square ? lo * lo : std::abs(lo)) - s * lo;
        const double at_hi = (square ? hi * hi : std::abs(hi)) - s * hi;
        constant += std::max(at_lo, at_hi);
        const double most = std::max(std::abs(lo), std::abs(hi));
        size += most * ((square ? most : 1.0) + std::abs(s));
        tangent_[j] = s;
        reached_[j] = 1;
        most_tangent_[0] = std::max(most_tangent_[0], std::abs(s));
    }
    push(0, goal.rows[0], slopes, ranges);
    const double error = (static_cast<double>(n) + 8) * 4 * kUlp * (size + std::abs(constant));
    const double sum = constant + total_[0] + error + 4 * kUlp * std::abs(total_[0]) + kTiny;
    return sum == sum ? up(sum) : kInf;
}

// Whether the matrix of the ranges' centres, with room for all that lies around it, has a smaller
// spectral norm.
bool GainDoubles::spectral(const GainGoal& goal, const std::vector<GainRanges>& ranges) const {
    const size_t n = graph_.inputs(), rows = ranges.size();
    std::vector<double> centre(rows * n), columns(n, 0.0);
    double frobenius = 0.0, rows_most = 0.0;
    for (size_t r = 0; r < rows; ++r) {
        double sum = 0.0;
        for (size_t j = 0; j < n; ++j) {
            const double lo = ranges[r].lo[j], hi = ranges[r].hi[j], c = (lo + hi) / 2;
            centre[r * n + j] = c;
            const double radius = up(up(std::max(hi - c, c - lo)));
            sum += radius;
            columns[j] += radius;
            frobenius += radius * radius;
        }
        rows_most = std::max(rows_most, sum);
    }
    const double slack = 1 + (static_cast<double>(n * rows) + 16) * 4 * kUlp;
    const double apart =
        std::min(frobenius, rows_most * *std::max_element(columns.begin(), columns.end()) * slack);
    const double limit = round_down(goal.num, scale_of(goal.den));
    if (!(limit > 0) || !(apart < kInf)) return false;
    const double room = std::sqrt(limit) * (1 - 4 * kUlp) - std::sqrt(apart) * slack - kTiny;
    if (!(room > 0)) return false;
    // Cholesky of room^2 - C C'; what rounding may add to the matrix is taken off its diagonal
    // (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, theorem 10.3).
    const double level = room * room * (1 - 4 * kUlp);
    std::vector<double> a(rows * rows);
    double trace = 0.0;
    for (size_t p = 0; p < rows; ++p)
        for (size_t q = 0; q <= p; ++q) {
            double sum = 0.0;
            for (size_t j = 0; j < n; ++j) sum += centre[p * n + j] * centre[q * n + j];
            a[p * rows + q] = -sum;
            if (p == q) trace += sum;
        }
    const double k = static_cast<double>(rows);
    const double error = (static_cast<double>(n) + 8) * 2 * kUlp * trace +
                         (k + 8) * 4 * kUlp * (k * level + trace) + kTiny;
    for (size_t p = 0; p < rows; ++p) a[p * rows + p] += level - error;
    for (size_t p = 0; p < rows; ++p)
        for (size_t q = 0; q <= p; ++q) {
            double sum = a[p * rows + q];
            for (size_t i = 0; i < q; ++i) sum -= a[p * rows + i] * a[q * rows + i];
            if (p == q) {
                if (!(sum > 0)) return false;
                a[p * rows + p] = std::sqrt(sum);
            } else {
                a[p * rows + q] = sum / a[q * rows + q];
            }
        }
    return true;
}

}  // namespace plv::check
