// Products of a matrix with several vectors at a time, compiled once per instruction set and chosen
// at run time. The vectors lie side by side: entry i of vector l at x[i * lanes + l], with a
// multiple of kLane lanes, so that a weight is loaded once for all of them. What they compute is
// never believed; only rounding may differ between machines.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plv {

inline constexpr int kLane = 8;
inline constexpr int kMostPieces = 16;  // of windows with hulls
inline int whole_lanes(int n) { return (n + kLane - 1) / kLane * kLane; }

// A dense matrix: entry (o, i) at w[o * out_step + i * in_step].
struct MatrixView {
    const double* w;
    size_t out_step, in_step;
};

// The lines below and above units: slope and value at 0.
struct LineView {
    const double *under, *over, *under_lift, *over_lift;
};

// Per unit and lane, but for the slopes of pieces 0: lines, 1 where they may move, coefficients of
// activations, values of pre-activations, and the means that Adam keeps.
struct ClimbView {
    double *under, *over;
    const double *open, *g, *z, *slope;
    double *first, *second;
};

// Windows, per unit and slot where entries are not negative: shares of the line below, factors of
// the line above, bounds. Per unit what the line above adds, and its level: the largest slot is at
// most level + sum (z - level)^+, and each (z - level)^+ is at most its chord. Shares may
// move where `open` is 1, levels where `leveled` is.
struct WindowView {
    double *under, *over, *over_lift, *level;
    const double *lo, *hi, *level_lo, *level_hi, *open, *leveled;
    const int* entries;
    int slots;
};

// Above a unit lies an affine function of what it reads, in the box [lo, hi] of these: the sum of
// share * weight * value, plus lift, the least that makes it one (the concave envelope consists of
// such: Anderson et al., Mathematical Programming 183, 2020). Rows of weights are compressed; there
// is a share per weight and lane, between the unit's slope and 1, that counts in 256ths, and a mean
// of where its share should go. It is taken where `use` is 1, per unit and lane.
struct EnvelopeView {
    double *share, *mean, *lift, *scratch;
    const double *use, *lo, *hi, *slope, *bias;
    const size_t* start;
    const int32_t* col;
    const double* w;
    int n;  // inputs; `scratch` holds two numbers for each, and one for each of a unit's weights
};

// The same above windows, which are the largest of `pieces` affine functions: the sum of
// coefficient * value, plus lift. Coefficients count in units of `grain`, per window.
struct HullView {
    double *coefficient, *mean, *lift;
    const double *use, *lo, *hi, *grain;
    const size_t* start;
    const int32_t* col;
    const double *w, *bias;  // of pieces: by entry, and by window
    int pieces;
};

// Decays of the means, the size of the step, and what makes the second mean unbiased.
struct ClimbRates {
    double first, second, step, unbias;
};

// sum weight_k |s_k - center_k|, or weight_k (s_k - center_k)^2, at most size.
struct BallView {
    const double *weight, *center;
    double size;
};

// Functions slope . s + constant, with n slopes each, and what rounding is relative to.
struct HalfSpacesView {
    const double *slope, *constant, *size;
    int count;  // at most kMostWhere
};
inline constexpr int kMostWhere = 16;  // inputs

struct BoundKernels {
    // to[o] += sum over i of matrix(o, i) from[i], for listed o and i.
    void (*multiply)(const MatrixView& matrix, const int* outs, int n_outs, const int* ins,
                     int n_ins, const double* from, double* to, int lanes);
    // A matrix by compressed rows. `gather`: to[r] += row r of it . from, for listed r; `scatter`:
    // to += from[r] times row r, for listed r.
    void (*gather)(const size_t* start, const int32_t* col, const double* w, const int* rows,
                   int n_rows, const double* from, double* to, int lanes);
    void (*scatter)(const size_t* start, const int32_t* col, const double* w, const int* rows,
                    int n_rows, const double* from, double* to, int lanes);
    // Lines through units, from coefficients of activations to those of pre-activations, for listed
    // entries: h = x under where x > 0, else x over; constant[l] += x lift of that line.
    void (*relax)(const LineView& lines, const int* units, int n_units, const double* x, double* h,
                  double* constant, int lanes);
    // constant[l] += sum over i of x[i][l] times lo[i] where x > 0, else hi[i].
    void (*least)(const double* x, const double* lo, const double* hi, int n, double* constant,
                  int lanes);

    // sizes[l] += sum over listed rows of |x[row][l]| weight[row]; of the lifts of the lines that
    // `relax` takes, each |x lift|.
    void (*add_sizes)(const double* weight, const int* rows, int n_rows, const double* x,
                      double* sizes, int lanes);
    void (*add_lifts)(const LineView& lines, const int* units, int n_units, const double* x,
                      double* sizes, int lanes);

    // to[i] = x[i] where z[i] > 0, else slope[i] x[i], for i < n.
    void (*rectify)(const double* z, const double* x, const double* slope, int n, double* to,
                    int lanes);

    // relax and least with lines and boxes of every lane's own, kLane lanes side by side.
    void (*relax_each)(const LineView& lines, const int* units, int n_units, const double* x,
                       double* h, double* constant);
    void (*least_each)(const double* x, const double* lo, const double* hi, int n, double* constant,
                       double* at);  // `at`: which end it was
    // After `least`, whose `start` were these constants: least[l] becomes the best of what it is
    // and of the minima over the box of x . s + constant + multipliers . (view's functions), which
    // are at most 0. For n <= kMostWhere.
    void (*least_where)(const HalfSpacesView& view, const double* x, const double* lo,
                        const double* hi, int n, const double* start, double* least, int lanes);
    // The same on boxes and a ball together, by the minimum over the box of
    // x . s + multiplier * (distance - size).
    void (*least_in_l1_ball)(const BallView& ball, const double* x, const double* lo,
                             const double* hi, int n, double* constant, double* at,
                             double* multiplier);
    void (*least_in_l2_ball)(const BallView& ball, const double* x, const double* lo,
                             const double* hi, int n, double* constant, double* at,
                             double* multiplier);
    // The other way: from values z of pre-activations to those on the lines that relax_each took.
    void (*bend)(const LineView& lines, const int* units, int n_units, const double* x,
                 const double* z, double* to);
    // As relax_each, which adds to h here, and as bend, of windows.
    void (*relax_windows)(const WindowView& view, const int* units, int n_units, const double* x,
                          double* h, double* constant);
    void (*bend_windows)(const WindowView& view, const int* units, int n_units, const double* x,
                         const double* z, double* to);
    // The lines above from their levels.
    void (*lift_windows)(const WindowView& view, const int* units, int n_units);
    // Shares below grow where slots are above the mean: exponentiated gradients, relative to the
    // spread. Levels go down as the slope is.
    void (*climb_windows)(const WindowView& view, const int* units, int n_units, const double* x,
                          const double* z, const double* a, double step);
    // A step of Adam uphill of the slopes that may move, within [slope, 1].
    void (*climb)(const ClimbView& view, const int* units, int n_units, const ClimbRates& rates);
    // Of units with coefficients below 0 and envelopes: to = what they pass on to what they read;
    // their values, in place of those on a line of slope 0; the lifts of their shares; a step of
    // their shares towards the least value at what they read, in the set where both pieces of the
    // unit touch the function.
    void (*relax_envelopes)(const EnvelopeView& view, const int* units, int n_units,
                            const double* x, double* to);
    void (*bend_envelopes)(const EnvelopeView& view, const int* units, int n_units, const double* x,
                           const double* from, double* to);
    void (*lift_envelopes)(const EnvelopeView& view, const int* units, int n_units);
    void (*climb_envelopes)(const EnvelopeView& view, const int* units, int n_units,
                            const double* x, const double* from, double decay, double step);
    // The same of windows. A step goes towards less than the pieces that lead, softly, allow.
    void (*relax_hulls)(const HullView& view, const int* windows, int n_windows, const double* x,
                        double* to);
    void (*bend_hulls)(const HullView& view, const int* windows, int n_windows, const double* x,
                       const double* from, double* to);
    void (*lift_hulls)(const HullView& view, const int* windows, int n_windows);
    void (*climb_hulls)(const HullView& view, const int* windows, int n_windows, const double* x,
                        const double* from, double decay, double step, double soft);
};

const BoundKernels& bound_kernels();

}  // namespace plv
