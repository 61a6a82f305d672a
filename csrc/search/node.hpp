// Nodes of the split tree that wait to be visited, and the proof as it comes together.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bound/crown.hpp"

namespace plv {

// A unit that is fixed on the path to a node.
struct FixedUnit {
    int layer, unit, piece;
};

// A part of a proof that waits for the parts of its children.
struct ProofPart {
    std::shared_ptr<ProofPart> parent;
    int place = 0;     // among the parent's children
    std::string head;  // what comes before the children
    std::vector<std::string> children;
    int missing = 0;
};

struct Node {
    std::vector<double> lo, hi;           // over the local input
    std::vector<uint8_t> cut_lo, cut_hi;  // an end that is not the box's own
    std::vector<FixedUnit> path;
    std::vector<int8_t> pieces;  // of every unit; -1 for those that are not fixed
    RowBounds bounds;
    int halvings = 0;
    bool units = false;  // from here on units are split
    std::shared_ptr<ProofPart> part;
    int place = 0;

    CellView cell() { return {lo.data(), hi.data(), pieces.data(), bounds}; }
};

}  // namespace plv
