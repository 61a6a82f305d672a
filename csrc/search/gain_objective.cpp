#include "search/gain_objective.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

namespace {

// The largest eigenvalue of a symmetric matrix, by Jacobi's rotations: to the last digits.
double largest_eigenvalue(std::vector<double>& a, size_t n) {
    for (int sweep = 0; sweep < 30; ++sweep) {
        double off = 0.0, size = 0.0;
        for (size_t p = 0; p < n; ++p)
            for (size_t q = 0; q < n; ++q) (p == q ? size : off) += a[p * n + q] * a[p * n + q];
        if (!(off > 1e-30 * size)) break;
        for (size_t p = 0; p < n; ++p)
            for (size_t q = p + 1; q < n; ++q) {
                if (a[p * n + q] == 0.0) continue;
                const double turn = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
                const double t =
                    std::copysign(1.0, turn) / (std::fabs(turn) + std::sqrt(turn * turn + 1.0));
                const double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
                for (size_t k = 0; k < n; ++k) {
                    const double x = a[k * n + p], y = a[k * n + q];
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for (size_t k = 0; k < n; ++k) {
                    const double x = a[p * n + k], y = a[q * n + k];
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                }
            }
    }
    double most = a[0];
    for (size_t p = 1; p < n; ++p) most = std::max(most, a[p * n + p]);
    return most;
}

}  // namespace

GainObjective::GainObjective(const GainQuestion& question, const CaseProblem& problem)
    : question_(question),
      problem_(problem),
      dim_(static_cast<size_t>(problem.dim())),
      outputs_(static_cast<size_t>(problem.net().output_size())) {
    for (const Int& w : question.weights) weights_.push_back(Int::ratio(w, question.den));
    for (const uint32_t i : problem.box().free)
        unit_.push_back(std::ldexp(1.0, -problem.box().inputs[i].exponent));
}

// From the sizes of all entries.
double GainObjective::sum_of_columns(const std::vector<double>& sizes) const {
    double most = 0.0;
    for (size_t k = 0; k < dim_; ++k) {
        double sum = 0.0;
        for (size_t r = 0; r < sizes.size() / dim_; ++r) sum += sizes[r * dim_ + k];
        most = std::max(most, sum);
    }
    return most;
}

double GainObjective::value(const std::vector<double>& gradients) const {
    std::vector<double> g(gradients);
    for (size_t i = 0; i < g.size(); ++i) g[i] *= unit_[i % dim_];
    return value_of(g);
}

double GainObjective::value_of(const std::vector<double>& g) const {
    const size_t rows = g.size() / dim_;
    if (question_.norm == Norm::l2) {
        std::vector<double> gram(rows * rows, 0.0);
        for (size_t p = 0; p < rows; ++p)
            for (size_t q = 0; q < rows; ++q)
                for (size_t k = 0; k < dim_; ++k)
                    gram[p * rows + q] += g[p * dim_ + k] * g[q * dim_ + k];
        return largest_eigenvalue(gram, rows);
    }
    std::vector<double> sizes;
    for (const double v : g) sizes.push_back(std::fabs(v));
    if (question_.norm == Norm::l1) return sum_of_columns(sizes);
    double most = 0.0;
    for (size_t r = 0; r < rows; ++r) {
        double sum = 0.0;
        for (size_t k = 0; k < dim_; ++k) sum += sizes[r * dim_ + k];
        most = std::max(most, sum);
    }
    return most;
}

double GainObjective::above(const std::vector<GradientRanges>& ranges, size_t inputs) const {
    const size_t rows = ranges.size();
    std::vector<double> most(rows * dim_), centre(rows * dim_), radius(rows * dim_);
    for (size_t r = 0; r < rows; ++r)
        for (size_t k = 0; k < dim_; ++k) {
            const double lo = ranges[r].lo[inputs + k], hi = ranges[r].hi[inputs + k];
            most[r * dim_ + k] = std::max(-lo, hi) * unit_[k];
            centre[r * dim_ + k] = (lo + hi) / 2;
            radius[r * dim_ + k] = (hi - lo) / 2 * unit_[k];
        }
    if (question_.norm == Norm::l1) return sum_of_columns(most);
    double sizes = 0.0;
    for (const double v : most) sizes += question_.norm == Norm::l2 ? v * v : v;
    if (!is_spectral()) return sizes;
    // Or the norm of the centre and that of what is added to it.
    double frobenius = 0.0, rows_most = 0.0;
    for (size_t r = 0; r < rows; ++r) {
        double sum = 0.0;
        for (size_t k = 0; k < dim_; ++k) {
            const double v = radius[r * dim_ + k];
            frobenius += v * v;
            sum += v;
        }
        rows_most = std::max(rows_most, sum);
    }
    const double apart = std::min(frobenius, rows_most * sum_of_columns(radius));
    const double norm = std::sqrt(std::max(0.0, value(centre))) + std::sqrt(apart);
    return std::min(sizes, norm * norm);
}

double GainObjective::chords(const GradientRanges& ranges, size_t inputs,
                             std::vector<double>& s) const {
    double constant = 0.0;
    s.resize(dim_);
    for (size_t k = 0; k < dim_; ++k) {
        const double lo = ranges.lo[inputs + k] * unit_[k], hi = ranges.hi[inputs + k] * unit_[k];
        if (question_.norm == Norm::l2) {
            s[k] = lo + hi;
            constant -= lo * hi;
        } else if (lo >= 0.0 || hi <= 0.0) {
            s[k] = lo >= 0.0 ? 1.0 : -1.0;
        } else {
            s[k] = (hi + lo) / (hi - lo);
            constant -= 2.0 * hi * (lo / (hi - lo));
        }
        s[k] *= unit_[k];
    }
    return constant;
}

std::vector<Int> GainObjective::exact_gradients(const uint8_t* pattern) const {
    std::vector<Int> gradients(rows() * dim_);
    for (size_t j = 0; j < outputs_; ++j) {
        bool used = false;
        for (size_t r = 0; r < rows(); ++r)
            used = used || !question_.weights[r * outputs_ + j].is_zero();
        if (!used) continue;
        const ExactRow row = problem_.unit_row(problem_.depth(), static_cast<int>(j), -1, pattern);
        for (size_t r = 0; r < rows(); ++r)
            for (size_t k = 0; k < dim_; ++k)
                gradients[r * dim_ + k].add_mul(row.a[k], question_.weights[r * outputs_ + j]);
    }
    return gradients;
}

Int GainObjective::exact(const std::vector<Int>& gradients) const {
    std::vector<Int> sums(question_.norm == Norm::l1 ? dim_ : rows());
    for (size_t i = 0; i < gradients.size(); ++i) {
        const Int& g = gradients[i];
        if (question_.norm == Norm::l2)
            sums[i / dim_].add_mul(g, g);
        else
            sums[question_.norm == Norm::l1 ? i % dim_ : i / dim_] += g.sign() < 0 ? -g : g;
    }
    return *std::max_element(sums.begin(), sums.end());
}

double GainObjective::to_double(const Int& exact) const {
    const Int scale = problem_.box().scales->total[problem_.depth()] * question_.den;
    return Int::ratio(exact, question_.norm == Norm::l2 ? scale * scale : scale);
}

double GainObjective::to_double(const std::vector<Int>& gradients) const {
    const Int scale = problem_.box().scales->total[problem_.depth()] * question_.den;
    std::vector<double> g;
    for (const Int& v : gradients) g.push_back(Int::ratio(v, scale));
    return value_of(g);
}

}  // namespace plv
