// Linear relaxation of a network over a box (CROWN: Zhang et al., NeurIPS 2018) in doubles: bounds
// of pre-activations and of linear functions of the outputs. Nothing here is proven; the search
// writes down multipliers that a checker evaluates exactly.
#pragma once

#include <cstdint>
#include <vector>

#include "net/net.hpp"

namespace plv {

// Lower and upper values of every pre-activation, layer after layer.
struct LayerBounds {
    std::vector<std::vector<double>> lo, hi;
};

// A linear function over the input box that bounds a function of the network from below, and the
// multipliers that make it so: of the units that are neither fixed nor known.
struct LinearBound {
    std::vector<double> slope;  // one per input coordinate
    double constant = 0.0;
    double least = 0.0;  // its minimum over the box
    double size = 0.0;   // of the terms that were added up: what rounding is relative to
    struct Multiplier {
        int layer, unit, slot;  // slot 0 for a unit of two pieces
        double h, g;            // of the pre-activation, and of the activation
        bool chord;             // the bound is the chord, which only a split improves
    };
    std::vector<Multiplier> multipliers;
};

class Crown {
public:
    // What the input and the bias contribute to each layer (the outputs last), by columns: dim + 1
    // of them, each padded(rows) long.
    Crown(const Net& net, int dim, std::vector<const double*> input);

    // Pieces of units that are fixed on the way to a node: -1 for the others, layer after layer.
    using Fixed = std::vector<std::vector<int8_t>>;
    Fixed nothing_fixed() const;
    LayerBounds no_bounds() const;

    // Bounds over a box, intersected with those given. False if they contradict each other.
    bool tighten(const double* lo, const double* hi, const Fixed& fixed, LayerBounds& bounds) const;

    // coefficients . pre-activations of a layer (the layer count: of the outputs) + slope . s +
    // constant from below. Of the lines through zero that bound a unit the one is taken that is
    // nearer at the pre-activations `at`, where given: so the bound is as good as it can be there.
    using Values = std::vector<std::vector<double>>;
    void below(int layer, const std::vector<double>& coefficients, const double* slope,
               double constant, const double* lo, const double* hi, const Fixed& fixed,
               const LayerBounds& bounds, LinearBound& out, const Values* at = nullptr) const;

    // The pre-activations of every layer at a point, the outputs last.
    Values values(const double* s) const;
    // How far the relaxation of a unit of two pieces is from the unit, at most, at value z.
    double gap(int layer, int unit, double z, const LayerBounds& bounds) const;

    // Whether a unit of two pieces is surely on one side: 1, 0, or -1 for not surely. Values near
    // zero are not.
    static int known(double lo, double hi);

private:
    struct Block {
        int source, cols;
        std::vector<double> w;  // by rows
    };
    struct Form {
        int rows = 0;
        std::vector<Block> blocks;
        std::vector<double> input;       // rows x dim
        std::vector<double> bias, size;  // size: of a row's terms over the inputs
    };
    struct Batch;
    void push(int layer, const std::vector<double>& a, size_t m, Batch& batch) const;
    void pull(int layer, size_t m, int sign, const Fixed& fixed, const LayerBounds& bounds,
              Batch& batch, std::vector<LinearBound::Multiplier>* multipliers,
              const Values* at) const;
    void unit_range(int l, int unit, const Fixed& fixed, const LayerBounds& bounds, double& lo,
                    double& hi) const;

    const Net& net_;
    const int dim_, depth_;
    std::vector<Form> forms_;
};

}  // namespace plv
