// Exact lines, points and signs: what the region engine falls back on when floating point cannot
// decide.
//
// A sign at a point does not depend on the cell from which one looks at it, because a network is
// one continuous function. So an undecided vertex is interned once: its exact coordinates become a
// key, one exact forward pass gives the signs of all units in all layers there, and every later
// question about the point is a look-up. Degenerate networks ask the same few points thousands of
// times; this is what keeps them fast.
//
// Coordinates are the engine's own (`Frame` below maps them to the user's). A point at symbolic
// infinity is p + R q with R larger than everything (docs/proof_format.md): the plane is studied
// inside the box |s_i| <= R, so that every cell is a polygon and strips or half-planes need no
// special case. Its values have two levels, and the sign is that of the first nonzero one.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/stop.hpp"
#include "net/net.hpp"
#include "net/scales.hpp"
#include "num/int.hpp"

namespace plv {

// The line a . s + c + d R = 0 (in 1-D: the point). Only the sides of the symbolic box have d != 0.
template <int D>
struct ExactLine {
    std::array<Int, D> a;
    Int c, d;
};

// An exact point: finite p / den, or (p + R q) / den with q != 0.
template <int D>
struct ExactPoint {
    std::array<Int, D> p, q;
    Int den = 1;
    bool infinite = false;

    // Sign of line's function at the point.
    int sign_of(const ExactLine<D>& line) const;
    bool operator==(const ExactPoint& other) const;
    uint64_t hash() const;  // the same for equal points, however they are scaled
};

// A point with its scales (docs/developer.md): levels[0] t_0 + levels[1] t_1 over den, t_0 >> t_1,
// t_unit_level = 1. A finite point has one level; p + R q is {q, p} with unit_level 1; p + eps q
// with an infinitesimal eps > 0 is {p, q} with unit_level 0.
template <int D>
struct ExactGerm {
    std::vector<std::array<Int, D>> levels;
    Int den;
    size_t unit_level = 0;
    static ExactGerm of(const ExactPoint<D>& point) {
        if (point.infinite) return {{point.q, point.p}, point.den, 1};
        return {{point.p}, point.den, 0};
    }
};

// The point where `count` lines meet; D of them must be independent, or it is an internal error.
template <int D>
ExactPoint<D> intersect(const ExactLine<D>* const* lines, int count = D);

// The affine change of coordinates t_k = center_k + size_k * s_k, all dyadic: t_k = (offset[k] +
// s_k * 2^(shift[k])) / 2^q.
template <int D>
struct Frame {
    std::array<double, D> center{};  // exact
    std::array<int, D> exponent{};   // size_k = 2^exponent_k

    // Replaces a line given in t by the same line in s, up to a positive factor.
    ExactLine<D> to_local(const ExactLine<D>& in_t) const;
    // Replaces a point given in s by the same point in t.
    ExactPoint<D> to_user(const ExactPoint<D>& in_s) const;
};

// Rows as functions of the local coordinates: row i is (a . s + c) / scale for one common scale >
// 0.
template <int D>
using ExactRows = std::vector<ExactLine<D>>;

// Signs at a germ: of every unit, and for windows the rank of each slot within its window (equal
// values have equal ranks, the largest value the largest rank).
struct GermSigns {
    std::vector<int8_t> unit;    // all units, layer after layer; 0 for windows
    std::vector<uint16_t> rank;  // at rank_offset[layer] + slot * windows + window
};

// Exact evaluation of one network over the local coordinates of one domain. Read-only after
// construction, shared by threads.
//
// `input[l]` is what the input and the bias contribute to the pre-activations of layer l.
template <int D>
struct ExactNet {
    ExactNet(const Net& network, std::vector<ExactRows<D>>&& input_rows,
             const std::vector<Int>& input_scales);

    const Net& net;
    std::vector<ExactRows<D>> input;  // per layer, then of the outputs
    Scales scales;
    std::vector<size_t> rank_offset;  // of each layer, then the total

    // Signs of all units at a germ; with outputs != null also the outputs up to one positive
    // factor, level after level. False if stopped.
    bool forward(const ExactGerm<D>& at, GermSigns& signs, std::vector<Int>* outputs,
                 StopToken* stop) const;
    // Row of pre-activation `entry` of layer `layer` (the layer count itself: the outputs), with
    // `minus` >= 0 the difference of two, under the pieces of a flat pattern, up to a positive
    // factor.
    ExactLine<D> row(int layer, int entry, const uint8_t* pattern, int minus = -1) const;
    // All outputs as functions of s over one common positive scale that depends on the network
    // only.
    void output_map(const uint8_t* pattern, ExactRows<D>& rows) const;
    // Whether the outputs do not depend on unit `unit` of layer `layer` under the pieces of the
    // layers above it.
    bool output_ignores(int layer, int unit, const uint8_t* pattern) const;
    // The canonical pattern of a germ: zero is piece 0, of slots that tie the first.
    void pattern_of(const GermSigns& signs, uint8_t* pattern) const;
};

// The interned points of one thread. Signs are kept as bits, layer by layer in whole 64-bit words,
// so that a cell reads those of all units at once.
template <int D>
class PointTable {
public:
    PointTable(const ExactNet<D>& net, StopToken* stop);

    int32_t intern(const ExactPoint<D>& point);
    // Sign of a unit at an interned point; runs the forward pass on first use.
    int sign(int32_t id, int layer, int unit);
    // Sign of slot a less slot b of a window at an interned point.
    int window_sign(int32_t id, int layer, int window, int a, int b);
    // Sign of output i minus output j at an interned point.
    int output_sign(int32_t id, int i, int j);
    // Whether the forward pass was run, and then the units of a layer that are positive and
    // negative.
    bool evaluated(int32_t id) const { return !entries_[id].signs.empty(); }
    const uint64_t* positive(int32_t id, int layer) const {
        return entries_[id].signs.data() + word_offset_[layer];
    }
    const uint64_t* negative(int32_t id, int layer) const {
        return positive(id, layer) + word_offset_.back();
    }
    const ExactPoint<D>& point(int32_t id) const { return entries_[id].point; }
    size_t size() const { return entries_.size(); }
    uint64_t forward_passes() const { return passes_; }
    // Keeps the points listed (their new ids are their positions in the list), forgets the others.
    void keep(const std::vector<int32_t>& ids);

private:
    struct Entry {
        ExactPoint<D> point;
        std::vector<uint64_t> signs;  // empty until asked for; positive bits, then negative bits
        std::vector<uint16_t> rank;
        std::vector<Int> outputs;
    };
    void evaluate(Entry& entry, bool outputs);

    const ExactNet<D>& net_;
    StopToken* stop_;
    std::vector<size_t> word_offset_;  // of each layer, then the total
    std::vector<Entry> entries_;
    std::unordered_multimap<uint64_t, int32_t> index_;
    uint64_t passes_ = 0;
};

}  // namespace plv
