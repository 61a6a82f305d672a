// The affine functions of a tree's cells: what every tensor is on the cell, twice.
//
// An *entry* is one affine function of the domain's coordinates t: a constraint of the domain, or
// one entry of a tensor of the network on the current cell. Entries of all tensors are numbered one
// after the other. Each has two forms:
//
// * Doubles, always there, with a proven bound of their error. They are functions of local
//   coordinates s with t_k = centre_k + 2^e_k s_k, in which the box that the constraints imply is
//   |s_k| <= 1 or little more, so that a box off the origin costs no digits.
// * Integers over the tensor's denominator, as functions of t, made when they are asked for.
//
// Errors. u = 2^-53. An entry has coefficients x^_c (dim of them and a constant), the exact ones
// are x_c, and error >= sum_c |x^_c - x_c|, size = sum_c |x^_c|. So |x(s) - x^(s)| <= error r for
// all s, where r = max(1, |s|_inf).
//
// * What no unit is below of is computed exactly and rounded once: error 2 u size.
// * A linear row sum_j w_j x_j + b of n terms, the weights rounded to w^_j: every sum rounds to
//   within (n + 1) u of the sum of the terms' magnitudes, and so do the weights with one u more,
//   hence error <= sum_j |w^_j| ((1 + 2 u) error_j + (n + 4) u size_j) + (n + 4) u |b^|.
// * A piece multiplies by a slope that is rounded once: |f^| ((1 + 2 u) error + 4 u size).
//
// These are sums of numbers >= 0, computed to within a relative error of a few u times the number
// of terms, which a factor 1 + (terms + 64) 2^-51 absorbs. Underflow: an operation loses at most
// 2^-1074, which reaches a row times some other factor. Rows with a size or an error above 1e150
// get an infinite error, and 1e-150 is added to every other one; so a lost amount is at most 1e150
// 2^-1074 times the number of terms, far below. Overflow gives an infinite or undefined size,
// hence an infinite error, and nothing is decided by it: comparisons with NaN are false.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "check/net.hpp"
#include "num/int.hpp"

namespace plv::check {

inline constexpr double kUnit = 0x1p-53;
inline constexpr uint32_t kNone = ~uint32_t{0};

// Covers the rounding of a sum of `terms` numbers >= 0.
inline double slack(size_t terms) { return 1.0 + static_cast<double>(terms + 64) * 0x1p-51; }

// Bounds of the coordinates, from the constraints with one nonzero coefficient.
struct Box {
    struct End {
        bool finite = false;
        Int num;           // over Box::den
        double local = 0;  // in local coordinates, rounded once
    };
    std::vector<End> lower, upper;
    Scale den;
    double reach = 1;  // >= |s_k| for all finite ends of bounded coordinates, and >= 1
};

// A layer: a node of units.
struct Layer {
    uint32_t node = 0;
    uint32_t first = 0;  // flat number of its first unit
    uint32_t count = 0;
    bool is_max = false;
    uint32_t base = 0;             // entry of the first pre-activation (not of windows)
    std::vector<uint8_t> single;   // slope exactly 1: one piece
    uint32_t slots = 0;            // of windows
    std::vector<uint32_t> inputs;  // entry of slot k of window w at w * slots + k, or kNone
};

class Maps {
public:
    Maps(const Net& net, const Domain& domain);

    size_t dim() const { return dim_; }
    // Of all tensors, then of the constraints.
    size_t entries() const { return entries_; }
    const std::vector<Layer>& layers() const { return layers_; }
    const Box& box() const { return box_; }

    // Computes the doubles of a layer's pre-activations; all layers below have their pieces.
    void enter(size_t layer, const int32_t* pieces);

    // --- doubles ---
    const double* column(size_t c) const { return &value_[c * entries_]; }
    double at(uint32_t entry, size_t c) const { return value_[c * entries_ + entry]; }
    double error(uint32_t entry) const { return error_[entry]; }
    double size(uint32_t entry) const { return size_[entry]; }
    // error and the rounding of one evaluation at a point that is rounded once, to be multiplied by
    // max(1, |s|_inf).
    const double* tolerance() const { return tolerance_.data(); }
    // The local coordinate of p / 2^depth, rounded once.
    double local(const Int& p, uint64_t depth, size_t k) const;

    // --- integers ---
    // dim + 1 of them, over den(entry).
    const Int* exact(uint32_t entry);
    const Scale& den(uint32_t entry) const { return den_[tensor_of(entry)]; }
    bool is_zero(uint32_t entry);

private:
    void place(const Domain& domain);
    void find_box(const Domain& domain);
    void lay_out(const Domain& domain);
    void find_static_entries(const Domain& domain);
    void round_static(uint32_t entry);

    uint32_t source(uint32_t node, uint32_t joined) const {
        return gather_[node].empty() ? base_[net_.nodes[node].sources[0]] + joined
                                     : gather_[node][joined];
    }
    uint32_t tensor_of(uint32_t entry) const { return tensor_[entry]; }
    double* row(size_t c) { return &value_[c * entries_]; }

    void pass_units(uint32_t node, const int32_t* pieces);
    void pass_dense(uint32_t node);
    void pass_terms(uint32_t node);
    void bound(uint32_t entry, size_t terms);

    bool is_known(uint32_t entry) const {
        const uint32_t tensor = tensor_[entry];
        return is_static_[tensor] || made_[entry] == epoch_[segment_[tensor]];
    }
    Int* room(uint32_t entry);
    void want(uint32_t entry);
    void make(uint32_t entry);
    int32_t piece_of(uint32_t node, uint32_t unit) const;

    const Net& net_;
    size_t dim_;
    size_t entries_ = 0;
    std::vector<Layer> layers_;
    Box box_;
    std::vector<Int> centre_;             // centre_[k] * 2^centre_exp_[k]
    std::vector<long> centre_exp_, exp_;  // 2^exp_[k] is the unit of s_k

    // Tensors; the constraints are one more, the last.
    std::vector<uint32_t> base_;      // first entry
    std::vector<Scale> den_;          // of the integers
    std::vector<uint8_t> is_static_;  // no unit below
    std::vector<uint32_t> segment_;   // the layer whose `enter` makes it
    std::vector<std::vector<Int>> exact_;

    // Nodes.
    std::vector<std::vector<uint32_t>> gather_;  // entries of the joined sources, if several
    std::vector<std::vector<Scale>> join_;       // per source, to the common denominator
    std::vector<Int> source_den_;                // that denominator
    std::vector<std::vector<double>> weights_;   // rounded; of dense nodes transposed
    std::vector<std::vector<double>> slopes_;    // rounded
    std::vector<uint32_t> layer_of_;             // of a node of units

    // Entries.
    std::vector<uint32_t> tensor_;
    std::vector<double> value_;  // column after column
    std::vector<double> error_, size_, tolerance_;
    std::vector<uint64_t> made_;  // the epoch of the integers
    std::vector<uint8_t> wanted_;
    std::vector<uint64_t> epoch_;                 // per layer
    std::vector<std::vector<uint32_t>> to_make_;  // per tensor

    const int32_t* pieces_ = nullptr;
    std::vector<double> factor_, scratch_;
    std::vector<uint32_t> active_;
};

}  // namespace plv::check
