// One common scale for all pre-activations of a layer, and exact rows by pulling back through them.
#pragma once

#include <functional>
#include <vector>

#include "net/net.hpp"
#include "num/int.hpp"

namespace plv {

// All pre-activations of layer l (the last: the outputs) are integers over one positive scale
// `total[l]`. What the input and the bias contribute is given over scales of its own; `input[l]`
// and `block[l][b]` are the factors that bring it and block b to the common one.
struct Scales {
    Scales(const Net& net, const std::vector<Int>& input_scales);
    std::vector<Int> total, input;
    std::vector<std::vector<Int>> block;
};

// values *= factor.
void scale_all(std::vector<Int>& values, const Int& factor);
// v *= the factor of the unit's piece, over 2^slope_shift.
void apply_piece(const Layer& layer, int unit, bool on, Int& v);

// Pre-activation `entry` of layer `layer`, less `minus` where that is not -1, under the pieces of a
// flat pattern, as a combination of the contributions of the input and the bias: calls
// visit(l, i, weight) for row i of layer l. The sum is over total[layer].
void pull_back(const Net& net, const Scales& scales, int layer, int entry, int minus,
               const uint8_t* pattern,
               const std::function<void(int l, int i, const Int& weight)>& visit);

}  // namespace plv
