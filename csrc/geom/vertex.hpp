// Vertices of a cell in floating point, each with a proven distance to the exact point it stands
// for.
//
// A vertex is implicit: the point where D lines meet (in 1-D the zero of one). Its rounded
// coordinates come from those lines' rounded rows, and its error from the *residuals* of the
// rounded point on them: with J the exact 2 x 2 matrix of gradients and r the exact residuals, v^ -
// v* = J^-1 r, so |v^ - v*| <= |adj J| |r| / |det J|. Errors compounded along a chain of clips
// would grow without bound; this one forgets how the vertex was found.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/rounding.hpp"

namespace plv {

// Rows and coordinates beyond this are left to exact arithmetic, so that no product of two of them
// overflows.
inline constexpr double kHuge = 1e150;

// A line a . s + c + d R = 0 rounded; the columns of a and c are off by at most `error` in sum, d
// is exact and nonzero only for the sides of the symbolic box.
template <int D>
struct RoundedLine {
    double a[D];
    double c = 0.0, d = 0.0, error = 0.0;
};

// |x - x*| <= delta in every coordinate and max(1, |x|, |x*|) <= rho. `x[D]` weights the constant
// term of a row: 1 for a finite vertex, 0 for a vertex at infinity, whose x is the direction per R.
template <int D>
struct Vertex {
    double x[D + 1];
    double delta, rho;
    int32_t point;  // interned exact point, or -1
    int32_t
        line;  // 2-D: line of the edge to the next vertex; 1-D: the line on which the vertex lies
    uint32_t coincident;  // bit 0: other units than the line's vanish all along the edge
    uint32_t reserved;
};

namespace detail {
// Bounds the rounding of a row's evaluation, relative to its terms, with room for one more rounding
// of the result.
template <int D>
inline constexpr double kEvalOf = (D <= 2 ? 8 : 2 * D + 4) * kRound;
inline constexpr double kEval = kEvalOf<2>;
inline constexpr double kTiny = 1e-250;  // below this a determinant may be made of what underflowed

template <int D>
void finish_vertex(Vertex<D>& v) {
    double size = 1.0;
    for (int k = 0; k < D; ++k) size = std::max(size, std::fabs(v.x[k]));
    if (!(v.delta < 0.25 * size) ||
        !(size < kHuge)) {  // also when NaN: nothing is known in floating point
        for (int k = 0; k < D; ++k) v.x[k] = 0.0;
        v.delta = v.rho = std::numeric_limits<double>::infinity();
        return;
    }
    v.rho = (size + v.delta) * kUp;
}
}  // namespace detail

// The rounded vertex where the lines meet, without point, line and flags.
inline Vertex<1> meet(const RoundedLine<1>& u) {
    Vertex<1> v{};
    const bool infinite = u.d != 0.0;
    const double c = infinite ? u.d : u.c;
    v.x[1] = infinite ? 0.0 : 1.0;
    v.x[0] = -c / u.a[0];
    const double term = u.a[0] * v.x[0];
    const double residual = std::fabs(term + c) + detail::kEval * (std::fabs(term) + std::fabs(c)) +
                            u.error * std::max(1.0, std::fabs(v.x[0]));
    const double low = std::fabs(u.a[0]) - u.error * kUp;
    v.delta = low > detail::kTiny ? residual / low * kUp + 1e-300
                                  : std::numeric_limits<double>::infinity();
    detail::finish_vertex(v);
    return v;
}

inline Vertex<2> meet(const RoundedLine<2>& u, const RoundedLine<2>& w) {
    Vertex<2> v{};
    const bool infinite = u.d != 0.0 || w.d != 0.0;
    const double uc = infinite ? u.d : u.c, wc = infinite ? w.d : w.c;
    v.x[2] = infinite ? 0.0 : 1.0;
    const double p = u.a[0] * w.a[1], q = u.a[1] * w.a[0], det = p - q;
    const double inverse = 1.0 / det;  // however x and y are found, the residuals judge them
    const double x = (u.a[1] * wc - w.a[1] * uc) * inverse;
    const double y = (uc * w.a[0] - wc * u.a[0]) * inverse;
    v.x[0] = x;
    v.x[1] = y;
    const double u0 = std::fabs(u.a[0]) + u.error, u1 = std::fabs(u.a[1]) + u.error;
    const double w0 = std::fabs(w.a[0]) + w.error, w1 = std::fabs(w.a[1]) + w.error;
    const double size = std::max({1.0, std::fabs(x), std::fabs(y)});
    auto residual = [&](const RoundedLine<2>& line, double c) {
        const double t0 = line.a[0] * x, t1 = line.a[1] * y;
        return std::fabs(t0 + t1 + c) +
               detail::kEval * (std::fabs(t0) + std::fabs(t1) + std::fabs(c)) + line.error * size;
    };
    const double ru = residual(u, uc), rw = residual(w, wc);
    // |det J| of the exact gradients is at least this.
    const double lost =
        detail::kEval * (std::fabs(p) + std::fabs(q)) + (u.error * (w0 + w1) + w.error * (u0 + u1));
    const double low = std::fabs(det) - lost * kUp;
    const double num = std::max(w1 * ru + u1 * rw, w0 * ru + u0 * rw);
    v.delta =
        low > detail::kTiny ? (num + 1e-300) / low * kUp : std::numeric_limits<double>::infinity();
    detail::finish_vertex(v);
    return v;
}

}  // namespace plv
