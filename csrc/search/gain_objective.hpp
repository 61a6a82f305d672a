// Norms of Jacobians: of one at a point, of all whose entries lie in ranges, and exactly.
#pragma once

#include <vector>

#include "bound/jacobian.hpp"
#include "search/gain.hpp"
#include "search/problem.hpp"

namespace plv {

// The operator norm of the question's rows times a Jacobian, in l2 its square; gradients are over
// the local input.
class GainObjective {
public:
    GainObjective(const GainQuestion& question, const CaseProblem& problem);

    size_t rows() const { return question_.rows; }
    const double* weights(size_t row) const { return &weights_[row * outputs_]; }
    // Of several rows in l2: an eigenvalue, which is no rational number.
    bool is_spectral() const { return question_.norm == GainQuestion::Norm::l2 && rows() > 1; }
    // Whether a linear function of one row's gradient bounds its norm (chords()).
    bool has_chords() const { return question_.by_rows() && question_.norm != Norm::l1; }

    // Of matrices by rows: rows x dim.
    double value(const std::vector<double>& gradients) const;
    // The most it can be for entries within ranges.
    double above(const std::vector<GradientRanges>& ranges, size_t inputs) const;
    // Of one row: returns c and sets s so that its norm is at most c + s . gradient.
    double chords(const GradientRanges& ranges, size_t inputs, std::vector<double>& s) const;
    // A pattern's gradients, rows x dim, over a scale that is the same for all patterns.
    std::vector<Int> exact_gradients(const uint8_t* pattern) const;
    // Their norm, but for spectral norms, and it in doubles.
    Int exact(const std::vector<Int>& gradients) const;
    double to_double(const Int& exact) const;
    double to_double(const std::vector<Int>& gradients) const;

private:
    using Norm = GainQuestion::Norm;
    double sum_of_columns(const std::vector<double>& sizes) const;
    double value_of(const std::vector<double>& matrix) const;

    const GainQuestion& question_;
    const CaseProblem& problem_;
    const size_t dim_, outputs_;
    std::vector<double> weights_;
    std::vector<double> unit_;  // what the gradient in a local input is multiplied by
};

}  // namespace plv
