// A network, systems of constraints and cells as the checker of dual trees uses them
// (docs/proof_format.md, "Dual trees").
//
// *Entries* are the entries of all tensors, numbered one after the other. A *unit input* is what a
// unit reads: one per unit, one per slot of a window. Units and unit inputs have flat numbers.
//
// A network *as executed* may add to every entry of a linear node an error of at most
// relative * R + absolute, with R = sum |w| |x| + |b| at what the node reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "check/net.hpp"
#include "num/int.hpp"

namespace plv::check {

inline constexpr uint32_t kNothing = ~uint32_t{0};

// What is added to a node of the network.
struct DualNode {
    uint32_t base = 0;             // first entry of the tensor it makes
    uint32_t source = 0;           // first entry of its source, if there is one source only
    std::vector<uint32_t> gather;  // otherwise the entries of the joined sources

    // Linear nodes: the numbers of `Node::entries` over their denominators, rounded to nearest.
    std::vector<double> weight;
    std::vector<double> bias;             // per output, of these
    std::vector<double> turned;           // of dense nodes by column: turned[j * rows + r]
    bool dense = false;                   // affine, and not mostly zeros
    std::vector<uint32_t> start, column;  // of affine nodes that are: where rows are not zero,
    std::vector<double> value;            // and what they are there
    std::vector<uint8_t> strange;         // rows with numbers that doubles do not hold; units, too
    std::vector<uint8_t> exact;  // rows whose numbers doubles hold exactly, over a power of two
    double fan = 0;              // most terms of a gradient that it passes on
    bool reads_input_only = false;
    double relative = 0, limit = 0;  // as executed: no model where R and the error exceed the limit
    std::vector<double> absolute;    // as executed, per output; empty: no errors

    // Units.
    uint32_t first_unit = 0, first_input = 0;
    std::vector<double> slope;                          // rounded
    enum Graph : uint8_t { kFlat, kConvex, kConcave };  // slope 0, else below 1, else
    std::vector<Graph> kind;
    std::vector<uint32_t> slot_start;  // of windows: their unit inputs, from first_input on
    std::vector<uint32_t> slot_entry;  // the entry of every unit input

    uint32_t entry(uint32_t joined) const {
        return gather.empty() ? source + joined : gather[joined];
    }
    // f(position in the joined sources, weight) for the terms of output i, perhaps without zeros.
    template <class F>
    void each_weight(const Node& node, uint32_t i, F&& f) const {
        if (start.empty()) {
            node.each_term(i, [&](uint32_t j, size_t at) { f(j, weight[at]); });
            return;
        }
        // What f stores cannot change these.
        const uint32_t* at = column.data();
        const double* w = value.data();
        for (uint32_t k = start[i], end = start[i + 1]; k < end; ++k) f(at[k], w[k]);
    }
};

struct DualNet {
    // `rounding`: empty, or for every linear node the doubles relative, limit and absolute.
    explicit DualNet(const Net& net, std::string_view rounding = {});

    const Net& net;
    std::vector<DualNode> nodes;
    std::vector<uint32_t> base;  // first entry of a tensor, and at the end their number
    uint32_t units = 0, inputs = 0;
    std::vector<uint32_t> node_of;   // of a unit
    std::vector<uint32_t> entry_of;  // of a unit input
    std::vector<int32_t> own_piece;  // of a unit that has one only; otherwise -1
    double terms = 0;                // see dual_doubles.hpp
    bool has_windows = false;
    bool rounds = false;  // as executed

    uint32_t entries() const { return base.back(); }
    uint32_t tensor_of(uint32_t entry) const;
    bool is_window(uint32_t unit) const { return net.nodes[node_of[unit]].kind == Kind::max; }
    uint32_t pieces(uint32_t unit) const;
    uint32_t input_of(uint32_t unit) const;  // its first unit input
};

// An end of an interval of an input: num / den if finite.
struct DualEnd {
    bool finite = false;
    Int num, den = 1;
    double rounded = 0;  // outwards; infinite if not finite

    void round(bool up);
    size_t held() const { return (num.bit_length() + den.bit_length()) / 8; }
};

// sum of coefficient * entry <= bound, < if strict.
struct DualRow {
    struct Term {
        uint32_t entry;
        Int coefficient;
        double rounded;
    };
    std::vector<Term> terms;
    Int bound_num, bound_den = 1;
    double bound = 0;
    bool strict = false;
};

struct DualBox {
    std::vector<DualEnd> lo, hi;
};

// What a tree shows about the gradients on the box: the operator norm, in l2 its square, of rows of
// combinations of the outputs is at most num / den. Constraints hold strictly.
struct GainClaim {
    uint8_t norm = 0;          // 1, 2, or 0 for linf
    std::vector<Int> outputs;  // by rows, over `over`
    Int over = 1, num, den = 1;
};

// phi(x) <= size, < if strict: the sum of |x_i - c_i| over the inputs, or of the squares.
struct DualBall {
    bool squares = false, strict = false;
    std::vector<Int> num, den;   // of the centre
    std::vector<double> centre;  // rounded
    std::vector<double> off;     // by no more than this
    Int size_num, size_den = 1;
    double size = 0;
};

struct DualSystem {
    uint32_t box = 0;
    uint32_t ball = kNothing;
    std::vector<DualRow> rows;
    std::optional<GainClaim> gain;  // else that there is no solution
};

struct DualQuestion {
    std::vector<DualBox> boxes;
    std::vector<DualBall> balls;
    std::vector<DualSystem> systems;

    // The bytes that plverify.certificate writes. Throws std::invalid_argument or Rejected.
    static DualQuestion parse(std::string_view bytes, const DualNet& net);
};

// A part of the input space, and what is known there.
struct Cell {
    DualBox box;
    std::vector<int32_t> pieces;     // per unit; -1: none
    std::vector<double> lo, hi;      // per unit input
    const DualBall* ball = nullptr;  // or none
    bool empty = false;
};

// Of the default slopes. Not 1: networks with small integers have hi = -lo, where the last digits
// of a bound would decide.
inline constexpr double kTie = 1 + 0x1p-10;
// Slots of windows this near count as equal: units with the same weights often have the same
// bounds.
inline constexpr double kNear = 0x1p-20;

// The default lines of a free window: below it a slot, above it the chord of the slot that may be
// the largest, from what it is at least together with the others.
struct Line {
    uint32_t low, high;
    double from;
};
Line default_line(const double* lo, const double* hi, uint32_t n);

// 1 where a unit of two pieces is known active, 0 where inactive, -1 where it is free.
inline int state_of(int32_t piece, double lo, double hi) {
    if (piece >= 0) return piece;
    return lo >= 0 ? 1 : hi <= 0 ? 0 : -1;
}

// The largest double <= num / den, or the smallest one >= it.
double round_down(const Int& num, const Scale& den);
double round_up(const Int& num, const Scale& den);

}  // namespace plv::check
