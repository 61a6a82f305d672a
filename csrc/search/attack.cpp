#include "search/attack.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

namespace {
constexpr double kWork = 4e6;  // products per step, more or less
constexpr int kMostPoints = 64;
constexpr int kRounds = 4;  // of points of which the best are starts
constexpr int kSteps = 50, kFewSteps = 10;
constexpr double kNearly = 1e-9;  // of the terms of a goal
constexpr double kLeak =
    0.1;  // slope of inactive units where the goal does not depend on the input
constexpr int kFewInputs = 16, kRefinements = 40;
constexpr int kRefined = 4;                              // of so many starts one is refined
constexpr double kFirstTrust = 0.25, kLastTrust = 1e-5;  // of a side
constexpr double kMoreTrust = 1.5, kLessTrust = 0.25;
constexpr double kWorthRefining = 1e-6;
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
    if (auto found = descend(lo, hi, lanes_, kSteps)) return found;
    for (int p = 0; p < lanes_ / kRefined && refines(); ++p)
        if (auto found = refine(lo, hi, best[static_cast<size_t>(p)].s.data())) return found;
    return std::nullopt;
}

bool Attack::refines() const {
    const size_t goals = problem_.goals().size();
    return problem_.dim() > 0 && problem_.dim() <= kFewInputs && goals > 1 && goals <= kLane &&
           !problem_.box().ball.is_there();
}

std::optional<Witness> Attack::refine(const double* lo, const double* hi, const double* point) {
    std::vector<double> at(point, point + problem_.dim()), next = at;
    double trusted = kFirstTrust, now = HUGE_VAL;
    for (int step = 0; step < kRefinements; ++step) {
        if (stop_.poll()) throw Stopped{};
        points_.resize(kLane);
        for (int g = 0; g < kLane; ++g) points_.set(g, next.data());
        points_.evaluate();
        int goal;
        double worst;
        if (is_near(0, goal, worst))
            if (auto found = problem_.violation_near(next.data())) return found;
        if (worst < now) {
            if (step > 0) trusted *= kMoreTrust;
            now = worst;
            at = next;
            linearize(at);
        } else if ((trusted *= kLessTrust) < kLastTrust) {
            break;
        }
        if (!best_step(lo, hi, at, trusted, now, next)) break;
    }
    return std::nullopt;
}

// The goals' gradients and values at a point that is in all lanes and was evaluated.
void Attack::linearize(const std::vector<double>& at) {
    const size_t dim = at.size(), lanes = static_cast<size_t>(points_.lanes());
    const std::vector<Goal>& goals = problem_.goals();
    weights_.assign(static_cast<size_t>(problem_.net().output_size()) * lanes, 0.0);
    for (size_t g = 0; g < goals.size(); ++g)
        for (const auto& [k, c] : goals[g].outputs)
            weights_[static_cast<size_t>(k) * lanes + g] += c;
    points_.differentiate(weights_);
    rows_.assign(goals.size() * (dim + 1), 0.0);
    const double* y = points_.outputs(0);
    for (size_t g = 0; g < goals.size(); ++g) {
        double* row = &rows_[g * (dim + 1)];
        double& value = row[dim];
        value = goals[g].constant;
        for (const auto& [k, c] : goals[g].outputs) value += c * y[static_cast<size_t>(k) * lanes];
        for (size_t k = 0; k < dim; ++k) {
            value += goals[g].slope[k] * at[k];
            row[k] = points_.gradient(static_cast<int>(k), static_cast<int>(g)) + goals[g].slope[k];
        }
    }
}

// The point near `at` at which the largest goal is least, as far as the gradients tell; false where
// it is not worth a step.
bool Attack::best_step(const double* lo, const double* hi, const std::vector<double>& at,
                       double trusted, double now, std::vector<double>& next) {
    const size_t dim = at.size(), goals = rows_.size() / (dim + 1);
    std::vector<double> least(dim + 1), most(dim + 1), row(dim + 1);
    for (size_t k = 0; k < dim; ++k) {
        const double reach = trusted * (hi[k] - lo[k]);
        least[k] = std::max(lo[k] - at[k], -reach);
        most[k] = std::min(hi[k] - at[k], reach);
    }
    // The last variable is how far all goals are below 0; it begins with what they are at a corner.
    double start = HUGE_VAL;
    for (size_t g = 0; g < goals; ++g) {
        const double* from = &rows_[g * (dim + 1)];
        double v = from[dim];
        for (size_t k = 0; k < dim; ++k) v += from[k] * least[k];
        start = std::min(start, -v);
    }
    if (!std::isfinite(start)) return false;
    least[dim] = start - 1.0;
    most[dim] = std::fabs(start) + std::fabs(now) + 1.0;
    simplex_.start(static_cast<int>(dim) + 1, least.data(), most.data());
    for (size_t g = 0; g < goals; ++g) {
        const double* from = &rows_[g * (dim + 1)];
        for (size_t k = 0; k < dim; ++k) row[k] = -from[k];
        row[dim] = -1.0;
        simplex_.add_row(row.data(), -from[dim]);
    }
    std::fill(row.begin(), row.end(), 0.0);
    row[dim] = 1.0;
    if (simplex_.maximize(row.data(), 0.0, HUGE_VAL) != Simplex::End::optimal ||
        !(-simplex_.value() < now - kWorthRefining * std::fabs(now)))
        return false;
    for (size_t k = 0; k < dim; ++k)
        next[k] = std::clamp(at[k] + simplex_.coordinate(static_cast<int>(k)), lo[k], hi[k]);
    return true;
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
        const double size =
            kFirstStep * std::pow(kLastStep / kFirstStep, step / std::max(1.0, steps - 1.0));
        std::vector<uint8_t> flat(static_cast<size_t>(count), 1);
        const auto move = [&](bool on_flat) {
            for (int k = 0; k < dim; ++k)
                for (int p = 0; p < count; ++p) {
                    if (on_flat && !flat[p]) continue;
                    double slope = points_.gradient(k, p);
                    if (goals[p] >= 0) slope += problem_.goals()[goals[p]].slope[k];
                    if (slope == 0.0) continue;
                    if (!on_flat) flat[p] = 0;
                    double& s = points_.at(k, p);
                    s = std::clamp(s - std::copysign(size * (hi[k] - lo[k]), slope), lo[k], hi[k]);
                }
        };
        points_.differentiate(weights_);
        move(false);
        if (std::find(flat.begin(), flat.end(), 1) != flat.end()) {
            points_.differentiate(weights_, kLeak);
            move(true);
        }
        pull(count);
    }
}

}  // namespace plv
