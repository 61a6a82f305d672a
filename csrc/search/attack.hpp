// Projected gradient descent from many points at a time towards a violation of a case.
#pragma once

#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "base/stop.hpp"
#include "bound/points.hpp"
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
    // A shorter one, from a given point too.
    std::optional<Witness> nearby(const double* lo, const double* hi, const double* point);

private:
    void pull(int count);  // into the ball
    void scatter(const double* lo, const double* hi, int count);
    std::optional<Witness> descend(const double* lo, const double* hi, int count, int steps);
    bool is_near(int lane, int& goal, double& worst) const;

    const CaseProblem& problem_;
    StopToken& stop_;
    Points points_;
    std::mt19937_64 random_{1};  // the same attack every time
    AlignedVector<double> weights_;
    std::vector<double> s_;
    int lanes_;
};

}  // namespace plv
