// Enumeration of activation regions with cells given by inequalities: any dimension, and the
// source of proofs.
//
// The split tree is that of enumerate.hpp, but a cell is its list of half-spaces. Whether a unit
// crosses a cell is a question of linear programming: the cell holds a few *points* that are
// verified to lie inside, strictly; where they lie on both sides nothing needs to be solved. For a
// side without a point a walk over vertices (lp/simplex.hpp, from the vertex at which the parent
// stopped) proposes a point or multipliers that show the side empty. Both are verified in floating
// point inside proven bounds; what they do not decide is asked of exact arithmetic (lp/exact.hpp).
//
// The multipliers are what a proof of completeness consists of (docs/proof_format.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned.hpp"
#include "base/stop.hpp"
#include "lp/exact.hpp"
#include "net/net.hpp"
#include "net/scales.hpp"
#include "region/enumerate.hpp"
#include "region/problem.hpp"

namespace plv {

// One network on one domain. Local coordinates s: t_k = center_k + 2^exponent_k s_k.
struct HalfspaceProblem {
    std::shared_ptr<const Net> net;
    int dim = 0;
    std::vector<ExactRow> constraints;  // over t, as given
    std::vector<double> center;
    std::vector<int> exponent;
    // Proven bounds of the domain in s, rounded outward, infinite where there are none; inward,
    // those of the constraints on one coordinate: a point strictly between satisfies them strictly.
    std::vector<double> lo, hi, in_lo, in_hi;
    // As lo and hi, of the constraints on one coordinate alone: what a proof may use.
    std::vector<double> plain_lo, plain_hi;
    // Finite ones for the simplex method; where lo or hi is infinite they are arbitrary.
    std::vector<double> box_lo, box_hi;
    double reach = 1.0;         // largest |s_k| in that box
    std::vector<int> others;    // constraints on more than one coordinate
    std::vector<double> start;  // a point strictly inside, verified; empty where none was found

    // What input and bias contribute to each layer (the outputs last): over t exactly, over s
    // rounded, by columns, with the error and the size of each row, summed over its columns.
    std::vector<std::vector<ExactRow>> input;
    std::unique_ptr<Scales> scales;
    struct Input {
        AlignedVector<double> map, error, size;
    };
    std::vector<Input> rounded;

    // Row of a pre-activation (as pull_back) over t; the function is row / scales->total[layer].
    ExactRow row(int layer, int entry, int minus, const uint8_t* pattern) const;
    // a . t + c over `scale` as a row over s, dim + 1 entries, and its error.
    double to_local(const ExactRow& row, const Int& scale, double* out) const;
    // An exact point rounded to s.
    void to_local(const StrictPoint& point, double* s) const;
    // Whether a row is positive at a point of doubles in s, exactly.
    bool inside(const double* s, const ExactRow& row) const;

    // Throws std::invalid_argument when the domain has no interior or does not fit the network;
    // Stopped when stopped.
    static std::shared_ptr<const HalfspaceProblem> build(std::shared_ptr<const Net> net,
                                                         const DomainSpec& spec, StopToken& stop);
};

// Regions in walking order, as flat arrays.
struct HalfspaceBatch {
    int64_t subtree = 0;
    int64_t count = 0;
    std::vector<uint8_t> patterns;  // count x pattern_bytes
    std::vector<double> points;     // count x dim: strictly inside, but for rounding to t
    std::vector<double> jacobian;   // count x outputs x dim
    std::vector<double> offset;     // count x outputs
};

struct HalfspaceSink {
    std::function<void(HalfspaceBatch&&)> regions;  // null: none wanted
    bool prove = false;
    int64_t batch = 4096;
};

struct HalfspaceResult : EnumerateResult {
    std::string proof;  // body of the proof, where wanted and complete
};

HalfspaceResult enumerate_halfspaces(const HalfspaceProblem& problem, int threads,
                                     const HalfspaceSink& sink, StopToken& stop,
                                     std::atomic<int64_t>* progress = nullptr);

}  // namespace plv
