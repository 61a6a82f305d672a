// A ball in local coordinates, and linear functions over a box and a ball together.
#pragma once

#include <cstddef>
#include <vector>

namespace plv {

// sum weight_k |s_k - center_k|, or (s_k - center_k)^2, at most size.
struct LocalBall {
    enum class Norm { none, l1, l2 } norm = Norm::none;
    std::vector<double> weight, center;
    double size = 0.0;

    bool is_there() const { return norm != Norm::none; }
    double term(size_t k, double s) const;
    // How far a point is from the center, in the units of `size`.
    double at(const double* s, size_t step) const;
    // Moves a point that is outside towards the center.
    void pull(double* s, size_t step) const;
};

// A lower bound of g . s on the box and the ball, by the minimum over the box of
// g . s + multiplier * (distance - size); `point` is where that is attained.
struct BallLeast {
    double value, multiplier;
};
BallLeast least_over(const LocalBall& ball, const double* g, size_t step, const double* lo,
                     const double* hi, size_t box_step, double* point, size_t point_step);

}  // namespace plv
