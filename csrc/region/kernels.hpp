// The vector kernels of the region engine, compiled once per instruction set and chosen at run
// time.
//
// A *map* holds the affine functions of one layer's units over the domain: D + 1 columns (D
// gradient components, then the constant) of `stride` doubles each, column k at m[k * stride]. The
// kernels neither know nor care what a unit is; the error bounds they evaluate are derived in
// docs/developer.md ("Signs in floating point"). None of them relies on whether a multiplication
// and an addition are fused: the bounds hold either way.
#pragma once

#include <cstdint>

#include "geom/dimension.hpp"

namespace plv {

// Vertices of a cell as the kernels read them: coordinate k of vertex v at x[v * step + k],
// coordinate D being the weight of the constant term (1 for a finite vertex, 0 for a vertex at
// infinity).
struct VertexBlock {
    const double* x;
    int step;
    int count;
    double rho;    // upper bound of max(1, |x|) over the vertices
    double delta;  // upper bound of the vertices' coordinate errors
};

// What a cell test says about eight units at a time; a bit in none of the three is undecided.
struct SignMasks {
    uint8_t* positive;  // strictly positive at every vertex
    uint8_t* negative;  // strictly negative at every vertex
    uint8_t* crossing;  // strictly positive at one vertex and strictly negative at another
};

// Error model of the rows of a map: row r is off by at most E_r = norm[r] * scale + base[r] +
// extra, summed over its columns.
struct RowError {
    const double* norm;
    const double* base;
    double scale;
    double extra;
};

// Windows over the rows of a map: slot s of window w reads row table[s * stride + w]. Where a
// window has fewer slots, another of its own rows stands in; padding windows read row 0.
// `nonnegative`: no row is negative in the cell, so a row that is zero cannot win alone.
struct WindowTable {
    const int32_t* table;
    int slots, stride;
    bool nonnegative;
};

// One end of an edge on which some row vanishes in between: the values of all rows there with their
// bounds, and the weight of the *other* end's values with its error.
struct MixEnd {
    const double *z, *bound;
    double weight, error;
};

// Stands for what is not known of a row's range.
inline constexpr double kFar = 1e300;

struct KernelTable {
    // m += sum_j w[:, cols[j]] (x) coef[j]: `coef` is count x (D + 1); w is by columns with the
    // map's stride.
    void (*accumulate)(double* m, int stride, const double* w, const int* cols, const double* coef,
                       int count);
    // m += w (x) coef for one column w given by `count` groups of kPad rows; `stamp` goes to
    // stamps[r] for every row r in which w is not zero.
    void (*accumulate_groups)(double* m, int stride, double* stamps, double stamp,
                              const int32_t* group, const double* values, int count,
                              const double* coef);
    // Signs of `blocks` * 8 rows over all vertices of a cell.
    void (*classify)(const double* m, int stride, int blocks, const RowError& error,
                     const VertexBlock& v, const SignMasks& out);
    // The same, and per row a lower bound of its values over the vertices and an upper one (stride
    // doubles each; -kFar and kFar where nothing is known).
    void (*classify_ranges)(const double* m, int stride, int blocks, const RowError& error,
                            const VertexBlock& v, const SignMasks& out, double* low, double* high);
    // Signs without any error bound (zeros count as non-negative). Only what the filter costs is
    // measured with it.
    void (*classify_unchecked)(const double* m, int stride, int blocks, const VertexBlock& v,
                               const SignMasks& out);
    // Windows over ReLUs whose rows are within [low, high] all over a cell; slot s of window w is
    // row table[s * stride + w]. Per window the row that leads wherever any is on, -1 where all are
    // off all over the cell, and two bits: `open` where no row surely leads, `swing` where the
    // leader may be on and off.
    void (*leaders)(const double* low, const double* high, const int32_t* table, int slots,
                    int stride, int32_t* value, uint8_t* swing, uint8_t* open);
    // Per window, the slot that is largest at the first vertex (the first of equal ones), and
    // whether it surely is larger than every other slot all over the cell; of rows that are zero
    // with error zero, the first one wins. `error` has one bound per row.
    void (*windows)(const double* m, int stride, const WindowTable& windows, const double* error,
                    const VertexBlock& v, int32_t* best, uint8_t* decided);
    // The points where D lines a . x + c = 0 meet, kPad at a time: entry e of a table of point v at
    // e * kPad + v, a by rows (line, coordinate). `error` bounds the error of a line's columns in
    // sum; `delta` that of the coordinates, infinite where nothing is known.
    void (*meet)(const double* a, const double* c, const double* error, double* x, double* delta);
    // Values of blocks * kPad rows at the vertices, vertex after vertex, and for every row the
    // bound of their errors.
    void (*values)(const double* m, int stride, int blocks, const double* error,
                   const VertexBlock& v, double* z, double* bound);
    // Values between two points: u.weight times v's plus v.weight times u's, with bounds.
    void (*mix)(int blocks, const MixEnd& u, const MixEnd& v, double* z, double* bound);
    // Signs of rows whose values at `count` vertices are known; the bounds of vertex k are at
    // bound[k * step].
    void (*judge)(int blocks, int count, const double* z, const double* bound, int step,
                  const SignMasks& out);
    // Upper bound (up to rounding) of the sum of (E_r + k S_r)^2 over rows whose bit is clear in
    // `skip` (null: all rows), S_r = sum of the absolute values of the row's columns.
    double (*mass)(const double* m, int stride, int blocks, const RowError& error, double k,
                   const uint8_t* skip);
};

// For domains of dimension 1 to kMaxDimension.
const KernelTable& kernels(int dim);
// "avx512", "avx2" or "portable": what kernels() chose on this machine.
const char* kernel_isa();
// Makes kernels() return the portable ones (for tests); not thread-safe, call before any engine
// runs.
const KernelTable& portable_kernels(int dim);

}  // namespace plv
