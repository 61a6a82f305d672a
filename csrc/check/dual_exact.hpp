// The numbers of docs/proof_format.md, "Dual trees", in integers: where doubles leave it open.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "check/dual_net.hpp"

namespace plv::check {

// A multiplier of a leaf: of a unit input, or a positive one of a row.
struct Multiplier {
    uint32_t index;
    Int value;
    double rounded;
};

// A unit or window that a leaf bounds by a function of inputs and outputs of units, by their
// entries in order: of a unit of two pieces shares, in 256ths, of what it reads; of a window
// coefficients over 2^shift.
struct Envelope {
    uint32_t unit;
    std::vector<std::pair<uint32_t, Int>> terms;
    uint64_t shift = 8;
};

// What a leaf lists, in the order of unit inputs and of units.
struct Given {
    std::vector<Multiplier> multipliers;
    std::vector<Envelope> envelopes;
};

// num / den.
struct Sum {
    Int num;
    Scale den;

    void add(Int x, const Scale& d);
    // c x / d
    void add_double(const Int& c, double x, const Scale& d);
    void add(const Sum& other) { add(other.num, other.den); }
    void negate() { num.negate(); }
};

// A piece of a unit or window on a cell: what an entry of a linear node is, times 1 or the slope of
// a unit, `of`.
struct Piece {
    uint32_t entry;
    bool active;  // times 1
    uint32_t of = 0;
};
// Those of a unit that are left on a cell. A window has those of its slots; of a slot that is the
// output of a convex unit, the unit's.
std::vector<Piece> pieces_of(const DualNet& net, const Cell& cell, uint32_t unit);

// What a unit of two pieces, which is active, inactive, or (-1) either, can be for inputs between
// two bounds, rounded outwards.
std::pair<double, double> unit_range(const Node& node, uint32_t i, int state, double lo, double hi);

class DualExact {
public:
    DualExact(const DualNet& net, std::function<void()> tick);

    // The linear function whose bound is wanted: 0, and what is added to it.
    void clear();
    void add_term(uint32_t entry, const Int& coefficient);
    void add_row(const DualRow& row, const Int& m);  // m (row - bound)

    // Its lower bound on a cell with these bounds of unit inputs, into value(); false if it is
    // -infinity. Only the first `nodes` nodes of the network are looked at; where nothing is given
    // these are the default slopes. `errors` bounds those of the entries
    // of linear nodes; null where the network is exact. `around` is the ball's multiplier.
    bool least(const Cell& cell, const double* lo, const double* hi, uint32_t nodes,
               const Given* given, const double* errors, const Int& around);
    // The best one by default slopes, of some multipliers for the ball.
    bool best(const Cell& cell, const double* lo, const double* hi, uint32_t nodes,
              const double* errors);
    const Sum& value() const { return sum_; }

    // The outputs at a point.
    std::vector<Sum> evaluate(const std::vector<Sum>& point) const;

private:
    struct Gradient {
        std::vector<Int> values;  // over den; empty: zero
        Scale den;
    };

    Gradient& of(uint32_t tensor);
    void scatter(uint32_t k, const std::vector<Int>& back, const Scale& den);
    bool pull_linear(uint32_t k, const double* errors);
    bool pull_units(uint32_t k, const Cell& cell, const double* lo, const double* hi,
                    const Given* given, const double* errors);
    bool pull_envelope(const Envelope& envelope, const Cell& cell, const Int& g, const Scale& den,
                       const double* errors);
    bool unit(int state, bool fixed, const Node& node, uint32_t i, double lo, double hi,
              const Int* v, Int& g, const Scale& den);
    bool window(int32_t piece, const double* lo, const double* hi, const Int& g,
                std::vector<Int>& v, bool given, const Scale& den);
    bool least_maximum(const Int& c, const double* lo, const double* hi, const std::vector<Int>& v,
                       uint32_t without, double low, double top, const Scale& den);
    bool add_least(Sum& to, const Int& c, double lo, double hi, const Scale& den) const;
    bool pull_back(const Cell& cell, const double* lo, const double* hi, uint32_t nodes,
                   const Given* given, const double* errors);
    bool add_inputs(Sum& to, const Cell& cell, const Int& m, const Scale& over) const;

    // An affine function of the inputs and of outputs of units, as sums by entry; and where the
    // network is as executed how far it may be off.
    struct Form {
        std::map<uint32_t, Sum> terms;
        Sum constant, error;
        bool bounded = true;  // the error is
    };
    Form form_of(uint32_t entry, const double* errors) const;
    bool least_piece(const Piece& piece, const std::map<uint32_t, Sum>& passed, const Cell& cell,
                     const Int& g, const Scale& den, const double* errors, Sum& out) const;
    void add_gradient(uint32_t entry, const Sum& value);

    const DualNet& net_;
    std::function<void()> tick_;
    std::vector<Gradient> grads_;  // per tensor
    Sum sum_;
};

}  // namespace plv::check
