// Bounds of nodes of a split tree over many inputs, eight nodes at a time: the slopes of the lines
// that bound open units, the multipliers of units that are fixed by a split and the weights of the
// goals are moved uphill (alpha-beta-CROWN: Wang et al., NeurIPS 2021), with steps as in Adam. As
// in crown.hpp nothing is proven here: what comes out are multipliers that a checker evaluates.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/aligned.hpp"
#include "base/stop.hpp"
#include "bound/crown.hpp"
#include "bound/kernels.hpp"
#include "bound/layers.hpp"

namespace plv {

// A unit that is fixed by a split.
struct FixedUnit {
    int layer, unit, piece;
};

// Of a unit bounded by its envelope: of its weights, by column of the input, shares in 256ths.
struct EnvelopeShares {
    int layer, unit;
    std::vector<std::pair<int, int>> shares;
};

// Of a window bounded by its hull: coefficients of columns of the input.
struct HullCoefficients {
    int layer, window;
    std::vector<std::pair<int, double>> coefficients;
};

// Where an ascent begins and ends.
struct Climb {
    std::vector<float> slopes;  // of all units: of the line that is free to move; < -1e30: not set
    std::vector<float> pulls;   // of all units: coefficients of activations; 0: not open
    std::vector<float> hulls;   // the coefficients of all hulls
    std::vector<uint16_t> envelopes;  // the shares of all envelopes, in 256ths
    std::vector<float> shares;        // of windows' slots in the lines below, unit after unit
    std::vector<float> levels;        // of the lines above windows
    std::vector<double> splits;       // of the rows of fixed units, in order (see rows_of)
    std::vector<double> goals;        // exponents of their weights
};

class Ascent {
public:
    // Of forms in the pre-activations of layer `top` (the layer count: of the outputs).
    Ascent(const BoundNet& net, int top, StopToken& stop);
    // What is bounded: a weighted sum of these, with weights that move.
    void set_goals(std::vector<LinearForm> goals);
    // On a lane that is loaded, one of them alone.
    void choose(int lane, int goal);

    // Puts a node on a lane; lanes are loaded in order, from 0.
    void load(int lane, const CellView& cell, const std::vector<FixedUnit>& path,
              const Climb& from);
    // Puts the children of a node on the first lanes; one unit of each is fixed besides. `again`:
    // others of the same node, where nothing has moved since.
    void load_children(const CellView& cell, const std::vector<FixedUnit>& path,
                       const std::vector<FixedUnit>& more, const Climb& from, bool again);
    // At most so many steps: fewer where all loaded lanes are refuted or, where it `gives_up`, none
    // of them is likely to be. Without `wants_losses` neither losses nor points are known then.
    // `pace`: the size of steps. Throws Stopped.
    void climb(int steps, double pace, bool wants_losses = true, bool gives_up = false);
    // The best bound of a lane.
    double least(int lane) const { return least_[static_cast<size_t>(lane)]; }
    // Whether it is surely positive, and then the multipliers that show it: of open units and of
    // the rows of fixed ones.
    bool refuted(int lane) const { return refuted_[static_cast<size_t>(lane)]; }
    struct Shown {
        std::vector<Multiplier> open;
        std::vector<EnvelopeShares> envelopes;
        std::vector<HullCoefficients> hulls;
        std::vector<double> splits, goals;
        double ball = 0.0;
    };
    // The bound of a lane after the last step, less what rounding may change, and shown() for it.
    double last(int lane);
    // That bound as a function of a local coordinate, which is least at one of its ends.
    double slope(int lane, int k) const { return input_[static_cast<size_t>(k * kLanes + lane)]; }
    const Shown& shown(int lane) const { return shown_[static_cast<size_t>(lane)]; }

    void store(int lane, Climb& to) const;
    void point(int lane, double* s) const;  // where the last bound of a lane is attained
    // What the relaxation of open units costs beyond their pieces, at the mean of the points where
    // bounds were least. The layers in order.
    struct Loss {
        double loss;  // negative: bounds tell the piece, a slot that is always the largest
        int layer, unit;
    };
    void losses(int lane, std::vector<Loss>& out) const;

    // The rows of a fixed unit: one, or one for every other slot of a window.
    static int rows_of(const Layer& layer, const FixedUnit& fixed);

private:
    static constexpr int kLanes = kLane;
    struct Split {
        int sign_row, row;  // adds multiplier * (z_sign_row - z_row), or +-z_row
        double sign;
        int lane, at;  // place among the rows of its lane
    };
    struct Sheet;
    // The envelopes of a layer that reads the input alone.
    struct Envelope {
        std::vector<size_t> start;
        std::vector<int32_t> col;
        std::vector<double> w;
        AlignedVector<double> share, mean;  // per weight and lane
        AlignedVector<double> use;          // per unit and lane
        AlignedVector<double> scratch;
        size_t first = 0;  // of its weights among those of all envelopes
    };

    // The hulls of a layer of windows over ReLUs that read the input alone.
    struct Hull {
        int pieces = 0;
        std::vector<size_t> start;  // of the columns of windows; none of those without a hull
        std::vector<int32_t> col;
        std::vector<double> w, bias, grain;
        AlignedVector<double> coefficient, mean;  // per column of a window and lane
        AlignedVector<double> use;                // per window and lane
        size_t first = 0;                         // of its columns among those of all hulls
    };

    void begin(int lane, const CellView& cell, const Climb& from);
    void add_splits(int lane, const FixedUnit& fixed);
    double first_multiplier(const FixedUnit& fixed, int slot) const;
    void lines_of(int first, int last, const CellView& cell, const Climb& from);
    void lines_of_unit(int layer, int unit, int first, int last, const CellView& cell,
                       const Climb& from);
    void unit_lines(Sheet& sheet, const Layer& layer, int j, int first, int last, int piece,
                    double lo, double hi, float set, const uint16_t* shares);
    void window_lines(Sheet& sheet, const Layer& layer, int j, int first, int last, int piece,
                      const double* zlo, const double* zhi, const float* shares, const float* level,
                      const float* hulls);
    static WindowView view_of(Sheet& sheet, const Layer& layer);
    // ascent_envelope.cpp
    void make_envelope(int layer);
    void begin_envelope(Envelope& envelope, int j, int first, int last, double slope, double chord,
                        const uint16_t* from);
    EnvelopeView view_of(Sheet& sheet, int layer);
    void make_hull(int layer);
    bool add_hull(const Envelope& rows, int layer, int below, int window, Hull& out) const;
    void begin_hull(Hull& hull, int window, int first, int last, const float* from);
    static HullView view_of(Sheet& sheet, const AlignedVector<double>& lo,
                            const AlignedVector<double>& hi);
    void show_hull(const Sheet& sheet, int layer, int window, int lane);
    void show_envelope(const Sheet& sheet, int layer, int unit, int lane);
    void prepare();
    void backward();
    void forward();
    void advance(int step, double pace);
    void average(int step);
    void push(int layer, bool down);
    bool may_refute(const std::vector<double>& before, int steps) const;
    void show(int lane);
    double size(int lane) const;
    double* touch(int layer);

    const BoundNet& net_;
    const int top_;
    std::vector<LinearForm> goals_;
    StopToken& stop_;
    const BoundKernels& kernels_;
    int loaded_ = 0, filled_ = 0;   // lanes; and those that are not copies
    std::vector<FixedUnit> more_;   // of children
    const Climb* start_ = nullptr;  // of the lane that is being loaded
    bool goes_on_ = false;          // from where another ascent ended

    struct Sheet {
        AlignedVector<double> under, over, under_lift, over_lift, open;
        AlignedVector<double> g, h, z, a, first, second;
        AlignedVector<double> mean_z, mean_a;
        // Of windows: lines by slots, slot after slot of a unit.
        AlignedVector<double> slot_lo, slot_hi, level, level_lo, level_hi, leveled;
        std::vector<uint8_t> fixed;  // per unit and lane
        std::vector<int> entries;    // of slots
        std::vector<uint8_t> marks;
        std::vector<Split> splits;
        std::unique_ptr<Envelope> envelope;  // or none
        std::unique_ptr<Hull> hull;          // or none
        std::vector<int> live, rows;         // units and pre-activations that count on some lane
        std::vector<int> moving;             // units that are open on some lane
        bool touched = false;
        bool prepared = false;
        size_t first_share = 0, first_level = 0;  // among those of all windows
    };
    std::vector<Sheet> sheets_;             // one per hidden layer
    size_t shares_ = 0, coefficients_ = 0;  // of all envelopes and hulls
    AlignedVector<double> out_h_, out_z_;
    std::vector<int> out_rows_, all_;
    AlignedVector<double> lo_, hi_, input_, point_;
    std::vector<double> goal_scale_;
    const LocalBall* ball_ = nullptr;
    alignas(64) double ball_multiplier_[kLanes] = {};
    std::vector<std::vector<double>> weight_, exponent_, goal_first_, goal_second_;  // of lanes
    std::vector<std::vector<double>> split_, split_first_, split_second_;            // of lanes
    std::vector<AlignedVector<double>> scale_;  // of layers: of g
    alignas(64) double constant_[kLanes];
    std::vector<double> least_;
    std::vector<uint8_t> refuted_;
    std::vector<Shown> shown_;
};

}  // namespace plv
