// Bounds of a network's Jacobian as the checker of Lipschitz constants needs them
// (docs/proof_format.md, "Lipschitz constants").
//
// *Points* are the inputs and, behind them, the outputs of all units. Whatever a unit reads, and
// every output of the network, is one affine function of points; only their gradients matter. A
// cell leaves to every unit some slopes, to every window some slots.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "check/dual_exact.hpp"
#include "check/dual_net.hpp"

namespace plv::check {

// sum num / den * point.
struct GainForm {
    std::vector<uint32_t> at;
    std::vector<Int> num;
    Scale den;
    std::vector<double> weight;  // rounded to nearest
    double size = 0;             // at least the sum of their magnitudes; infinite where unusable
};

// What a tree shows: that the operator norm of `rows` times a Jacobian, in l2 its square, is at
// most num / den.
struct GainGoal {
    enum class Norm : uint8_t { l1, l2, linf };
    Norm norm = Norm::l2;
    std::vector<GainForm> rows;
    Int num, den = 1;
};

struct GainGraph {
    explicit GainGraph(const DualNet& net);

    const DualNet& net;
    uint32_t points = 0;            // inputs, then units
    std::vector<GainForm> forms;    // of what units read
    std::vector<uint32_t> form_of;  // of a unit input
    std::vector<uint32_t> level;    // by node of units: how many such nodes lie behind it
    uint32_t input_level = 0;
    double terms = 0;  // at least the summands of any gradient or form

    uint32_t inputs() const { return net.net.input_size; }
    // Of combinations of the network's outputs, one row of numerators and a denominator.
    GainForm output_form(const std::vector<Int>& row, const Int& den) const;

private:
    GainForm expand(uint32_t entry) const;
    void finish(GainForm& form) const;
};

// Ranges of the gradients of one row in all points.
struct GainRanges {
    explicit GainRanges(size_t points);  // anything
    std::vector<double> lo, hi;
};

// What a cell leaves to the units.
struct GainSlopes {
    GainSlopes(const GainGraph& graph, const Cell& cell);

    struct Unit {
        bool open = false;
        bool is_active = false;         // of two pieces: known to be on the one of slope 1
        double low = 1, high = 1;       // slopes, rounded; of windows 1
        uint32_t first = 0, count = 0;  // in `forms`: what it may pass on
    };
    std::vector<Unit> units;
    std::vector<uint32_t> forms;
};

// In doubles, with all errors added.
class GainDoubles {
public:
    GainDoubles(const GainGraph& graph, std::function<void()> tick);

    // Narrows the ranges of all rows' gradients.
    void bound(const GainGoal& goal, const Cell& cell, bool tight, std::vector<GainRanges>& ranges);
    // Whether the goal is met on the cell for sure.
    bool is_met(const GainGoal& goal, const Cell& cell, const std::vector<GainRanges>& known);

private:
    void propagate(const GainForm& row, const GainSlopes& slopes, bool tight, GainRanges& ranges);
    void settle(uint32_t first, uint32_t count, GainRanges& ranges) const;
    void single(uint32_t node, const GainForm& row, const GainSlopes& slopes, GainRanges& ranges);
    void push(uint32_t from, const GainForm& row, const GainSlopes& slopes,
              const GainRanges& ranges);
    void bend(uint32_t unit, const GainSlopes& slopes, const GainRanges& ranges);
    void multiply(const GainForm& form, double* to) const;
    double by_chords(const GainGoal& goal, const GainSlopes& slopes, const GainRanges& ranges);
    bool spectral(const GainGoal& goal, const std::vector<GainRanges>& ranges) const;

    const GainGraph& graph_;
    std::function<void()> tick_;
    double relative_ = 0;  // error of a sum, per size of its terms
    std::vector<double> lo_, hi_, size_;
    size_t lanes_ = 0;
    std::vector<double> tangent_, most_tangent_, total_, total_size_;
    std::vector<double> now_, least_, most_, error_;
    std::vector<uint8_t> reached_;
};

// Whether the goal is met by intervals alone, exactly: where doubles leave it open.
bool is_met_exactly(const GainGraph& graph, const GainGoal& goal, const Cell& cell,
                    const std::vector<GainRanges>& known);

// Whether a leaf of a bound that is exactly 0 shows that its cell has no interior: some fixed unit
// with a multiplier is at its kink all over the cell, though it is not constant there.
bool is_thin(const GainGraph& graph, const Cell& cell, const std::vector<Multiplier>& given);

}  // namespace plv::check
