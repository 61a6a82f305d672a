// A piecewise-linear network in its exact form, and what the engine derives from it.
//
// The bytes come from plverify/exact_net.py (docs/developer.md has the format): every affine row is
// integers over 2^shift * den. From them two views are built once and shared read-only by all
// threads:
//   * `exact`: integers over ONE common positive scale per layer, 64-bit where they fit. A forward
//   pass of signs never
//     needs the scale, because it multiplies every activation of a layer alike.
//   * doubles, each entry the rounding of the exact rational (relative error u unless it
//   underflows), stored by columns and
//     padded to whole vectors, since the engine only ever adds multiples of columns.
// A unit maps z to z where z > 0 (piece 1) and to slope * z elsewhere (piece 0); ReLU has slope 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/aligned.hpp"
#include "num/int.hpp"

namespace plv {

// Rows are padded to a multiple of this many doubles; padding rows are zero.
inline constexpr int kPad = 8;
inline int padded(int n) { return (n + kPad - 1) / kPad * kPad; }

// y = (w x + bias) / scale in integers; `small` says that all of w fits 64-bit words.
struct ExactAffine {
    int rows = 0, cols = 0;
    bool small = true;
    std::vector<int64_t> w64;  // rows x cols, when small
    std::vector<Int> wbig;     // rows x cols, otherwise
    std::vector<Int> bias;     // rows
    Int scale = 1;             // > 0

    // acc += w[row][col] * x
    void add_term(Int& acc, int row, int col, const Int& x) const {
        const size_t k = static_cast<size_t>(row) * cols + col;
        if (small)
            acc.add_mul(x, w64[k]);
        else
            acc.add_mul(x, wbig[k]);
    }
    bool is_zero(int row, int col) const {
        const size_t k = static_cast<size_t>(row) * cols + col;
        return small ? w64[k] == 0 : wbig[k].is_zero();
    }
    Int weight(int row, int col) const {
        const size_t k = static_cast<size_t>(row) * cols + col;
        return small ? Int(w64[k]) : wbig[k];
    }
};

// The same map in doubles, by columns: entry (row, col) at w[col * stride + row].
struct FloatAffine {
    int rows = 0, cols = 0, stride = 0;
    AlignedVector<double> w, bias;
    AlignedVector<double> row_norm;  // upper bound of the l2 norm of each exact row (bias left out)
};

struct Layer {
    ExactAffine exact;
    FloatAffine dense;
    int units = 0;
    // Common shift of the slopes: piece 0 multiplies by slope_num[i] / 2^slope_shift, piece 1 by 1.
    std::vector<Int> slope_num;
    uint32_t slope_shift = 0;
    std::vector<double> slope;       // rounded
    std::vector<uint8_t> one_piece;  // slope exactly 1: never a wall, bit always 0
    bool all_relu = true;
    double max_slope = 1.0;  // upper bound of max(1, |slope_i|)
    // Distance between the two pieces' factors, 1 - slope, rounded.
    std::vector<double> gap;
};

struct Net {
    int input_size = 0;
    std::vector<Layer> layers;  // hidden layers
    ExactAffine output_exact;
    FloatAffine output;
    int unit_count = 0;
    std::vector<int> unit_offset;  // of each layer in the flat pattern

    int output_size() const { return output_exact.rows; }
    int pattern_bytes() const { return (unit_count + 7) / 8; }

    // Throws std::invalid_argument on malformed bytes.
    static std::shared_ptr<const Net> parse(std::string_view bytes);
};

// Little-endian reader over bytes, shared by the network and domain formats. Throws
// std::invalid_argument when short.
class ByteReader {
public:
    explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
    void expect(std::string_view magic);
    uint8_t u8();
    uint32_t u32();
    std::vector<uint32_t> u32s(size_t n);
    std::vector<Int> ints(size_t n);
    bool at_end() const { return at_ == bytes_.size(); }

private:
    const unsigned char* take(size_t n);
    std::string_view bytes_;
    size_t at_ = 0;
};

}  // namespace plv
