#include "bound/ball.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

namespace {

constexpr int kTries = 6;

struct View {
    const LocalBall& ball;
    const double *g, *lo, *hi;
    size_t step, box_step;

    double slope(size_t k) const { return g[k * step]; }
    // Where g s + multiplier * (the ball's term) is least on the box.
    double end(size_t k, double multiplier) const {
        const double a = lo[k * box_step], b = hi[k * box_step], c = slope(k);
        const double weight = multiplier * ball.weight[k];
        if (ball.norm == LocalBall::Norm::l2 && weight > 0.0)
            return std::clamp(ball.center[k] - c / (2.0 * weight), a, b);
        if (ball.norm == LocalBall::Norm::l1 && std::fabs(c) <= weight)
            return std::clamp(ball.center[k], a, b);
        return c > 0.0 ? a : b;
    }
};

// Of an l1 ball the multiplier is that of the input where the distance is used up, those with the
// largest slopes first.
double l1_multiplier(const View& view, std::vector<std::pair<double, double>>& order) {
    const LocalBall& ball = view.ball;
    order.clear();
    double used = 0.0;
    for (size_t k = 0; k < ball.weight.size(); ++k) {
        const double near = ball.term(
            k, std::clamp(ball.center[k], view.lo[k * view.box_step], view.hi[k * view.box_step]));
        const double far = ball.term(k, view.end(k, 0.0));
        used += near;
        if (far > near) order.emplace_back(std::fabs(view.slope(k)) / ball.weight[k], far - near);
    }
    std::sort(order.begin(), order.end(), std::greater<>());
    for (const auto& [slope, distance] : order)
        if ((used += distance) > ball.size) return slope;
    return 0.0;
}

}  // namespace

double LocalBall::term(size_t k, double s) const {
    const double d = s - center[k];
    return weight[k] * (norm == Norm::l2 ? d * d : std::fabs(d));
}

double LocalBall::at(const double* s, size_t step) const {
    double sum = 0.0;
    for (size_t k = 0; k < weight.size(); ++k) sum += term(k, s[k * step]);
    return sum;
}

void LocalBall::pull(double* s, size_t step) const {
    const double distance = at(s, step);
    if (!(distance > size) || !(distance > 0.0)) return;
    double part = size / distance;
    if (norm == Norm::l2) part = std::sqrt(std::max(part, 0.0));
    for (size_t k = 0; k < weight.size(); ++k)
        s[k * step] = center[k] + part * (s[k * step] - center[k]);
}

BallLeast least_over(const LocalBall& ball, const double* g, size_t step, const double* lo,
                     const double* hi, size_t box_step, double* point, size_t point_step) {
    const View view{ball, g, lo, hi, step, box_step};
    const size_t dim = ball.weight.size();
    const auto bound = [&](double multiplier) {
        double value = -multiplier * ball.size;
        for (size_t k = 0; k < dim; ++k) {
            const double s = view.end(k, multiplier);
            value += view.slope(k) * s + (multiplier > 0.0 ? multiplier * ball.term(k, s) : 0.0);
        }
        return value;
    };
    BallLeast best{bound(0.0), 0.0};
    const auto consider = [&](double multiplier) {
        if (!(multiplier > 0.0) || !std::isfinite(multiplier)) return;
        if (const double value = bound(multiplier); value > best.value) best = {value, multiplier};
    };
    if (ball.norm == LocalBall::Norm::l1) {
        std::vector<std::pair<double, double>> order;
        consider(l1_multiplier(view, order));
    } else {
        // Newton's method, as it were: the inputs that the box holds back are taken as known.
        double multiplier = 0.0;
        for (int i = 0; i < kTries; ++i) {
            double free = 0.0, left = ball.size;
            for (size_t k = 0; k < dim; ++k) {
                const double c = view.slope(k), s = view.end(k, multiplier);
                const double inner =
                    multiplier > 0.0 ? ball.center[k] - c / (2.0 * multiplier * ball.weight[k]) : s;
                if (multiplier == 0.0 || s == inner)
                    free += c * c / ball.weight[k];
                else
                    left -= ball.term(k, s);
            }
            if (!(left > 0.0) || !(free > 0.0)) break;
            const double next = std::sqrt(free / left) / 2.0;
            if (std::fabs(next - multiplier) <= 1e-14 * next) break;
            consider(multiplier = next);
        }
    }
    for (size_t k = 0; k < dim; ++k) point[k * point_step] = view.end(k, best.multiplier);
    return best;
}

}  // namespace plv
