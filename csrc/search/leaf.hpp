// Writers of the nodes of a dual tree (docs/proof_format.md).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "num/int.hpp"
#include "search/spec.hpp"

namespace plv {

// The multiplier of a unit input.
struct Listed {
    uint64_t number;
    double value;
    bool open;  // of a unit that is neither fixed nor known
};

// A unit that is bounded by its envelope: the shares, in 256ths, of what it reads.
struct ListedEnvelope {
    uint64_t unit;
    std::vector<std::pair<uint64_t, int>> shares;  // by index
};

void put_bounds(std::string& out, int rule);
void put_input_split(std::string& out, uint32_t input, const Rational& value);
void put_unit_split(std::string& out, uint64_t unit);
// A leaf by default slopes, for one goal or, for -1, for none, perhaps with a ball.
void put_rule_leaf(std::string& out, int goal, int ball = -1, double multiplier = 0.0);
// A leaf with multipliers of goals and unit inputs, in any order; those of one number are summed.
void put_leaf(std::string& out, const std::vector<std::pair<int, double>>& goals,
              std::vector<Listed> listed, std::vector<ListedEnvelope> envelopes = {});
void put_exact_leaf(std::string& out, std::vector<std::pair<int, Int>> goals,
                    std::vector<std::pair<uint64_t, Int>> listed);

}  // namespace plv
