// One case of a property, ready to be searched: a box and constraints that must hold together, in
// local coordinates for floating point and exactly. Immutable; shared by all threads.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "bound/ball.hpp"
#include "bound/crown.hpp"
#include "bound/layers.hpp"
#include "lp/exact.hpp"
#include "net/scales.hpp"
#include "search/spec.hpp"

namespace plv {

// A constraint, as a function that is <= 0 (or < 0) where it holds.
struct Goal {
    std::vector<std::pair<int, double>> outputs;
    std::vector<double> slope;  // over the local input
    double constant = 0.0;
    bool strict = false;
};

// An input x / den.
struct Witness {
    std::vector<Int> x;
    Int den = 1;
};

// The box of a case: x of free[k] = center + 2^exponent s_k; the other inputs are points.
struct LocalBox {
    // None if an input is unbounded or too large for doubles.
    static std::shared_ptr<const LocalBox> make(const Net& net, const SpecInputs& spec);

    int dim = 0;
    std::vector<uint32_t> free;
    std::vector<LocalInput> inputs;
    std::vector<double> lo, hi;  // of the local coordinates
    LocalBall ball;
    Int common = 1;             // denominator of the inputs that are points
    std::vector<Int> constant;  // their values over it; 0 for the others
    // Of the whole box, found by the first search that has it: cases often share a box.
    struct Roots {
        std::mutex mutex;
        std::shared_ptr<RowBounds> bounds[2];  // by intervals, and by lines after that
        int known = 0;                         // how many; none that is known: the box is empty
        std::shared_ptr<RowBounds> better;     // by ascents after that, with what states them
        std::shared_ptr<const std::string> stated;
        std::vector<double> dependence;  // of the bounds by lines, where boxes are halved
    };
    std::unique_ptr<Roots> roots = std::make_unique<Roots>();
    std::unique_ptr<BoundNet> net;
    std::unique_ptr<Scales> scales;
    std::vector<std::vector<uint64_t>> first_slot;  // number of each unit's first slot

    void make_ball(const SpecBall& from, const SpecInputs& spec);
    // The exact value of x of free[k] at local coordinate s: dyadic.
    Rational value(int k, double s) const;
    // And back, rounded.
    double local(int k, const Rational& x) const;
    // The number of a unit input in the proof format.
    uint64_t number(const Net& net, int layer, int unit, int slot) const;
};

class CaseProblem {
public:
    CaseProblem(std::shared_ptr<const Net> net, const SpecCase& spec,
                std::shared_ptr<const LocalBox> box);

    const Net& net() const { return *net_; }
    const LocalBox& box() const { return *box_; }
    const SpecInputs& inputs() const { return *spec_.inputs; }
    const std::vector<Goal>& goals() const { return goals_; }
    int dim() const { return box_->dim; }
    int depth() const { return box_->net->depth; }

    // Whether outputs at a local point satisfy all goals up to `slack` times their terms.
    bool holds_nearly(const double* s, const double* outputs, double slack, size_t step = 1) const;
    // An exact violation at a local point, moved into the box where it is outside.
    std::optional<Witness> violation_near(const double* s) const;
    // At a point of the box given by its free coordinates.
    std::optional<Witness> violation_at(const std::vector<Rational>& x) const;

    // A pre-activation, less another one where `minus` is not -1, under a pattern, over
    // scales().total[layer]; and scale * (bound - the left side of a constraint).
    ExactRow unit_row(int layer, int entry, int minus, const uint8_t* pattern) const;
    ExactRow goal_row(size_t goal, const uint8_t* pattern, Int& scale) const;
    // outputs += weight times the coefficients of a constraint.
    void add_goal(size_t goal, const Int& weight, std::vector<Int>& outputs) const;

private:
    bool in_ball(const std::vector<Int>& x, const Int& den) const;
    std::vector<Int> outputs_at(const std::vector<Int>& x, const Int& den) const;
    void add_input(int layer, int row, const Int& weight, ExactRow& out) const;

    std::shared_ptr<const Net> net_;
    const SpecCase& spec_;
    std::shared_ptr<const LocalBox> box_;
    std::vector<Goal> goals_;
};

}  // namespace plv
