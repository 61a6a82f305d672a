// Proofs that exact rows contradict each other, from the vertex that doubles find.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/stop.hpp"
#include "lp/exact.hpp"
#include "lp/simplex.hpp"
#include "search/problem.hpp"

namespace plv {

constexpr size_t kRefinedBits = 256;  // of multipliers
constexpr int kMostRefinements = 12;  // each gives some forty bits

// Solves a square system in doubles, again and again.
class Factors {
public:
    explicit Factors(std::vector<double> matrix, size_t n) : n_(n), m_(std::move(matrix)) {
        for (size_t c = 0; c < n_; ++c) {
            size_t at = c;
            for (size_t r = c + 1; r < n_; ++r)
                if (std::fabs(m_[r * n_ + c]) > std::fabs(m_[at * n_ + c])) at = r;
            swaps_.push_back(at);
            for (size_t k = 0; at != c && k < n_; ++k) std::swap(m_[c * n_ + k], m_[at * n_ + k]);
            for (size_t r = c + 1; r < n_; ++r) {
                const double factor = m_[r * n_ + c] /= m_[c * n_ + c];
                for (size_t k = c + 1; k < n_; ++k) m_[r * n_ + k] -= factor * m_[c * n_ + k];
            }
        }
    }
    void solve(std::vector<double>& b) const {
        for (size_t c = 0; c < n_; ++c) {
            std::swap(b[c], b[swaps_[c]]);
            for (size_t r = c + 1; r < n_; ++r) b[r] -= m_[r * n_ + c] * b[c];
        }
        for (size_t c = n_; c-- > 0;) {
            for (size_t k = c + 1; k < n_; ++k) b[c] -= m_[c * n_ + k] * b[k];
            b[c] /= m_[c * n_ + c];
        }
    }

private:
    size_t n_;
    std::vector<double> m_;
    std::vector<size_t> swaps_;
};

// y over 2^kRefinedBits with sum over i of entry(c, i) y_i = target(c), all of them over 2^scale,
// up to what some refinements leave; `factors` are of the entries times 2^exponent(c).
template <typename Entry, typename Target, typename Exponent>
std::optional<std::vector<Int>> refine(const Factors& factors, size_t size, long scale, Entry entry,
                                       Target target, Exponent exponent) {
    std::vector<Int> y(size);
    for (int round = 0; round < kMostRefinements; ++round) {
        std::vector<double> rest;
        bool exact = true;
        for (size_t c = 0; c < size; ++c) {
            Int sum = target(c) << kRefinedBits;
            for (size_t i = 0; i < size; ++i) sum.sub_mul(y[i], entry(c, i));
            exact = exact && sum.is_zero();
            rest.push_back(
                Int::ratio_scaled(sum, 1, exponent(c) - static_cast<long>(kRefinedBits) - scale));
        }
        if (exact) break;
        factors.solve(rest);
        for (size_t i = 0; i < size; ++i) {
            if (!std::isfinite(rest[i])) return std::nullopt;
            int e = 0;
            const Int m = Int::from_double_scaled(rest[i], e);
            const long by = e + static_cast<long>(kRefinedBits);
            y[i] += by >= 0 ? m << static_cast<size_t>(by) : m >> static_cast<size_t>(-by);
        }
    }
    return y;
}

// A row as doubles over local coordinates, a power of two taken out.
struct FloatRow {
    std::vector<double> a;  // and the constant last
    long exponent = 0;
};

FloatRow to_doubles(const ExactRow& row, const LocalBox& box);

// Multipliers that show that the rows contradict each other on the box, which come first among
// them, where the simplex method finds its vertex: they solve a small system, which is refined
// until rounding does not matter. None where that is not enough.
std::optional<StrictPoint> refute_near(const LocalBox& box, const std::vector<double>& lo,
                                       const std::vector<double>& hi,
                                       const std::vector<ExactRow>& all,
                                       const std::vector<uint8_t>& strict, Simplex& simplex,
                                       StopToken& stop);

}  // namespace plv
