// Complete search for a violation of a property, and the split tree that shows that there is none.
//
// A node is a box of inputs and units whose pieces are fixed. Bounds by linear relaxation refute
// it, or the box is halved (few inputs, many open units) where the relaxation loses most, or an
// open unit of the earliest layer that has one is split: then all units below are known, its
// pre-activation is affine in the input, and a small linear program joins the rows of the fixed
// units with the relaxed constraints. Where no unit is open the program is exact, so every branch
// ends. Nodes with the least bounds come first, and attacks start from them.
//
// Bounds and programs in floating point prove nothing here: they yield multipliers, which a checker
// evaluates exactly (docs/proof_format.md), and points, which are verified exactly.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/stop.hpp"
#include "net/net.hpp"
#include "search/spec.hpp"

namespace plv {

struct VerifyResult {
    enum class Status { sat, unsat, unknown } status = Status::unknown;
    int disjunct = -1;
    std::vector<Int> witness;  // sat: over den
    Int den = 1;
    std::string proof;  // unsat: trees of all cases
    int64_t nodes = 0, leaves = 0, programs = 0, exact_programs = 0;
    double cpu_seconds = 0.0;
};

// Nodes are shared among the threads. Without `attack` violations are found only where the search
// comes upon them: for a caller that knows that there is hardly one. Throws Stopped when stopped.
VerifyResult verify(std::shared_ptr<const Net> net, const Spec& spec, int threads, bool attack,
                    StopToken& stop, std::atomic<int64_t>* progress);

}  // namespace plv
