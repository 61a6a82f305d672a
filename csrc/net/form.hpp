// Affine forms of a layer's pre-activations in the activations of earlier layers, exact and
// rounded. Whatever linear nodes lie between two layers of units (convolutions, sums, averages,
// gathers) has been multiplied out; sparse stays sparse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.hpp"
#include "num/int.hpp"

namespace plv {

// Rows are padded to a multiple of this many doubles; padding rows are zero.
inline constexpr int kPad = 8;
inline int padded(int n) { return (n + kPad - 1) / kPad * kPad; }

// The source of a block that multiplies the network's input.
inline constexpr int kInput = -1;

// An integer matrix by rows, dense or compressed; `small` says that all entries fit 64-bit words.
struct ExactBlock {
    int source = kInput;  // layer whose activations it multiplies, or kInput
    int rows = 0, cols = 0;
    bool dense = true, small = true;
    std::vector<size_t> start;  // rows + 1, where compressed
    std::vector<int32_t> col;   // where compressed
    std::vector<int64_t> w64;   // when small
    std::vector<Int> wbig;      // otherwise

    size_t first(int row) const {
        return dense ? static_cast<size_t>(row) * static_cast<size_t>(cols) : start[row];
    }
    size_t last(int row) const { return first(row + 1); }
    int column(int row, size_t k) const {
        return dense ? static_cast<int>(k - first(row)) : col[k];
    }
    bool is_zero(size_t k) const { return small ? w64[k] == 0 : wbig[k].is_zero(); }
    Int weight(size_t k) const { return small ? Int(w64[k]) : wbig[k]; }
    // acc += entry k times x
    void add_term(Int& acc, size_t k, const Int& x) const {
        if (small)
            acc.add_mul(x, w64[k]);
        else
            acc.add_mul(x, wbig[k]);
    }
};

// z = (sum of blocks + bias) / scale in integers.
struct ExactForm {
    int rows = 0;
    std::vector<ExactBlock> blocks;  // by increasing source
    std::vector<Int> bias;
    Int scale = 1;  // > 0
};

// A block in doubles by columns, each entry the rounding of the exact rational (relative error u
// unless it underflows): dense with entry (row, col) at w[col * stride + row], or compressed: of
// each column the groups of kPad rows in which it is not zero throughout.
struct FloatBlock {
    int source = kInput;
    int cols = 0;
    bool dense = true;
    AlignedVector<double> w;
    std::vector<size_t> start;     // cols + 1, where compressed: groups of column c
    std::vector<int32_t> group;    // number of the group: its first row is kPad times that
    AlignedVector<double> values;  // kPad for each
};

struct FloatForm {
    int rows = 0, stride = 0;
    std::vector<FloatBlock> blocks;  // those of layers, not of the input
    AlignedVector<double> bias;
    AlignedVector<double> row_norm;  // upper bound of the l2 norm of each exact row over `blocks`
    int terms = 0;                   // most products in a row
    // Where every row is one entry of one layer's activations: that entry.
    std::vector<int32_t> copies;
};

FloatForm rounded(const ExactForm& form);

}  // namespace plv
