#include "lp/nearest.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/contract.hpp"

namespace plv {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTolerance = 1e-11;  // of the distance: what counts as violated
constexpr double kPivot = 1e-13;      // rates and pivots below this, relative, are zero
constexpr int kMostSteps = 2000;
constexpr int kMostFlips = 4;

double dot(const double* a, const double* b, int n) {
    double sum[4] = {};
    int k = 0;
    for (; k + 4 <= n; k += 4)
        for (int t = 0; t < 4; ++t) sum[t] += a[k + t] * b[k + t];
    for (; k < n; ++k) sum[0] += a[k] * b[k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void add_times(double* to, const double* from, double factor, int n) {
    if (factor == 0.0) return;
    for (int k = 0; k < n; ++k) to[k] += factor * from[k];
}

// Solves m x = b, m by rows, b becomes x; false where m is singular but for rounding.
bool solve_system(std::vector<double>& m, std::vector<double>& b) {
    const size_t n = b.size();
    double largest = 0.0;
    for (const double v : m) largest = std::max(largest, std::fabs(v));
    for (size_t c = 0; c < n; ++c) {
        size_t lead = c;
        for (size_t r = c + 1; r < n; ++r)
            if (std::fabs(m[r * n + c]) > std::fabs(m[lead * n + c])) lead = r;
        if (!(std::fabs(m[lead * n + c]) > kPivot * largest)) return false;
        if (lead != c) {
            std::swap_ranges(&m[c * n], &m[c * n] + n, &m[lead * n]);
            std::swap(b[c], b[lead]);
        }
        const double inverse = 1.0 / m[c * n + c];
        for (size_t r = c + 1; r < n; ++r) {
            const double f = m[r * n + c] * inverse;
            if (f == 0.0) continue;
            for (size_t k = c + 1; k < n; ++k) m[r * n + k] -= f * m[c * n + k];
            b[r] -= f * b[c];
        }
    }
    for (size_t c = n; c-- > 0;) {
        for (size_t k = c + 1; k < n; ++k) b[c] -= m[c * n + k] * b[k];
        b[c] /= m[c * n + c];
    }
    return true;
}

}  // namespace

double norm_of(Norm norm, const double* v, int n) {
    double out = 0.0;
    for (int k = 0; k < n; ++k) {
        if (norm == Norm::l2) out += v[k] * v[k];
        if (norm == Norm::l1) out += std::fabs(v[k]);
        if (norm == Norm::linf) out = std::max(out, std::fabs(v[k]));
    }
    return norm == Norm::l2 ? std::sqrt(out) : out;
}

double dual_norm_of(Norm norm, const double* v, int n) {
    const Norm dual = norm == Norm::l1 ? Norm::linf : norm == Norm::linf ? Norm::l1 : Norm::l2;
    return norm_of(dual, v, n);
}

void Nearest::start(Norm norm, int dim, const double* lo, const double* hi) {
    norm_ = norm;
    dim_ = dim;
    const auto n = static_cast<size_t>(dim);
    lo_.assign(lo, lo + dim);
    hi_.assign(hi, hi + dim);
    table_.clear();
    bound_.clear();
    size_.clear();
    tight_.clear();
    y_.clear();
    is_tight_.clear();
    basic_.clear();
    ends_.clear();
    d_.assign(n, 0.0);
    w_.assign(n, 0.0);
    g_.assign(n, 0.0);
    side_.assign(n, middle);
    if (norm == Norm::l2)
        for (size_t j = 0; j < n; ++j) {
            if (lo[j] > 0.0) side_[j] = low, d_[j] = lo[j];
            if (hi[j] < 0.0) side_[j] = high, d_[j] = hi[j];
        }
    radius_ = 0.0;
    flips_ = 0;
}

void Nearest::add_row(const double* a, double b) {
    table_.insert(table_.end(), a, a + dim_);
    bound_.push_back(b);
    size_.push_back(dual_norm_of(norm_, a, dim_));
    is_tight_.push_back(0);
}

Nearest::End Nearest::solve(double enough) {
    return norm_ == Norm::l2 ? solve_l2(enough) : solve_lp(enough);
}

double Nearest::shortage(int i) const { return bound_[i] - dot(row(i), d_.data(), dim_); }

// In units of the distance.
Nearest::Fault Nearest::worst_row() const {
    Fault out;
    out.size = kTolerance * distance();
    for (int i = 0; i < rows(); ++i) {
        if (is_tight_[i]) continue;
        const double by = shortage(i);
        if (by > out.size * size_[i]) out.size = by / size_[i], out.row = i;
    }
    return out;
}

Place Nearest::place(int j) const {
    if (side_[j] == basic) return Place::free;
    if (side_[j] == middle) return norm_ == Norm::l2 ? Place::free : Place::still;
    if (norm_ == Norm::linf && at_radius(static_cast<size_t>(j)))
        return side_[j] == high ? Place::plus_radius : Place::minus_radius;
    return side_[j] == high ? Place::high : Place::low;
}

void Nearest::weigh() {
    std::fill(w_.begin(), w_.end(), 0.0);
    for (size_t p = 0; p < tight_.size(); ++p) add_times(w_.data(), row(tight_[p]), y_[p], dim_);
}

void Nearest::remove_tight(size_t place) {
    is_tight_[tight_[place]] = 0;
    tight_.erase(tight_.begin() + static_cast<ptrdiff_t>(place));
    y_.erase(y_.begin() + static_cast<ptrdiff_t>(place));
}

// ------------------------------------------------------------------------------- l2

Nearest::End Nearest::solve_l2(double enough) {
    for (int step = 0; step < kMostSteps; ++step) {
        const Fault fault = worst_row();
        if (fault.row < 0) return End::optimal;
        if (std::isinf(fault.size)) return End::infeasible;
        if (!raise_l2(fault.row)) return End::infeasible;
        settle_l2();
        if (!(distance() < 1e150)) return End::failed;
        if (distance() > enough) return End::optimal;
    }
    return End::failed;
}

// Raises the multiplier of a row until it holds; false where it cannot.
bool Nearest::raise_l2(int i) {
    const double* a = row(i);
    const double size = size_[i] * size_[i];
    double mine = 0.0;
    for (int step = 0; step < kMostSteps; ++step) {
        // How the other multipliers move while this one grows by 1 and their rows stay tight.
        const size_t k = tight_.size();
        matrix_.assign(k * k, 0.0);
        delta_.assign(k, 0.0);
        for (size_t p = 0; p < k; ++p) {
            const double* b = row(tight_[p]);
            for (int j = 0; j < dim_; ++j) g_[j] = side_[j] == middle ? b[j] : 0.0;
            delta_[p] = -dot(g_.data(), a, dim_);
            for (size_t q = 0; q <= p; ++q)
                matrix_[p * k + q] = matrix_[q * k + p] = dot(g_.data(), row(tight_[q]), dim_);
            // Keeps the system regular where free coordinates are few.
            matrix_[p * k + p] += 1e-14 * size_[tight_[p]] * size_[tight_[p]];
        }
        if (!solve_system(matrix_, delta_)) return false;
        std::copy(a, a + dim_, g_.begin());
        for (size_t p = 0; p < k; ++p) add_times(g_.data(), row(tight_[p]), delta_[p], dim_);

        double slope = 0.0, t = kInfinity;
        for (int j = 0; j < dim_; ++j)
            if (side_[j] == middle) slope += g_[j] * a[j];
        if (slope > 1e-11 * size) t = std::max(shortage(i), 0.0) / slope;
        int moved = -1, gone = -1;
        Side to = middle;
        for (int j = 0; j < dim_; ++j) {
            const double rate = g_[j];
            if (rate == 0.0) continue;
            double end;
            Side next;
            if (side_[j] == middle) {
                end = rate > 0.0 ? hi_[j] : lo_[j];
                next = rate > 0.0 ? high : low;
            } else {
                if ((side_[j] == high) == (rate > 0.0)) continue;
                end = side_[j] == high ? hi_[j] : lo_[j];
                next = middle;
            }
            const double when = std::max((end - w_[j]) / rate, 0.0);
            if (when < t) t = when, moved = j, to = next;
        }
        for (size_t p = 0; p < k; ++p)
            if (delta_[p] < 0.0 && -y_[p] / delta_[p] < t)
                t = -y_[p] / delta_[p], gone = static_cast<int>(p);
        if (!(t < kInfinity)) return false;
        mine += t;
        for (size_t p = 0; p < k; ++p) y_[p] += t * delta_[p];
        for (int j = 0; j < dim_; ++j) {
            w_[j] += t * g_[j];
            if (side_[j] == middle) d_[j] += t * g_[j];
        }
        if (gone >= 0) {
            remove_tight(static_cast<size_t>(gone));
        } else if (moved >= 0) {
            const auto j = static_cast<size_t>(moved);
            if (to == middle) w_[j] = d_[j];
            side_[j] = to;
            if (to != middle) d_[j] = to == high ? hi_[j] : lo_[j];
        } else {
            tight_.push_back(i);
            y_.push_back(mine);
            is_tight_[i] = 1;
            return true;
        }
    }
    return false;
}

// Takes the rounding out of the many small steps: one solve for the sets at hand.
void Nearest::settle_l2() {
    const size_t k = tight_.size();
    matrix_.assign(k * k, 0.0);
    delta_.assign(k, 0.0);
    for (size_t p = 0; p < k; ++p) {
        const double* b = row(tight_[p]);
        delta_[p] = bound_[tight_[p]];
        for (int j = 0; j < dim_; ++j) {
            g_[j] = side_[j] == middle ? b[j] : 0.0;
            if (side_[j] != middle) delta_[p] -= b[j] * d_[j];
        }
        for (size_t q = 0; q <= p; ++q)
            matrix_[p * k + q] = matrix_[q * k + p] = dot(g_.data(), row(tight_[q]), dim_);
    }
    if (solve_system(matrix_, delta_) &&
        std::all_of(delta_.begin(), delta_.end(), [](double v) { return v >= 0.0; }))
        y_ = delta_;
    weigh();
    for (int j = 0; j < dim_; ++j)
        if (side_[j] == middle) d_[j] = w_[j] = std::clamp(w_[j], lo_[j], hi_[j]);
}

// ------------------------------------------------------------------------------- l1, linf

Nearest::End Nearest::solve_lp(double enough) {
    for (int step = 0; step < kMostSteps; ++step) {
        if (distance() > enough) return End::optimal;
        const Fault fault = worst();
        if (fault.row < 0 && fault.place < 0) return End::optimal;
        if (std::isinf(fault.size)) return End::infeasible;
        if (const End end = this->step(fault); end != End::optimal) return end;
        if (const End end = stand(); end != End::optimal) return end;
    }
    return End::failed;
}

// linf: whether the coordinate is held by the ball rather than the box.
bool Nearest::at_radius(size_t j) const { return radius_ < (side_[j] == high ? hi_[j] : -lo_[j]); }

// The multipliers and the point that the tight rows, the basic coordinates and the sides stand for.
Nearest::End Nearest::stand() {
    const size_t k = tight_.size();
    const bool ball = norm_ == Norm::linf;
    if (basic_.size() + ball != k) return End::failed;
    // Columns: the basic coordinates, and in linf what the radius does if the box were not there.
    rhs_.assign(k, 0.0);
    if (ball) {
        for (size_t p = 0; p < k; ++p) {
            const double* b = row(tight_[p]);
            for (int j = 0; j < dim_; ++j)
                if (side_[j] != basic) rhs_[p] += static_cast<double>(side_[j]) * b[j];
        }
    }
    const std::vector<double> column = rhs_;
    matrix_.assign(k * k, 0.0);
    for (size_t p = 0; p < k; ++p) {
        for (size_t c = 0; c < basic_.size(); ++c) matrix_[c * k + p] = row(tight_[p])[basic_[c]];
        if (ball) matrix_[(k - 1) * k + p] = column[p];
    }
    y_ = ends_;
    if (ball) {
        y_.assign(k, 0.0);
        y_.back() = 1.0;
    }
    if (!solve_system(matrix_, y_)) return End::failed;
    weigh();
    if (ball) {
        double goal = 0.0;
        for (size_t p = 0; p < k; ++p) goal += y_[p] * bound_[tight_[p]];
        for (const int j : basic_) w_[j] = 0.0;
        if (!find_radius(goal)) return End::infeasible;
    }
    for (size_t j = 0; j < d_.size(); ++j) {
        if (side_[j] == basic) continue;
        const double reach = ball ? radius_ : kInfinity;
        d_[j] = side_[j] == middle ? 0.0
                : side_[j] == high ? std::min(hi_[j], reach)
                                   : std::max(lo_[j], -reach);
    }
    matrix_.assign(k * k, 0.0);
    for (size_t p = 0; p < k; ++p) {
        const double* b = row(tight_[p]);
        rhs_[p] = bound_[tight_[p]];
        for (int j = 0; j < dim_; ++j)
            if (side_[j] != basic) rhs_[p] -= b[j] * d_[j];
        for (size_t c = 0; c < basic_.size(); ++c) matrix_[p * k + c] = b[basic_[c]];
        if (ball) matrix_[p * k + k - 1] = column[p];
    }
    if (!solve_system(matrix_, rhs_)) return End::failed;
    for (size_t c = 0; c < basic_.size(); ++c) d_[basic_[c]] = rhs_[c];
    return End::optimal;
}

// linf: the radius at which the tight rows, added up with their multipliers, can hold.
// sum |w_j| min(r, room_j) grows and is concave in r, so that Newton's method comes from below.
bool Nearest::find_radius(double goal) {
    double r = 0.0, rate = 0.0;
    for (int step = 0; step <= dim_ + 1; ++step) {
        double reached = 0.0;
        rate = 0.0;
        for (int j = 0; j < dim_; ++j) {
            if (side_[j] == basic) continue;
            const double room = side_[j] == high ? hi_[j] : -lo_[j], size = std::fabs(w_[j]);
            if (room > r)
                rate += size;
            else
                reached += size * room;
        }
        if (!(rate > 0.0)) return false;
        const double next = (goal - reached) / rate;
        if (!(next > r)) break;
        r = next;
    }
    radius_ = r;
    for (double& v : y_) v /= rate;
    for (double& v : w_) v /= rate;
    return std::isfinite(r);
}

Nearest::Fault Nearest::worst() const {
    Fault out = worst_row();
    for (size_t c = 0; c < basic_.size(); ++c) {
        const auto j = static_cast<size_t>(basic_[c]);
        double lo, hi;
        if (norm_ == Norm::linf) {
            lo = std::max(lo_[j], -radius_);
            hi = std::min(hi_[j], radius_);
        } else {
            lo = ends_[c] > 0.0 ? 0.0 : lo_[j];
            hi = ends_[c] > 0.0 ? hi_[j] : 0.0;
        }
        if (d_[j] - hi > out.size) out = {d_[j] - hi, -1, static_cast<int>(c), high};
        if (lo - d_[j] > out.size) out = {lo - d_[j], -1, static_cast<int>(c), low};
    }
    return out;
}

// How the multipliers (delta) and the weights (g) move while the fault is repaired.
void Nearest::directions(const Fault& fault) {
    const size_t k = tight_.size();
    const bool ball = norm_ == Norm::linf;
    matrix_.assign(k * k, 0.0);
    delta_.assign(k, 0.0);
    for (size_t p = 0; p < k; ++p) {
        const double* b = row(tight_[p]);
        for (size_t c = 0; c < basic_.size(); ++c) matrix_[c * k + p] = b[basic_[c]];
        if (!ball) continue;
        for (size_t j = 0; j < d_.size(); ++j)
            if (side_[j] != basic && at_radius(j))
                matrix_[(k - 1) * k + p] += static_cast<double>(side_[j]) * b[j];
    }
    if (fault.row >= 0) {
        const double* a = row(fault.row);
        for (size_t c = 0; c < basic_.size(); ++c) delta_[c] = -a[basic_[c]];
        if (ball && k > 0)
            for (size_t j = 0; j < d_.size(); ++j)
                if (side_[j] != basic && at_radius(j))
                    delta_[k - 1] -= static_cast<double>(side_[j]) * a[j];
        std::copy(a, a + dim_, g_.begin());
    } else {
        const auto j = static_cast<size_t>(basic_[fault.place]);
        delta_[fault.place] = static_cast<double>(fault.side);
        if (ball && radius_ < (fault.side == high ? hi_[j] : -lo_[j])) delta_[k - 1] = -1.0;
        std::fill(g_.begin(), g_.end(), 0.0);
    }
}

// A basic coordinate leaves to the end that it is beyond.
void Nearest::leave(const Fault& fault) {
    const auto c = static_cast<ptrdiff_t>(fault.place);
    const int j = basic_[fault.place];
    side_[j] = fault.side;
    if (norm_ == Norm::l1) {
        w_[j] = ends_[fault.place];
        if ((w_[j] > 0.0) != (fault.side == high)) side_[j] = middle;
        ends_.erase(ends_.begin() + c);
    }
    basic_.erase(basic_.begin() + c);
}

// linf: the coordinate that blocks the way of the weights before `block`, or -1. Of those that tie
// the one with the largest rate, for the sake of the next system.
int Nearest::first_sign(double block) const {
    double most = 0.0, first = block;
    for (const double v : g_) most = std::max(most, std::fabs(v));
    const auto each = [&](auto visit) {
        for (size_t j = 0; j < d_.size(); ++j) {
            const double rate = -static_cast<double>(side_[j]) * g_[j];
            if (side_[j] != basic && rate > kPivot * most)
                visit(static_cast<int>(j), std::fabs(w_[j]) / rate, rate);
        }
    };
    each([&](int, double t, double) { first = std::min(first, t); });
    int out = -1;
    double best = 0.0;
    each([&](int j, double t, double rate) {
        if (t < block && t <= first * (1.0 + 1e-12) && rate > best) best = rate, out = j;
    });
    return out;
}

// linf: coordinates of no weight change sides for nothing; whether any did.
bool Nearest::flip_weightless() {
    double most = 0.0;
    for (const double v : w_) most = std::max(most, std::fabs(v));
    bool flipped = false;
    for (size_t j = 0; j < d_.size(); ++j) {
        if (side_[j] == basic || std::fabs(w_[j]) > 1e-14 * most || g_[j] == 0.0) continue;
        const Side to = g_[j] > 0.0 ? high : low;
        flipped |= side_[j] != to;
        side_[j] = to;
    }
    return flipped;
}

// l1: passes thresholds while the bound goes on to improve, before `block`. The coordinate at which
// it no longer would, and its threshold; or -1.
int Nearest::pass_thresholds(double slope, double block, double& end) {
    struct Break {
        double t;
        int j;
        double end;
        Side to;
    };
    std::vector<Break> breaks;
    for (int j = 0; j < dim_; ++j) {
        const double rate = g_[j];
        if (side_[j] == basic || rate == 0.0) continue;
        const auto add = [&](double at, Side to) {
            breaks.push_back({std::max((at - w_[j]) / rate, 0.0), j, at, to});
        };
        if (rate > 0.0) {
            if (side_[j] == low) add(-1.0, middle);
            if (side_[j] != high) add(1.0, high);
        } else {
            if (side_[j] == high) add(1.0, middle);
            if (side_[j] != low) add(-1.0, low);
        }
    }
    std::sort(breaks.begin(), breaks.end(), [](const Break& a, const Break& b) {
        return a.t < b.t || (a.t == b.t && a.j < b.j);
    });
    for (const Break& at : breaks) {
        if (at.t >= block) break;
        slope -= std::fabs(g_[at.j]) * (at.end > 0.0 ? hi_[at.j] : -lo_[at.j]);
        if (!(slope > 0.0)) {
            end = at.end;
            return at.j;
        }
        side_[at.j] = at.to;
    }
    return -1;
}

// One change of the tight rows and basic coordinates.
Nearest::End Nearest::step(const Fault& fault) {
    const bool ball = norm_ == Norm::linf;
    if (ball && tight_.empty()) {
        const double* a = row(fault.row);
        for (size_t j = 0; j < d_.size(); ++j) side_[j] = a[j] < 0.0 ? low : high;
        tight_.push_back(fault.row);
        is_tight_[fault.row] = 1;
        return End::optimal;
    }
    directions(fault);
    if (!solve_system(matrix_, delta_)) return End::failed;
    for (size_t p = 0; p < tight_.size(); ++p)
        add_times(g_.data(), row(tight_[p]), delta_[p], dim_);
    if (ball && fault.row >= 0 && flips_ < kMostFlips) {
        ++flips_;
        if (flip_weightless()) return End::optimal;
    }
    double block = kInfinity;
    int gone = -1;
    for (size_t p = 0; p < tight_.size(); ++p)
        if (delta_[p] < 0.0 && std::max(-y_[p] / delta_[p], 0.0) < block)
            block = std::max(-y_[p] / delta_[p], 0.0), gone = static_cast<int>(p);
    const double slope = fault.row >= 0 ? shortage(fault.row) : fault.size;
    if (fault.place >= 0) leave(fault);
    double end = 0.0;
    const int enters = ball ? first_sign(block) : pass_thresholds(slope, block, end);
    if (enters >= 0) {
        side_[enters] = basic;
        basic_.push_back(enters);
        if (!ball) ends_.push_back(end);
    } else if (gone >= 0) {
        is_tight_[tight_[gone]] = 0;
        tight_.erase(tight_.begin() + gone);
    } else {
        return End::infeasible;
    }
    if (fault.row >= 0) {
        tight_.push_back(fault.row);
        is_tight_[fault.row] = 1;
    }
    return End::optimal;
}

}  // namespace plv
