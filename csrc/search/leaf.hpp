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

// A unit that is bounded by a function of the input: of a unit of two pieces shares of what it
// reads, in 256ths; of a window coefficients over 2^shift. By index.
struct ListedEnvelope {
    uint64_t unit;
    std::vector<std::pair<uint64_t, Int>> terms;
    bool is_window = false;
    uint64_t shift = 0;
};

void put_bounds(std::string& out, int rule);
void put_input_split(std::string& out, uint32_t input, const Rational& value);
void put_unit_split(std::string& out, uint64_t unit);
// A leaf by default slopes, for one goal or, for -1, for none, perhaps with a ball.
void put_rule_leaf(std::string& out, int goal, int ball = -1, double multiplier = 0.0);
// A leaf with multipliers of goals and unit inputs, in any order; those of one number are summed.
void put_leaf(std::string& out, const std::vector<std::pair<int, double>>& goals,
              std::vector<Listed> listed, std::vector<ListedEnvelope> envelopes = {});
// A bound of a unit input, from below or above.
void put_statement(std::string& out, uint64_t input, bool upper, std::vector<Listed> listed,
                   std::vector<ListedEnvelope> envelopes);
void put_exact_leaf(std::string& out, std::vector<std::pair<int, Int>> goals,
                    std::vector<std::pair<uint64_t, Int>> listed);

}  // namespace plv
