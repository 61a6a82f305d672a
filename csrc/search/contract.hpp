// What goals and fixed units leave of a node's box, by propagation of bounds (feasibility-based
// bound tightening), and the unit whose split promises most there. Only a choice of the search
// rests on it, no proof.
#pragma once

#include <vector>

#include "bound/crown.hpp"

namespace plv {

class Contraction {
public:
    explicit Contraction(const BoundNet& net);

    struct Pick {
        int layer = -1, unit = -1;
    };
    // False if nothing is left. The lines of `crown` are those of what is left then.
    bool contract(const CellView& cell, Crown& crown, const std::vector<LinearForm>& goals);
    // After that: of the first layer with open units, that which costs the goals most itself and
    // narrows the inputs on which the cost of others depends.
    Pick pick(const CellView& cell, Crown& crown);

private:
    // A pre-activation that reads the input alone.
    struct Row {
        int layer, unit;
        size_t begin;  // of its terms
    };
    CellView view(const CellView& cell);
    bool lower(int k, double value);
    bool raise(int k, double value);
    bool pass(const Row& row, size_t end, const CellView& cell);
    bool pass_goal(size_t goal, const CellView& cell, Crown& crown);

    const BoundNet& net_;
    std::vector<Row> direct_;
    std::vector<size_t> row_of_;  // of each pre-activation: its place in direct_, or none
    std::vector<int> input_;
    std::vector<double> weight_;
    std::vector<double> lo_, hi_, width_;
    // By the box, and what the goals ask beyond that. Lines and costs go by the first: what a goal
    // asks of a unit is a constraint on the inputs as long as the box does not imply it.
    RowBounds bounds_, implied_;
    bool moved_ = false;
    std::vector<LinearBound> below_;
    std::vector<std::vector<Multiplier>> used_;
    std::vector<double> loss_, gain_;
};

}  // namespace plv
