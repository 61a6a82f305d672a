#include "lp/simplex.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/contract.hpp"

namespace plv {

namespace {
constexpr double kZero = 1e-11;  // entries below this are no pivots
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}  // namespace

void Simplex::start(int dim, const double* lo, const double* hi) {
    dim_ = dim;
    stride_ = (dim + 1 + 3) / 4 * 4;
    rows_ = 2 * dim;
    pivots_ = 0;
    lo_.assign(lo, lo + dim);
    table_.assign(static_cast<size_t>(dim) * stride_, 0.0);
    goal_.assign(static_cast<size_t>(stride_), 0.0);
    basic_.clear();
    nonbasic_.clear();
    where_.clear();
    for (int k = 0; k < dim; ++k) {
        nonbasic_.push_back(k);
        where_.push_back(~k);
    }
    for (int k = 0; k < dim; ++k) {
        row(k)[k] = -1.0;
        row(k)[dim] = hi[k] - lo[k];
        basic_.push_back(dim + k);
        where_.push_back(k);
    }
}

void Simplex::copy_from(const Simplex& other) {
    dim_ = other.dim_, rows_ = other.rows_, stride_ = other.stride_;
    pivots_ = other.pivots_;
    lo_ = other.lo_, table_ = other.table_, goal_ = other.goal_;
    basic_ = other.basic_, nonbasic_ = other.nonbasic_, where_ = other.where_;
}

void Simplex::express(const double* a, double c, double* out) const {
    std::memset(out, 0, sizeof(double) * static_cast<size_t>(stride_));
    out[dim_] = c;
    for (int k = 0; k < dim_; ++k) {
        out[dim_] += a[k] * lo_[static_cast<size_t>(k)];
        const int w = where_[static_cast<size_t>(k)];
        if (w < 0) {
            out[~w] += a[k];
        } else {
            const double* from = row(w);
            for (int j = 0; j < stride_; ++j) out[j] += a[k] * from[j];
        }
    }
}

void Simplex::add_row(const double* a, double c) {
    const int place = static_cast<int>(basic_.size());
    table_.resize(table_.size() + static_cast<size_t>(stride_));
    express(a, c, row(place));
    basic_.push_back(rows_);
    where_.push_back(place);
    ++rows_;
}

void Simplex::drop_row() {
    --rows_;
    PLV_CHECK(where_[static_cast<size_t>(rows_)] == static_cast<int>(basic_.size()) - 1);
    where_.pop_back();
    basic_.pop_back();
    table_.resize(table_.size() - static_cast<size_t>(stride_));
}

double Simplex::at_vertex(const double* a, double c) const {
    double v = c;
    for (int k = 0; k < dim_; ++k) v += a[k] * coordinate(k);
    return v;
}

double Simplex::coordinate(int k) const {
    const int w = where_[static_cast<size_t>(k)];
    return lo_[static_cast<size_t>(k)] + (w < 0 ? 0.0 : row(w)[dim_]);
}

void Simplex::pivot(int r, int s) {
    ++pivots_;
    double* lead = row(r);
    const double inverse = 1.0 / lead[s];
    for (int j = 0; j < stride_; ++j) lead[j] *= -inverse;
    lead[s] = inverse;
    const auto eliminate = [&](double* to) {
        const double f = to[s];
        if (f == 0.0) return;
        to[s] = 0.0;
        for (int j = 0; j < stride_; ++j) to[j] += f * lead[j];
    };
    const int count = static_cast<int>(basic_.size());
    for (int i = 0; i < count; ++i)
        if (i != r) eliminate(row(i));
    eliminate(goal_.data());
    std::swap(basic_[static_cast<size_t>(r)], nonbasic_[static_cast<size_t>(s)]);
    where_[static_cast<size_t>(basic_[static_cast<size_t>(r)])] = r;
    where_[static_cast<size_t>(nonbasic_[static_cast<size_t>(s)])] = ~s;
}

Simplex::End Simplex::maximize(const double* a, double c, double enough) {
    express(a, c, goal_.data());
    const int count = static_cast<int>(basic_.size());
    const int most = 50 + 10 * (dim_ + count);
    for (int step = 0; step < most; ++step) {
        if (!(std::fabs(value()) < 1e200)) return End::failed;
        if (value() > enough) return End::positive;
        // Largest coefficient first; after a while the first one, against cycling.
        int s = -1;
        double best = kZero;
        for (int j = 0; j < dim_; ++j)
            if (goal_[static_cast<size_t>(j)] > best) {
                best = goal_[static_cast<size_t>(j)], s = j;
                if (step > 30 + 2 * dim_) break;
            }
        if (s < 0) return End::optimal;
        int r = -1;
        double ratio = kInfinity, size = 0.0;
        for (int i = 0; i < count; ++i) {
            const double v = row(i)[s];
            if (v >= -kZero) continue;
            const double room = row(i)[dim_];
            const double here = room > 0.0 ? room / -v : 0.0;
            if (here < ratio - 1e-12 || (here <= ratio + 1e-12 && -v > size))
                ratio = here < ratio ? here : ratio, size = -v, r = i;
        }
        if (r < 0) return End::failed;
        pivot(r, s);
    }
    return End::failed;
}

void Simplex::multipliers(std::vector<int>& rows, std::vector<double>& y) const {
    rows.clear();
    y.clear();
    for (int j = 0; j < dim_; ++j)
        if (goal_[static_cast<size_t>(j)] < 0.0) {
            rows.push_back(nonbasic_[static_cast<size_t>(j)]);
            y.push_back(-goal_[static_cast<size_t>(j)]);
        }
}

void Simplex::inner_point(double* x) {
    const int count = static_cast<int>(basic_.size());
    step_.assign(static_cast<size_t>(stride_), kInfinity);
    double* step = step_.data();
    for (int i = 0; i < count; ++i) {
        const double* from = row(i);
        const double room = from[dim_] > 0.0 ? from[dim_] : 0.0;
        for (int j = 0; j < dim_; ++j) {
            const double here = from[j] < -kZero ? room / -from[j] : kInfinity;
            step[j] = here < step[j] ? here : step[j];
        }
    }
    for (int j = 0; j < dim_; ++j) step[j] = step[j] < kInfinity ? step[j] / (dim_ + 1) : 0.0;
    for (int k = 0; k < dim_; ++k) {
        const int w = where_[static_cast<size_t>(k)];
        double v = lo_[static_cast<size_t>(k)];
        if (w < 0) {
            v += step[~w];
        } else {
            v += row(w)[dim_];
            for (int j = 0; j < dim_; ++j) v += row(w)[j] * step[j];
        }
        x[k] = v;
    }
}

}  // namespace plv
