// A network over a box as linear relaxations see it: layers of units with their linear maps in
// doubles, rounded to nearest, over local coordinates of the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "net/net.hpp"

namespace plv {

// By rows: dense, or compressed.
struct LinearMap {
    int rows = 0, cols = 0;
    bool dense = true;
    std::vector<double> w;
    std::vector<size_t> start;  // rows + 1, where compressed
    std::vector<int32_t> col;
    // Where compressed the rows by the number of their entries: in this order a processor foretells
    // where they end.
    std::vector<int> by_length;

    bool empty() const { return w.empty(); }  // all zero
    template <typename Visit>
    void each(int row, Visit visit) const {
        const auto r = static_cast<size_t>(row), n = static_cast<size_t>(cols);
        if (dense) {
            for (size_t c = 0; c < n && !w.empty(); ++c) visit(static_cast<int>(c), w[r * n + c]);
        } else {
            for (size_t k = start[r]; k < start[r + 1]; ++k) visit(col[k], w[k]);
        }
    }
};

struct BoundLayer {
    struct Block {
        int source;
        LinearMap map;
    };
    int rows = 0;
    std::vector<Block> blocks;  // of the activations of earlier layers
    LinearMap input;            // of the local input; empty if it does not read it
    std::vector<double> bias;
    std::vector<double> size;  // of a row's terms over the input: what rounding is relative to
};

// What an input coordinate is: a constant, or center + 2^exponent times local coordinate `place`.
struct LocalInput {
    int place = -1;
    double center = 0.0;  // or the constant
    int exponent = 0;
};

// Layers of some of a network's units, which the others are affine functions of. Where these are
// not all, `input` maps the inputs, 1, and all units of earlier layers, and there are no blocks.
struct BoundLayers {
    std::vector<BoundLayer> layers;       // the outputs last
    std::vector<std::vector<int>> units;  // of each hidden layer, in order; the columns of its maps

    size_t weights() const {
        size_t out = 0;
        for (const BoundLayer& layer : layers) {
            out += layer.input.w.size();
            for (const BoundLayer::Block& block : layer.blocks) out += block.map.w.size();
        }
        return out;
    }
};

// All units: their places are their numbers.
struct BoundNet : BoundLayers {
    BoundNet(const Net& net, int dim, const std::vector<LocalInput>& inputs);

    const Net& net;
    int dim = 0, depth = 0;
    std::vector<size_t> first_row;  // of each layer in lists of all pre-activations
    size_t rows = 0;                // of all hidden layers

    size_t row(int layer, int unit) const { return first_row[layer] + static_cast<size_t>(unit); }
    size_t unit(int layer, int i) const { return static_cast<size_t>(net.unit_offset[layer] + i); }
};

}  // namespace plv
