// One network on one domain, ready to be enumerated: the domain in local coordinates with its exact
// corners, and the first layer's rows over them, exact and rounded.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "lp/exact.hpp"
#include "net/net.hpp"
#include "region/exact.hpp"

namespace plv {

// The domain as the bytes give it (docs/developer.md): constraints a . t + c >= 0 and an optional
// affine map into input space.
struct DomainSpec {
    int dim = 0, ambient = 0;
    bool is_slice = false;
    Int slice_scale = 1;
    std::vector<Int> slice;  // ambient x (dim + 1)
    std::vector<ExactRow> constraints;

    static DomainSpec parse(std::string_view bytes);
};

// Throws std::invalid_argument: the domain is empty, or flat.
[[noreturn]] void no_volume(bool empty, int dim);

// Where an edge of a cell comes from.
enum LineKind : int {
    kConstraint = -1,
    kBoxSide = -2
};  // a unit's line carries its layer, 0 or more

template <int D>
struct DomainCorner {
    ExactPoint<D> at;  // local coordinates
    int line = -1;     // 2-D: the edge that leaves the corner; 1-D: the constraint on which it lies
    // From three dimensions on: the facets that meet there.
    std::vector<int> on;
};

template <int D>
struct Problem {
    std::shared_ptr<const Net> net;
    Frame<D> frame;
    bool bounded = true;
    std::vector<ExactLine<D>>
        lines;  // constraints, then the 2 D sides of the symbolic box; local coordinates
    int constraint_count = 0;
    std::vector<DomainCorner<D>> corners;  // counter-clockwise; 1-D: left, right
    std::unique_ptr<ExactNet<D>> exact;
    // What the input and the bias contribute to each layer (the outputs last) over the local
    // coordinates, rounded, by columns, with E_r of each row. Empty where only the bias does.
    struct Input {
        AlignedVector<double> map, error;
    };
    std::vector<Input> input;

    // Throws std::invalid_argument when the domain is empty or not full-dimensional, or its ambient
    // dimension is not the network's input size.
    static std::shared_ptr<const Problem> build(std::shared_ptr<const Net> net,
                                                const DomainSpec& spec);
};

}  // namespace plv
