// Bounds on a cell in doubles, with a proven bound of their error.
//
// Substitution and leaves. The formula of docs/proof_format.md holds for any multipliers: take a
// number y_t for every entry t of every tensor, and h for every unit input. Then
//
//     f = constants + sum of units (y_a a - h z) + y . x + sum over entries of delta_t t
//
// where delta_t is what the gradient of t, summed over those who read it, differs from y_t. Here
// the y are the gradients that were computed, so that delta is rounding: with `fan` terms in a sum
// |delta_t| <= (fan + 2) u sum |w| |y| (weights are rounded, too), and with |t| <= A_t on the cell
//
//     sum |delta_t| A_t <= (fan + 2) u (sum over linear nodes |y_r| R_r + sum |h_i| A_i + |start|
//     A), R_r = sum_t |w_rt| A_t + |b_r|.
//
// So the error needs two dot products per node and nothing per coefficient. The same sums, and
// sum |y_a| A_a, bound all terms that are added up, hence the rounding of the result: by u times
// the longest of the sums, the number of nodes and a few. DualNet::terms is all of this with room
// to spare, which covers that A, R and the sums are rounded, and that a leaf's multipliers are
// rounded to doubles; `fan` is that of all who read a tensor together. Every envelope of a leaf
// adds one term to the sum and to gradients of inputs, and so to that factor; every row that a leaf
// uses adds one to what the sums begin with. Of a window with given multipliers the terms at its
// bounds count, which may be larger than what A allows. (A default line's term at an end that A
// does not allow is larger than what the unit contributes at any point, by more than it rounds.)
// `kTiny` covers underflow, as long as all magnitudes together are at most 1e150. Infinite or
// undefined numbers reach the error. Where there is a ball, y . x may have m (phi - size) beside
// it: see dual_ball.hpp.
//
// The magnitudes A and R may be those of any larger cell: of a tree's leaves those of the cell that
// is split first serve, unless they leave a leaf open. In a network as executed an entry r of a
// linear node may be off by e_r: then A covers that, and what is lost is sum |y_r| e_r.
//
// Where the pieces of most units are known a network is *condensed*: with the gradients of the
// units that are not the formula holds as well when it stops there, y_a a staying as it is. So
// every pre-activation of theirs, and every row, is an affine function of the input and of their
// activations, up to an error that holds on the whole cell. That is a small network as executed,
// for all cells inside, whose rows are off by these errors.
//
// Where rows hold, so that row - bound <= 0, the same formula gives functions a . x + b <= 0, with
// their errors in b. Adding m (a . x + b) for an m >= 0 to c . x + d, one after the other, rounds
// every coefficient at most four times for each of them (m is c times -1 / a where a coefficient is
// taken to be 0), relative to |c| + the sum of m |a|, and d likewise.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "check/dual_ball.hpp"
#include "check/dual_condensed.hpp"
#include "check/dual_exact.hpp"
#include "check/dual_net.hpp"
#include "check/vectors.hpp"

namespace plv::check {

inline constexpr double kTiny = 1e-100;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

class DualDoubles {
public:
    DualDoubles(const DualNet& net, std::function<void()> tick);

    // Better bounds of a cell, into lower() and upper(). False if they contradict each other.
    bool propagate(const Cell& cell);
    // With `where` bounds that hold where these rows do, in networks of at most kMostInputs inputs.
    bool substitute(const Cell& cell, const std::vector<DualRow>* where = nullptr);
    static constexpr uint32_t kMostInputs = 16;
    // From here on bounds of cells inside this one are those of a condensed network, where that is
    // much smaller than the one before; `where` as these bounds will be asked for.
    void condense(const Cell& cell, const std::vector<DualRow>* where);
    // A unit was fixed: it has to be in the network.
    void fixed(uint32_t unit);
    size_t condensed() const { return condensed_.size(); }
    void go_back(size_t condensed);
    const std::vector<double>& lower() const { return lo_; }
    const std::vector<double>& upper() const { return hi_; }
    // Of the network as executed, on the cell of the last call above; null where it is exact.
    const double* errors() const { return net_.rounds ? errors_.data() : nullptr; }
    bool errors_are_finite() const;

    // Keeps the magnitudes of a cell, for leaves of cells inside it, until forget().
    void keep(const Cell& cell);
    void forget() { keeps_ = false; }

    // Whether the lower bound of a leaf is certainly > 0. `given` is null for the default slopes.
    // Of a network as executed, `propagate` comes first. `around` is the ball's multiplier.
    bool is_positive(const Cell& cell, const std::vector<DualRow>& rows,
                     const std::vector<Multiplier>& used, double around, const Given* given);

    // A lower bound of sign times an entry, with the multipliers over 2^shift; -infinity where this
    // finds none, or not its sign. Of a network as executed, `propagate` comes first.
    double bound(const Cell& cell, uint32_t entry, double sign, uint64_t shift, const Given& given);

    uint64_t exact_rows() const { return exact_rows_; }

private:
    struct Magnitudes {
        std::vector<double> a;    // per entry
        std::vector<double> r;    // per entry of a linear node
        double tiny = kInfinity;  // or kTiny, where magnitudes are not too large
    };
    struct Value {
        double lower, error;
    };
    struct Lanes {
        double lower[kLanes], error[kLanes];
        double unit;  // that `error` is in
    };
    // slope . x + constant, at most 0 on the points of the cell that are in question.
    struct HalfSpace {
        double slope[kMostInputs], inverse[kMostInputs];  // 1 / slope
        double constant;
        double size;  // of its terms
    };
    // A bound of a unit input: sign times it from below. The first `nodes` nodes make the entry.
    struct Wanted {
        uint32_t input, entry, nodes;
        double sign;
    };
    // The lines of a window: slot `low`, and `slope` times slot `high`; see default_line.
    struct Chosen {
        uint32_t low, high;
        double slope, from;
    };

    bool is_positive(const Cell& cell, const std::vector<DualRow>& rows,
                     const std::vector<Multiplier>& used, double around, const Given* given,
                     const Magnitudes& size);
    // dual_condensed.cpp
    void make_rows(const Cell& cell, const std::vector<DualRow>* where, Condensed& net);
    void measure(const Cell& cell, const Condensed& net);
    void relax_units(const Cell& cell, const Condensed& net, size_t node);
    void narrow(const Condensed& net);
    void push(Condensed&& net);
    const Condensed* small_network(const std::vector<DualRow>* where) const;
    bool bound_condensed(const Cell& cell, const Condensed& net, const std::vector<DualRow>* where);
    void pull_condensed(const Condensed& net, size_t nodes, size_t rows, Lanes& sum);
    void pull_rows(const Condensed& net, size_t columns, size_t rows, Lanes& sum);
    size_t pull_units(const Condensed& net, size_t node, Lanes& sum);
    void measure(const Cell& cell);
    void measure_node(const Cell& cell, const double* lo, const double* hi, uint32_t k);
    void measure_unit(const Cell& cell, const double* lo, const double* hi, uint32_t k, uint32_t i);
    void linear(uint32_t k);
    void widen(uint32_t k);
    void exact_end(uint32_t k, uint32_t i, bool upper);
    bool units(const Cell& cell, uint32_t k);
    bool windows(const Cell& cell, uint32_t k);

    void make_room();
    void relax(const Cell& cell, uint32_t k);
    void relax_unit(const Cell& cell, uint32_t k, uint32_t i);
    bool bound_batch(const Cell& cell, const Wanted* wanted, size_t n);
    bool end_batch(const Cell& cell, const Wanted* wanted, size_t n, Lanes& sum);
    void pull_batch(const Cell& cell, uint32_t nodes, Lanes& sum);
    void narrow(const Cell& cell, const std::vector<DualRow>& rows);
    void start_rows(const std::vector<DualRow>& rows, size_t first, size_t n, Lanes& sum);
    void keep_half_spaces(size_t n, const Lanes& sum);
    void batch_where(const Cell& cell, const Lanes& sum, double* best) const;
    double bound_exactly(const Cell& cell, uint32_t nodes, uint32_t entry, double sign);
    // The entries of a node that are reached; no more, from then on.
    std::span<const uint32_t> take_reached(size_t base, uint32_t size);
    void batch_ball(const Lanes& sum, double* best);
    void batch_linear(uint32_t k, Lanes& sum);
    void batch_units(uint32_t k, Lanes& sum);
    void batch_windows(const Cell& cell, uint32_t k, Lanes& sum);

    Chosen choose(const Cell& cell, uint32_t k, uint32_t w) const;
    Value pull(const Cell& cell, const Magnitudes& size, Value start, double around,
               const Given* given);
    void pull_linear(uint32_t k, const Magnitudes& size, Value& sum);
    void pull_units(uint32_t k, const Magnitudes& size, Value& sum);
    void pull_given(const Cell& cell, uint32_t k, const Given& given, const Magnitudes& size,
                    Value& sum);
    void pull_envelope(const Cell& cell, const Envelope& envelope, const Magnitudes& size,
                       Value& sum);
    void pull_window(const Cell& cell, uint32_t k, uint32_t w, bool given, const Magnitudes& size,
                     Value& sum);

    const DualNet& net_;
    std::function<void()> tick_;
    DualExact exact_;
    double unit_ = 0;  // u times DualNet::terms
    Magnitudes local_, kept_;
    bool keeps_ = false;
    BallBox ball_;                             // of the cell at hand
    std::vector<double> lo_, hi_;              // of unit inputs
    std::vector<double> entry_lo_, entry_hi_;  // of entries
    std::vector<double> sizes_;                // of the terms of a row
    std::vector<double> g_;                    // gradients of entries
    std::vector<double> errors_;               // of entries; 0 where they are exact
    // Default slopes of unit inputs for gradients > 0 and < 0, and the ends of free units, else 0.
    std::vector<double> above_, below_, left_, right_;
    std::vector<double> v_, h_;         // of unit inputs
    std::vector<double> passed_, row_;  // of inputs: by an envelope, and of a row; else 0
    std::vector<uint8_t> seen_;         // inputs of which these may not be 0
    std::vector<uint8_t> zero_;         // entries that are known to be 0 on the cell, by relax()
    std::vector<uint32_t> active_, live_;
    std::vector<uint32_t> rows_;         // of a condensed network, that are bounded
    std::vector<double> lanes_, panel_;  // gradients of entries, kLanes for each
    std::vector<uint8_t> reached_;       // entries whose lanes may hold something
    std::vector<uint32_t> taken_;        // those of a node
    std::vector<Wanted> batch_;
    std::vector<HalfSpace> where_;
    size_t weights_ = 0;                // of the network, if it may be condensed
    std::vector<Condensed> condensed_;  // one inside the other; without units: the whole network
    size_t condensed_bytes_ = 0;
    std::vector<uint8_t> held_;  // entries whose gradients stay where they are
    std::vector<double> units_;  // gradients of a condensed network's units, kLanes for each
    std::vector<double> sizes_of_rows_;
    uint64_t exact_rows_ = 0;
};

}  // namespace plv::check
