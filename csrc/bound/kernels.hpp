// Products of a matrix with several vectors at a time, compiled once per instruction set and chosen
// at run time. The vectors lie side by side: entry i of vector l at x[i * lanes + l], with a
// multiple of kLane lanes, so that a weight is loaded once for all of them. What they compute is
// never believed; only rounding may differ between machines.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plv {

inline constexpr int kLane = 8;
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

// Decays of the means, the size of the step, and what makes the second mean unbiased.
struct ClimbRates {
    double first, second, step, unbias;
};

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

    // to[i] = x[i] where z[i] > 0, else slope[i] x[i], for i < n.
    void (*rectify)(const double* z, const double* x, const double* slope, int n, double* to,
                    int lanes);

    // relax and least with lines and boxes of every lane's own, kLane lanes side by side.
    void (*relax_each)(const LineView& lines, const int* units, int n_units, const double* x,
                       double* h, double* constant);
    void (*least_each)(const double* x, const double* lo, const double* hi, int n, double* constant,
                       double* at);  // `at`: which end it was
    // The other way: from values z of pre-activations to those on the lines that relax_each took.
    void (*bend)(const LineView& lines, const int* units, int n_units, const double* x,
                 const double* z, double* to);
    // A step of Adam uphill of the slopes that may move, within [slope, 1].
    void (*climb)(const ClimbView& view, const int* units, int n_units, const ClimbRates& rates);
};

const BoundKernels& bound_kernels();

}  // namespace plv
