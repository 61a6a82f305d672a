#include "check/dual_ball.hpp"

#include <algorithm>
#include <functional>

namespace plv::check {

namespace {

constexpr double kHalfUlp = 0x1p-53;

}  // namespace

void BallBox::set(const Cell& cell) {
    ball = cell.ball;
    if (ball == nullptr) return;
    const size_t n = cell.box.lo.size();
    for (auto* v : {&lo, &hi, &middle}) v->resize(n);
    double shifts = 0, slack = 0, far = ball->size;
    for (size_t i = 0; i < n; ++i) {
        const double c = ball->centre[i], off = ball->off[i];
        lo[i] = cell.box.lo[i].rounded;
        hi[i] = cell.box.hi[i].rounded;
        middle[i] = std::min(std::max(c, lo[i]), hi[i]);
        const double w = std::max(std::abs(lo[i] - c), std::abs(hi[i] - c)) + off;
        const double e = 5 * kHalfUlp * (std::abs(c) + w);
        shifts += ball->squares ? (2 * w + off) * off : off;
        slack += ball->squares ? e * e : 0;
        far += ball->squares ? w * w : w;
    }
    error = 2 * (shifts + slack + kHalfUlp * far);
}

double BallBox::first_multiplier(const double* g, size_t step) const {
    if (!ball->squares) return l1_multiplier(g, step);
    double free = 0;
    for (size_t i = 0; i < lo.size(); ++i) free += g[i * step] * g[i * step];
    return next_multiplier(0, free, 0);
}

// Inputs use the radius up in the order of their slopes: the best multiplier is that of the one
// that would use up more than is left.
double BallBox::l1_multiplier(const double* g, size_t step) const {
    std::vector<std::pair<double, double>> inputs;
    double used = 0;
    for (size_t i = 0; i < lo.size(); ++i) {
        const double y = g[i * step], near = std::abs(middle[i] - ball->centre[i]);
        used += near;
        if (y != 0)
            inputs.emplace_back(std::abs(y),
                                std::abs((y > 0 ? lo[i] : hi[i]) - ball->centre[i]) - near);
    }
    std::sort(inputs.begin(), inputs.end(), std::greater<>());
    for (const auto& [slope, distance] : inputs)
        if ((used += distance) > ball->size) return usable(slope) ? slope : 0;
    return 0;
}

}  // namespace plv::check
