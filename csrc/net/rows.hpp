// Affine functions of a region in integers.
#pragma once

#include <vector>

#include "net/net.hpp"
#include "net/scales.hpp"

namespace plv {

class PulledRows {
public:
    explicit PulledRows(const Net& net);
    // Pre-activation `entry` of a layer (the last: an output) under a flat pattern, less `minus`
    // where that is not -1: a positive multiple of it, the constant last.
    std::vector<Int> row(int layer, int entry, int minus, const uint8_t* pattern) const;

private:
    const Net& net_;
    Scales scales_;
};

}  // namespace plv
