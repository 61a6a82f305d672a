// A network and a domain as the checker of trees reads them, from the bytes in docs/developer.md.
//
// The checker shares no code with the engine's reader: a mistake there must not be able to hide in
// here. Nodes are kept as they are in the bytes; nothing is folded or multiplied out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "num/int.hpp"

namespace plv::check {

// The positive integer odd * 2^shift.
struct Scale {
    uint64_t shift = 0;
    Int odd = 1;

    bool is_one() const { return shift == 0 && odd.is_one(); }
    Int value() const { return odd << shift; }
    void apply(Int& to) const {
        if (shift != 0) to <<= shift;
        if (!odd.is_one()) to *= odd;
    }
};

Scale scale_of(const Int& positive);
Scale lcm(const Scale& a, const Scale& b);
Scale quotient(const Scale& multiple, const Scale& divisor);

// Integers, as machine words where all of them fit.
struct Integers {
    std::vector<int64_t> small;
    std::vector<Int> big;  // used if not empty

    size_t size() const { return big.empty() ? small.size() : big.size(); }
    Int at(size_t k) const { return big.empty() ? Int(small[k]) : big[k]; }
    bool is_zero(size_t k) const { return big.empty() ? small[k] == 0 : big[k].is_zero(); }
    // to += x * (entry k)
    void add_mul(Int& to, const Int& x, size_t k) const {
        if (big.empty())
            to.add_mul(x, small[k]);
        else
            to.add_mul(x, big[k]);
    }
};

enum class Kind : uint8_t { affine = 1, units, conv, sparse, max };

struct Node {
    Kind kind = Kind::affine;
    std::vector<uint32_t> sources;  // tensors
    uint32_t size = 0;              // of the tensor it makes
    uint32_t joined = 0;            // of its sources, end to end

    // Linear nodes: row r is entries[r * (width + 1)] and on, the bias last, over a denominator.
    uint32_t rows = 0, width = 0;
    Integers entries;
    std::vector<Scale> row_den;
    Scale den;                // of the tensor, over that of the joined sources
    std::vector<Scale> part;  // den / row_den

    // Taps of convolutions and windows, indices of sparse rows; -1 for none.
    std::vector<int32_t> index;
    uint32_t channels = 0, positions = 0, groups = 0, taps = 0, places = 0;

    // Units: the slope of unit i is slope_num[i] / 2^slope_shift[i].
    Integers slope_num;
    std::vector<uint32_t> slope_shift;
    uint32_t slope_top = 0;
    bool has_one_piece(uint32_t i) const {
        return slope_shift[i] == 0 && slope_num.at(i) == Int(1);
    }

    bool is_linear() const { return kind != Kind::units && kind != Kind::max; }
    uint32_t row_of(uint32_t i) const { return kind == Kind::conv ? i / places : i; }
    size_t bias_of(uint32_t i) const {
        return static_cast<size_t>(row_of(i)) * (width + size_t{1}) + width;
    }

    // f(position in the joined sources, place in `entries`) for every term of output i.
    template <class F>
    void each_term(uint32_t i, F&& f) const {
        const size_t first = static_cast<size_t>(row_of(i)) * (width + size_t{1});
        if (kind == Kind::affine) {
            for (uint32_t j = 0; j < width; ++j) f(j, first + j);
        } else if (kind == Kind::sparse) {
            for (uint32_t j = 0; j < width; ++j) {
                const int32_t at = index[static_cast<size_t>(i) * width + j];
                if (at >= 0) f(static_cast<uint32_t>(at), first + j);
            }
        } else {
            const uint32_t inner = channels / groups, place = i % places;
            const uint32_t channel = i / places / (rows / groups) * inner;
            for (uint32_t c = 0; c < inner; ++c)
                for (uint32_t k = 0; k < taps; ++k) {
                    const int32_t at = index[static_cast<size_t>(k) * places + place];
                    if (at >= 0)
                        f((channel + c) * positions + static_cast<uint32_t>(at),
                          first + static_cast<size_t>(c) * taps + k);
                }
        }
    }

    // Position in the joined sources of a slot of a window; -1 for none.
    int64_t slot(uint32_t window, uint32_t k) const {
        const int32_t at = index[static_cast<size_t>(k) * places + window % places];
        return at < 0 ? -1 : static_cast<int64_t>(window / places) * positions + at;
    }
};

struct Net {
    uint32_t input_size = 0;
    std::vector<Node> nodes;  // node k makes tensor k + 1

    uint32_t tensor_size(size_t tensor) const {
        return tensor == 0 ? input_size : nodes[tensor - 1].size;
    }
    // Throws std::invalid_argument.
    static Net parse(std::string_view bytes);
};

struct Domain {
    uint32_t dim = 0;
    bool is_slice = false;
    Int slice_scale = 1;
    Integers slice_rows;   // inputs x (dim + 1)
    Integers constraints;  // count x (dim + 1)
    uint32_t constraint_count = 0;

    // Throws std::invalid_argument.
    static Domain parse(std::string_view bytes, uint32_t input_size);
};

}  // namespace plv::check
