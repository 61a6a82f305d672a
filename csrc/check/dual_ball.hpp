// Linear functions over a box and a ball together, in doubles.
//
// In the ball phi(x) <= size; so for any m >= 0 the minimum of g . x + m (phi(x) - size) over the
// box bounds g . x from below where box and ball meet. It is a sum over the inputs. Of each, p is a
// point of the (rounded) box that is nearly the best:
//
//     l2: p is t = c - g / (2 m), moved to the nearer end;   l1: c, moved, or an end where |g| > m,
//
// and g p + m phi(p) is at most `slack` above the minimum. For l1 nothing is rounded in finding p.
// For l2 let t* and p* be the exact ones. The term is a constant plus m (x - t*)^2. Where p and p*
// differ they lie between t and t*, since both are the same monotonic function of these: so the
// term is at most m (t - t*)^2 above its minimum. And |t - t*| <= u (3 |c| + 4 |t* - c|), where
// |t* - c| <= w + |t - t*| because p, at most w away from c, lies between. So
//
//     slack <= m (5 u (|c| + w))^2.
//
// Evaluating g p + m phi(p) rounds a number of operations that DualNet::terms covers, in proportion
// to |g p| + m phi(p), and m size likewise; a centre that is rounded, by `off`, moves phi(p) by
// 2 off w + off^2, or by off for l1; a multiplier that is rounded by u moves the minimum by
// u m (the largest phi + size) at most. All but the first are m times a number of the box and the
// ball, `BallBox::error`, twice as large as all of this, so that its own rounding is covered.
// Underflow is covered by kTiny, as all multipliers are between `kLeast` and `kMost`.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "check/dual_net.hpp"

namespace plv::check {

// The ball of a cell and its box, in doubles.
struct BallBox {
    static constexpr double kLeast = 1e-150, kMost = 1e150;
    static constexpr int kTries = 6;  // most multipliers of an l2 ball for a function

    const DualBall* ball = nullptr;  // or none
    std::vector<double> lo, hi;      // rounded outwards
    std::vector<double> middle;      // the centre, moved to the nearer end
    double error = 0;

    void set(const Cell& cell);

    // A first multiplier for the function with these gradients, every `step`-th number; 0: none.
    double first_multiplier(const double* g, size_t step) const;
    // A better one, from what was found with `m`; 0: none.
    double next_multiplier(double m, double free, double held) const {
        const double left = ball->size - held;
        const double next = left > 0 && free > 0 ? std::sqrt(free / left) / 2 : 0;
        return usable(next) && std::abs(next - m) > 1e-14 * next ? next : 0;
    }
    static bool usable(double m) { return kLeast < m && m < kMost; }

private:
    double l1_multiplier(const double* g, size_t step) const;
};

// What one multiplier gives, for one function or, with vectors, for several.
template <class V>
struct BallSum {
    V value{};  // sum of g p
    V reach{};  // sum of phi(p)
    V free{};   // l2: sum of g^2 of the inputs that the box does not hold back
    V held{};   // l2: sum of phi(p) of the others
};

// `gradient(i)` is that of input i, `m` a multiplier for each.
template <class V, class F>
inline __attribute__((always_inline)) BallSum<V> over_ball(const BallBox& box, F&& gradient,
                                                           const V& m) {
    const V none{};
    BallSum<V> out;
    const size_t n = box.lo.size();
    const double* c = box.ball->centre.data();
    if (box.ball->squares) {
        const V half = 0.5 / m;
        for (size_t i = 0; i < n; ++i) {
            const V y = gradient(i), t = c[i] - y * half, lo = none + box.lo[i],
                    hi = none + box.hi[i];
            const V p = t < lo ? lo : (t > hi ? hi : t), q = p - c[i], term = q * q;
            out.value += y * p;
            out.reach += term;
            out.free += p == t ? y * y : none;
            out.held += p == t ? none : term;
        }
        return out;
    }
    for (size_t i = 0; i < n; ++i) {
        const V y = gradient(i), size = y < 0.0 ? -y : y, middle = none + box.middle[i];
        const V p = size <= m ? middle : (y > 0.0 ? none + box.lo[i] : none + box.hi[i]);
        const V q = p - c[i];
        out.value += y * p;
        out.reach += q < 0.0 ? -q : q;
    }
    return out;
}

}  // namespace plv::check
