// The cone-walking attack ("exact DeepFool"): a close input of another class, from region to
// region.
//
// On one activation region the network is affine, and the nearest input of the region at which some
// output reaches the label's is a projection onto a polyhedron (lp/nearest.hpp) whose rows are
// found as they are violated. A facet that holds the projection back (its multiplier is positive)
// is crossed; if the nearest input of the next region is nearer, the walk goes on from there. It
// ends where no facet leads to a nearer one: by the KKT conditions the point is then the nearest of
// its region, and of those next to it. The first region is where DeepFool ends (Moosavi-Dezfooli,
// Fawzi, Frossard 2016), which projects onto the boundary of the current region's affine map and
// forgets the region; here always from the input itself.
//
// Everything is in doubles: an upper bound once its point is verified exactly, which is for the
// caller to do.
#pragma once

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "base/stop.hpp"
#include "lp/nearest.hpp"
#include "search/pieces.hpp"

namespace plv {

// Inputs x' with lo <= x' <= hi at which output `target` is at least output `label` (any other one
// where `target` is -1), or, where `targeted`, at least all other outputs.
struct WalkGoal {
    Norm norm = Norm::l2;
    int label = 0, target = -1;
    bool targeted = false;
    const double *x = nullptr, *lo = nullptr, *hi = nullptr;  // lo <= x <= hi
    // Where not null, a point in what is looked for: the only walk begins there.
    const double* start = nullptr;
};

// Where `found`, a point that is the nearest but for rounding.
struct WalkPoint {
    bool found = false;
    int target = -1;
    double distance = 0.0;
    std::vector<double> x;
    // A direction in which all inequalities that are tight at x gain at least the dual norm of
    // their gradient: into the interior of what is looked for, if it has any.
    std::vector<double> inwards;
    // The linear system that determines x: these differences are zero, and each coordinate is where
    // its place says.
    Pieces pieces;
    std::vector<Entry> active;
    std::vector<Place> places;
    std::vector<double> safe;  // a point farther away, well within what is looked for; or empty
};

class Walk {
public:
    // The network in plain coordinates of the input.
    explicit Walk(const BoundNet& net);

    // `restarts`: how many more walks begin at random points.
    WalkPoint nearest(const WalkGoal& goal, int restarts, StopToken& stop);

private:
    struct Found {
        double distance = 0.0;
        std::vector<double> x;
        Pieces pieces;
        std::vector<Facet> facets;
        std::vector<std::vector<double>> outwards;  // of each facet
        std::vector<double> weights;                // and how much it matters
    };

    // Of one target: the best point so far and its distance, a point well within what is looked
    // for, the regions seen. Where the distance is infinite no such points are known.
    struct Start {
        double distance;
        int target;
        std::vector<double> x, safe;
        std::set<Pieces> seen;
    };

    double margin(int& rival) const;
    bool project(const double* from, double slack, const Entry& of, const Pieces& pieces,
                 std::vector<double>& x);
    bool approach(std::vector<double>& x);
    void scatter(const std::vector<double>& from, double radius, std::vector<double>& x);
    bool solve(const Pieces& pieces, const std::vector<Facet>& seed, double enough, Found& out);
    void keep(const Pieces& pieces, Found& out);
    void begin(const WalkGoal& goal, const double* from);
    bool advance(Start& start, const std::vector<double>& x, double reach, WalkPoint& best);
    Start* target_at(const std::vector<double>& x);
    void surround(WalkPoint& best);
    bool descend(const std::vector<double>& start, double reach, Found& out);

    PieceMap map_;
    Nearest solver_;
    WalkGoal goal_;
    StopToken* stop_ = nullptr;
    std::vector<double> below_, above_;      // the box around the input
    std::vector<Facet> rows_;                // of the solver's rows
    std::vector<std::vector<double>> base_;  // values at the input under the pieces of solve()
    std::vector<double> norms_;              // of gradients by pre-activation, when last seen
    std::vector<double> gradient_;
    std::set<Pieces> seen_;
    std::vector<Start> starts_;
    std::vector<Facet> facets_;  // of the best point
    std::mt19937_64 random_;
};

}  // namespace plv
