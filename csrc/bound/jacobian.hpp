// Bounds of a network's Jacobian on a cell, in doubles: ranges of the gradients of one linear
// function of the outputs, and of combinations of them. Nothing here is proven; a checker computes
// the same with its errors (docs/proof_format.md, "Lipschitz constants").
//
// On a cell a unit multiplies by one of its slopes, and a window passes one of its slots on.
// Backwards that gives intervals of the gradients of all activations. Forwards it bounds a
// combination sum s_j g_j of the input's gradients: the tangent s is pushed through the linear
// maps; behind an open unit, whose tangent is one of several values r_f and whose gradient lies in
// [lo, hi], goes some number m instead, at the price of the largest (r_f - m) g. That is linear
// relaxation (after Z. Shi et al., "Efficiently computing local Lipschitz constants of neural
// networks via bound propagation", NeurIPS 2022), seen from the side of the tangents.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.hpp"
#include "bound/crown.hpp"
#include "bound/kernels.hpp"
#include "bound/layers.hpp"

namespace plv {

// Ranges of gradients in the activations of all units, layer after layer, then in the local input.
struct GradientRanges {
    std::vector<double> lo, hi;
};

class JacobianBounds {
public:
    explicit JacobianBounds(const BoundNet& net);

    GradientRanges unbounded() const;
    // Where the inputs' gradients begin.
    size_t inputs() const { return static_cast<size_t>(net_.net.unit_count); }

    // The slopes that units may have on a cell; for what follows.
    void set_cell(const CellView& cell);
    bool is_open(size_t unit) const { return units_[unit].open; }
    // The slot that a window takes that is not open, as a row of its layer.
    int leader(size_t unit) const { return units_[unit].row; }

    // Ranges of the gradients of output . outputs, intersected with what is known: by intervals,
    // and where `tight`, of the inputs and of layers far from the outputs, by tangents, too.
    void bound(const double* output, bool tight, GradientRanges& ranges);
    // An upper bound of sum slope_j g_j over the local input, with the ranges at hand. Adds to the
    // `weight` of every unit how much its choice of a slope may matter for it.
    double above(const double* output, const double* slope, const GradientRanges& ranges,
                 std::vector<double>& weight);
    // Whether tangents can be better than intervals: two layers of units in a row.
    bool is_deep() const { return input_level_ > 1; }

private:
    struct Unit {
        bool open = false;
        double low = 1.0, high = 1.0;  // slopes
        int row = -1;                  // of a window: the slot that it takes; -1 where it is open
    };

    void spread(const BoundLayer& form, int row, double lo, double hi);
    void settle(size_t first, size_t count, GradientRanges& ranges);
    void bound_inputs_of(int layer, const double* output, GradientRanges& ranges);
    void push(int from, const double* output, const GradientRanges& ranges,
              std::vector<double>* weight);
    void bend(int layer, const GradientRanges& ranges, std::vector<double>* weight);

    const BoundNet& net_;
    const BoundKernels& kernels_;
    std::vector<Unit> units_;
    std::vector<std::vector<int>> slots_;  // of open windows: the rows that may lead; by unit
    std::vector<std::vector<int>> live_, live_rows_;  // what passes anything on, by layer
    std::vector<int> all_;
    std::vector<int> level_;  // layers of units behind a layer
    int input_level_ = 0;
    int lanes_ = 0;
    std::vector<AlignedVector<double>> z_, a_;  // tangents of rows and of activations
    std::vector<uint8_t> reached_;
    AlignedVector<double> input_, total_;
    std::vector<double> sum_lo_, sum_hi_;  // of gradients, as GradientRanges
    std::vector<double> row_lo_, row_hi_;
};

}  // namespace plv
