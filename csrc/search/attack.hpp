// Projected gradient descent from many points at a time towards a violation of a case.
#pragma once

#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "base/stop.hpp"
#include "bound/points.hpp"
#include "lp/simplex.hpp"
#include "search/problem.hpp"

namespace plv {

class Attack {
public:
    Attack(const CaseProblem& problem, StopToken& stop);

    // Points of a box alone; `seen` is called for each, with how far it is from a violation.
    std::optional<Witness> sample(const double* lo, const double* hi,
                                  const std::function<void(double)>& seen = nullptr);
    // From the best of some points of a box.
    std::optional<Witness> everywhere(const double* lo, const double* hi);
    // By linear programs in a region that is trusted (sequential linear programming), from a given
    // point: where several goals must hold together, of which one gradient tells little. For few
    // inputs and goals.
    bool refines() const;
    std::optional<Witness> refine(const double* lo, const double* hi, const double* point);
    // A shorter one, from a given point too.
    std::optional<Witness> nearby(const double* lo, const double* hi, const double* point);

private:
    void pull(int count);  // into the ball
    void linearize(const std::vector<double>& at);
    bool best_step(const double* lo, const double* hi, const std::vector<double>& at,
                   double trusted, double now, std::vector<double>& next);
    void scatter(const double* lo, const double* hi, int count);
    std::optional<Witness> descend(const double* lo, const double* hi, int count, int steps);
    bool is_near(int lane, int& goal, double& worst) const;

    const CaseProblem& problem_;
    StopToken& stop_;
    Points points_;
    Simplex simplex_;
    std::mt19937_64 random_{1};  // the same attack every time
    AlignedVector<double> weights_;
    std::vector<double> s_;
    std::vector<double> rows_;  // gradients and values of goals at a point
    int lanes_;
};

}  // namespace plv
