#include "search/attack.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

namespace {
constexpr double kWork = 4e6;  // products per step, more or less
constexpr int kMostPoints = 64;
constexpr int kRounds = 4;  // of points of which the best are starts
constexpr int kSteps = 50, kFewSteps = 10;
constexpr double kNearly = 1e-9;                        // of the terms of a goal
constexpr double kFirstStep = 0.25, kLastStep = 0.002;  // of a side
}  // namespace

Attack::Attack(const CaseProblem& problem, StopToken& stop)
    : problem_(problem), stop_(stop), points_(*problem.box().net) {
    double weights = 1.0;
    for (const BoundLayer& layer : problem.box().net->layers) {
        weights += static_cast<double>(layer.input.w.size());
        for (const BoundLayer::Block& block : layer.blocks)
            weights += static_cast<double>(block.map.w.size());
    }
    lanes_ = std::clamp(whole_lanes(static_cast<int>(std::min(kWork / weights, 1e3))), kLane,
                        kMostPoints);
    s_.resize(static_cast<size_t>(problem.dim()));
}

// The middle, and random points; of every other one about half of the coordinates are ends, where
// thin violations often lie.
void Attack::scatter(const double* lo, const double* hi, int count) {
    points_.resize(count);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (int k = 0; k < problem_.dim(); ++k)
        for (int p = 0; p < count; ++p) {
            double t = uniform(random_);
            if (p == 0) t = 0.5;
            if (p % 2 == 1) t = std::clamp(2.0 * t - 0.5, 0.0, 1.0);
            points_.at(k, p) = lo[k] + t * (hi[k] - lo[k]);
        }
    pull(count);
}

void Attack::pull(int count) {
    const LocalBall& ball = problem_.box().ball;
    for (int p = 0; p < count && ball.is_there() && problem_.dim() > 0; ++p)
        ball.pull(&points_.at(0, p), static_cast<size_t>(points_.lanes()));
}

std::optional<Witness> Attack::sample(const double* lo, const double* hi,
                                      const std::function<void(double)>& seen) {
    if (stop_.poll()) throw Stopped{};
    scatter(lo, hi, lanes_);
    points_.evaluate();
    for (int p = 0; p < lanes_; ++p) {
        int goal;
        double worst;
        const bool near = is_near(p, goal, worst);
        points_.get(p, s_.data());
        if (near)
            if (auto found = problem_.violation_near(s_.data())) return found;
        if (seen) seen(worst);
    }
    return std::nullopt;
}

// Descends from the best of many points.
std::optional<Witness> Attack::everywhere(const double* lo, const double* hi) {
    struct Start {
        double worst;
        std::vector<double> s;
    };
    std::vector<Start> best;
    const auto better = [](const Start& a, const Start& b) { return a.worst < b.worst; };
    for (int round = 0; round < kRounds; ++round) {
        if (auto found = sample(lo, hi, [&](double worst) { best.push_back({worst, s_}); }))
            return found;
        std::sort(best.begin(), best.end(), better);
        best.resize(static_cast<size_t>(lanes_));
    }
    for (int p = 0; p < lanes_; ++p) points_.set(p, best[static_cast<size_t>(p)].s.data());
    return descend(lo, hi, lanes_, kSteps);
}

std::optional<Witness> Attack::nearby(const double* lo, const double* hi, const double* point) {
    scatter(lo, hi, kLane);
    points_.set(1, point);
    return descend(lo, hi, kLane, kFewSteps);
}

// The goal that is farthest from being met at a point; whether all are met but for rounding.
bool Attack::is_near(int lane, int& goal, double& worst) const {
    const auto step = static_cast<size_t>(points_.lanes());
    const double *y = points_.outputs(lane), *s = points_.coordinates(lane);
    goal = -1;
    worst = -HUGE_VAL;
    for (size_t g = 0; g < problem_.goals().size(); ++g) {
        const Goal& one = problem_.goals()[g];
        double v = one.constant;
        for (const auto& [k, c] : one.outputs) v += c * y[static_cast<size_t>(k) * step];
        for (int k = 0; k < problem_.dim(); ++k)
            v += one.slope[k] * s[static_cast<size_t>(k) * step];
        if (v > worst) worst = v, goal = static_cast<int>(g);
    }
    return goal < 0 || problem_.holds_nearly(s, y, kNearly, step);
}

std::optional<Witness> Attack::descend(const double* lo, const double* hi, int count, int steps) {
    const int dim = problem_.dim(), lanes = points_.lanes();
    for (int step = 0;; ++step) {
        if (stop_.poll()) throw Stopped{};
        points_.evaluate();
        weights_.assign(static_cast<size_t>(problem_.net().output_size() * lanes), 0.0);
        std::vector<int> goals(static_cast<size_t>(count));
        for (int p = 0; p < count; ++p) {
            double worst;
            if (is_near(p, goals[p], worst)) {
                points_.get(p, s_.data());
                if (auto found = problem_.violation_near(s_.data())) return found;
            }
            if (goals[p] < 0) continue;
            for (const auto& [k, c] : problem_.goals()[goals[p]].outputs)
                weights_[static_cast<size_t>(k * lanes + p)] += c;
        }
        if (step == steps) return std::nullopt;
        points_.differentiate(weights_);
        const double size =
            kFirstStep * std::pow(kLastStep / kFirstStep, step / std::max(1.0, steps - 1.0));
        for (int k = 0; k < dim; ++k)
            for (int p = 0; p < count; ++p) {
                double slope = points_.gradient(k, p);
                if (goals[p] >= 0) slope += problem_.goals()[goals[p]].slope[k];
                double& s = points_.at(k, p);
                if (slope != 0.0) s -= std::copysign(size * (hi[k] - lo[k]), slope);
                s = std::clamp(s, lo[k], hi[k]);
            }
        pull(count);
    }
}

}  // namespace plv
