// A piecewise-linear network as the engine sees it: layers of units, each with an affine form in
// the activations of earlier layers and in the input.
//
// The bytes come from plverify/exact_net.py (docs/developer.md has the format), a directed acyclic
// graph of linear nodes and units. Two views of every form are built once and shared read-only by
// all threads: integers over one positive scale, and doubles (form.hpp).
//
// Units map z to z where z > 0 (piece 1) and to slope * z elsewhere (piece 0); ReLU has slope 0.
// Windows take the maximum of some pre-activations (piece k: the k-th of the window).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "net/form.hpp"
#include "num/int.hpp"

namespace plv {

struct Layer {
    ExactForm exact;
    FloatForm dense;
    bool direct = false;  // one linear node makes what the units read, of one layer or the input
    int units = 0;        // activations: as many as pre-activations, or windows
    int bits = 1;         // of one unit in a pattern

    // Common shift of the slopes: piece 0 multiplies by slope_num[i] / 2^slope_shift, piece 1 by 1.
    std::vector<Int> slope_num;
    uint32_t slope_shift = 0;
    std::vector<double> slope;       // rounded
    std::vector<uint8_t> one_piece;  // slope exactly 1: never a wall, bit always 0
    bool all_relu = true;
    double max_slope = 1.0;  // upper bound of max(1, |slope_i|)
    // Distance between the two pieces' factors, 1 - slope, rounded.
    std::vector<double> gap;

    // Windows: pre-activation of slot k of window w at table[k * units + w], -1 for none. No slots
    // for a layer of slopes.
    int slots = 0;
    std::vector<int32_t> table;

    bool is_max() const { return slots > 0; }
    int entry(int unit, int slot) const {
        return table[static_cast<size_t>(slot) * static_cast<size_t>(units) + unit];
    }
};

struct Net {
    int input_size = 0;
    std::vector<Layer> layers;  // hidden layers
    ExactForm output_exact;
    FloatForm output;
    int unit_count = 0;
    std::vector<int> unit_offset;    // of each layer in the list of all units
    std::vector<size_t> bit_offset;  // of each layer in the flat pattern
    size_t pattern_bits = 0;

    int output_size() const { return output_exact.rows; }
    int pattern_bytes() const { return static_cast<int>((pattern_bits + 7) / 8); }
    const ExactForm& exact_form(int layer) const {
        return layer == static_cast<int>(layers.size()) ? output_exact : layers[layer].exact;
    }
    const FloatForm& float_form(int layer) const {
        return layer == static_cast<int>(layers.size()) ? output : layers[layer].dense;
    }
    int piece(const uint8_t* pattern, int layer, int unit) const;
    void set_piece(uint8_t* pattern, int layer, int unit, int piece) const;

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
    std::vector<int32_t> i32s(size_t n);
    size_t words_each() const;  // of the integers that come next
    std::vector<int64_t> i64s(size_t n);
    std::vector<Int> ints(size_t n);
    bool at_end() const { return at_ == bytes_.size(); }

private:
    const unsigned char* take(size_t n);
    std::string_view bytes_;
    size_t at_ = 0;
};

}  // namespace plv
