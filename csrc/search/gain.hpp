// The largest norm of a Jacobian among the activation regions that meet the interior of a box or
// polytope: branch and bound over the units' pieces, with an incumbent, best bound first.
//
// A node is a set of fixed units. Bounds of pre-activations (Crown) show which units have a slope
// of their own; ranges of gradients and tangents (JacobianBounds) bound the norm of what is left.
// A node whose bound is not above the incumbent is a leaf; one whose fixed units contradict each
// other, by a small linear program, too; otherwise the open unit that matters most for the bound
// is split, in whatever layer it is. Where no unit is open the Jacobian is one matrix, and exact
// arithmetic decides whether the region has an interior, which is then the new incumbent.
//
// The answer is for the checker to confirm (docs/proof_format.md, "Lipschitz constants"): the
// search writes trees, and where it is stopped, trees of what is known by then.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/stop.hpp"
#include "net/net.hpp"
#include "search/spec.hpp"

namespace plv {

struct GainQuestion {
    enum class Norm { l1, l2, linf };
    Norm norm = Norm::l2;
    SpecCase domain;  // its constraints are about inputs only
    // Combinations of the outputs, by rows, integers over one positive denominator.
    size_t rows = 0;
    std::vector<Int> weights;
    Int den = 1;

    // Whether rows have trees of their own; else there is one for all of them.
    bool by_rows() const { return norm == Norm::linf || rows == 1; }
};

struct GainResult {
    bool complete = false;
    bool unknown = false;  // floating point and exact arithmetic disagree about a unit
    // A proposed upper end: the norm, in l2 its square.
    double upper = 0.0;
    // Whether the incumbent's norm is the constant, exactly.
    bool attained = false;
    bool has_witness = false;
    std::vector<Int> witness;  // over den: inside a region with the largest norm that was found
    Int den = 1;
    std::string proof;
    int64_t nodes = 0, leaves = 0, programs = 0, exact_programs = 0;
    double cpu_seconds = 0.0;
};

// Does not throw Stopped: a search that is stopped returns what it has.
GainResult largest_jacobian(std::shared_ptr<const Net> net, const GainQuestion& question,
                            StopToken& stop, std::atomic<int64_t>* progress);

}  // namespace plv
