// Linear relaxation of a network over a box (CROWN: Zhang et al., NeurIPS 2018) in doubles: bounds
// of pre-activations and of linear functions of the outputs. Nothing here is proven; the search
// writes down multipliers that a checker evaluates exactly.
//
// A Crown is the workspace of one thread. It holds the lines that bound every unit on the cell at
// hand and, after a substitution, the coefficients that every unit got.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/aligned.hpp"
#include "base/stop.hpp"
#include "bound/ball.hpp"
#include "bound/kernels.hpp"
#include "bound/layers.hpp"
#include "bound/points.hpp"

namespace plv {

// Lower and upper values of every pre-activation of the hidden layers, layer after layer.
struct RowBounds {
    std::vector<double> lo, hi;
};

// A box, perhaps a ball, the pieces of units that are fixed on it (-1 for the others), and what is
// known of their pre-activations.
struct CellView {
    const double *lo, *hi;
    const int8_t* pieces;
    RowBounds& bounds;
    const LocalBall* ball;  // or null
};

// terms . pre-activations of a layer + slope . s + constant; no slope stands for zeros.
struct LinearForm {
    std::vector<std::pair<int, double>> terms;
    const double* slope = nullptr;
    double constant = 0.0;
};

// A linear function over the box that bounds such a form from below.
struct LinearBound {
    std::vector<double> slope;
    double constant = 0.0;
    double least = 0.0;  // its minimum over the box and the ball
    double ball = 0.0;   // the ball's multiplier
    double size = 0.0;   // of all its terms, which rounding is relative to; where it was asked for
};

// Some of these; what counts is where all of them are at most 0.
struct HalfSpaces {
    std::vector<double> slope, constant, size;
    void add(const LinearBound& one) {
        slope.insert(slope.end(), one.slope.begin(), one.slope.end());
        constant.push_back(one.constant);
        size.push_back(one.size);
    }
    HalfSpacesView view() const {
        return {slope.data(), constant.data(), size.data(), static_cast<int>(constant.size())};
    }
};

// What a substitution gave a unit that is neither fixed nor known: the multipliers of its
// pre-activation (of a window's slot) and of its activation.
struct Multiplier {
    int layer, unit, slot;  // slot 0 for a unit of two pieces
    double h, g;
    bool chord;  // the bound is the chord, which only a split improves
};

class Crown {
public:
    Crown(const BoundNet& net, StopToken& stop);

    // From here on the network is given by these layers, on cells inside that which it was
    // condensed on; null: by all. Units, rows and bounds are numbered as they are in the whole
    // network.
    void use(std::shared_ptr<const BoundLayers> layers);
    // The layers at hand without units of which bounds tell the piece on the cell: a third of the
    // units is a ninth of the weights. There are no windows.
    std::shared_ptr<const BoundLayers> condense(const CellView& cell) const;
    // The units of a hidden layer that are there; all others are known.
    const std::vector<int>& units(int layer) const { return at_hand_->units[layer]; }

    // Bounds of all pre-activations by intervals, without units that are fixed and without a ball.
    // False if bounds contradict each other.
    bool intervals(const CellView& cell);
    // Bounds of the pre-activations that are open, and the lines of all units. False if bounds
    // contradict each other. Throws Stopped when stopped. With `where` they need to hold only where
    // these functions are at most 0 (INVPROP: Kotha et al., NeurIPS 2023), for boxes of at most
    // kMostWhere inputs.
    bool tighten(const CellView& cell, const HalfSpaces* where = nullptr);
    // The lines alone.
    void set_lines(const CellView& cell);
    // After that, on the same cell: of the lines through zero that bound an open unit, those that
    // are better at the first of the points.
    void move_lines(const Points& at);

    // Bounds of forms in the pre-activations of a layer (the layer count: of the outputs), with
    // the lines at hand.
    void below(int layer, const std::vector<LinearForm>& forms, const CellView& cell,
               std::vector<LinearBound>& out);
    // Of the last below(), for its i-th form: the multipliers of open units, and the sum of all
    // terms' magnitudes, which rounding is relative to.
    void multipliers(size_t i, const CellView& cell, std::vector<Multiplier>& out) const;
    double size(size_t i);
    // Of all its forms: what the lines of open units cost at most, in sum.
    void costs(const CellView& cell, std::vector<double>& out);
    // What the line of such a multiplier costs at a point.
    double loss(const CellView& cell, const Multiplier& of, const Points& at) const;

    // Whether a unit of two pieces is surely on one side: 1, 0, or -1 for not surely. Values near
    // zero are not.
    static int known(double lo, double hi);
    bool is_open(const CellView& cell, int layer, int unit) const;
    // The slot of a window that bounds show to be always the largest, or -1.
    int leading_slot(const CellView& cell, int layer, int window) const;
    // The linear bounds that tighten() found last for a pre-activation that was open: how much
    // they vary along each input coordinate, in sum.
    const double* dependence(size_t row) const {
        return dependence_.data() + row * static_cast<size_t>(net_.dim);
    }
    // Of all pre-activations, to be handed to the Crown of another search in the same box.
    const std::vector<double>& dependence() const { return dependence_; }
    void adopt_dependence(const std::vector<double>& from) { dependence_ = from; }
    // How far the lines of an open unit are apart at most.
    double gap(const CellView& cell, int layer, int unit) const;

private:
    int place(int layer, int row) const;
    void layer_lines(const CellView& cell, int layer);
    void window_lines(const CellView& cell, int layer);
    bool bound_layer(const CellView& cell, int layer, const HalfSpaces* where);
    void start(int layer, int lanes);
    void add_sizes();
    void least_on(const CellView& cell, int count);
    template <typename Put>
    void push_row(int layer, int row, Put&& put);
    void push_form(int layer, size_t lane, int row, double weight);
    void descend(int layer);
    void push(int layer);
    double* touch(int layer);
    double* touch(const BoundLayer::Block& block, int row);
    void forget(int layer);
    const std::vector<int>& touched_units(int layer) const {
        return touched_[layer] == kSome ? reached_[layer] : live_[layer];
    }
    const std::vector<int>& touched_rows(int layer) const {
        return touched_[layer] == kSome ? reached_[layer] : live_rows_[layer];
    }
    double* g_of(int layer) { return g_.data() + first_[layer] * static_cast<size_t>(lanes_); }
    const double* g_of(int layer) const {
        return g_.data() + first_[layer] * static_cast<size_t>(lanes_);
    }

    // Below a window lies the row `low`, above it slope times the row `high` plus lift.
    struct Window {
        int low, high;
        double slope, lift;
    };

    const BoundNet& net_;
    StopToken& stop_;
    const BoundKernels& kernels_;
    std::shared_ptr<const BoundLayers> condensed_;  // or null
    const BoundLayers* at_hand_ = nullptr;
    // What follows is by places of units and rows in the layers at hand.
    // Per unit of slopes: lines below and above.
    std::vector<AlignedVector<double>> under_, over_, under_lift_, over_lift_;
    std::vector<std::vector<double>> gaps_;  // between them, of open units
    std::vector<std::vector<Window>> windows_;
    std::vector<std::vector<uint8_t>> open_lines_;  // of units of two pieces: those of open ones
    std::vector<std::vector<int>> moving_;          // those of them whose lines move
    std::vector<std::vector<int>> live_;            // units that pass a gradient on
    std::vector<std::vector<int>> live_rows_;
    int lanes_ = 0, forms_ = 0, top_ = 0;
    // Coefficients of the inputs, then the constants, then of activations, one layer after the
    // other (first_: where each begins); of pre-activations by layers.
    AlignedVector<double> g_;
    std::vector<size_t> first_;
    double *input_ = nullptr, *constant_ = nullptr;  // in g_
    std::vector<AlignedVector<double>> h_;
    std::vector<std::vector<int>> columns_;  // of a layer's `input` that count
    // Whether the coefficients of a layer's live units hold something: of some only where what
    // reads them is sparse.
    enum Touched : uint8_t { kNone, kSome, kAll };
    enum Live : uint8_t { kDead, kLive, kReached };
    std::vector<uint8_t> touched_;
    std::vector<std::vector<uint8_t>> is_live_;
    std::vector<std::vector<int>> reached_;
    AlignedVector<double> raw_constant_;
    std::vector<double> point_, ball_;  // multipliers of lanes
    std::vector<int> biased_;           // live rows of a layer that have a bias
    std::vector<double> start_constant_, start_slope_;
    AlignedVector<double> sizes_;  // none yet, or of all lanes
    AlignedVector<double> costs_;
    std::vector<int> open_, all_;
    std::vector<double> dependence_;
};

}  // namespace plv
