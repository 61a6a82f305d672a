#include "search/walk.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace plv {

namespace {

constexpr int kAnchored = 12, kSteps = 50;  // of the approach
constexpr int kRounds = 60;                 // of rows for one region
constexpr int kRowsPerRound = kLane;
constexpr double kViolated = 1e-10;  // of the distance
constexpr double kNoise = 1e-13;     // of the largest value of a layer
// Relative to the best distance: where a target is tried at all, where it is tried again, and how
// far the first region of such a walk may be.
constexpr double kWorthwhile = 2.0, kClose = 1.3, kReach = 1.5;
constexpr int kLost = 256;        // random points where the approach fails
constexpr double kTight = 1e-9;   // of the distance
constexpr double kBetter = 1e-9;  // relative: what counts as nearer

}  // namespace

Walk::Walk(const BoundNet& net) : map_(net) {
    base_.resize(static_cast<size_t>(net.depth) + 1);
    norms_.assign(net.rows + static_cast<size_t>(net.layers.back().rows), 0.0);
}

// By how much the point at hand is in what is looked for; the output that limits it.
double Walk::margin(int& rival) const {
    const int depth = map_.net().depth;
    const double mine = map_.value(depth, goal_.target);
    rival = goal_.label;
    if (goal_.targeted)
        for (int j = 0; j < map_.net().layers.back().rows; ++j)
            if (j != goal_.target &&
                (rival == goal_.target || map_.value(depth, j) > map_.value(depth, rival)))
                rival = j;
    return mine - map_.value(depth, rival);
}

// The point nearest to `from` at which an entry, affine as under the pieces, is `slack` more than
// at x, which it replaces; from the input where `from` is null.
bool Walk::project(const double* from, double slack, const Entry& of, const Pieces& pieces,
                   std::vector<double>& x) {
    const int n = map_.net().dim;
    gradient_.resize(static_cast<size_t>(n));
    map_.gradients({of}, pieces, gradient_.data());
    const double* center = from ? from : goal_.x;
    for (int j = 0; j < n; ++j) {
        below_[j] = std::min(goal_.lo[j] - center[j], 0.0);
        above_[j] = std::max(goal_.hi[j] - center[j], 0.0);
        slack += gradient_[j] * (x[j] - center[j]);
    }
    solver_.start(goal_.norm, n, below_.data(), above_.data());
    solver_.add_row(gradient_.data(), slack);
    if (solver_.row_size(0) == 0.0 || solver_.solve(HUGE_VAL) != Nearest::End::optimal)
        return false;
    for (int j = 0; j < n; ++j)
        x[j] = std::clamp(center[j] + solver_.point()[j], goal_.lo[j], goal_.hi[j]);
    return true;
}

// From a point to one of what is looked for, not far from the input.
bool Walk::approach(std::vector<double>& x) {
    Pieces pieces;
    const int depth = map_.net().depth;
    int rival;
    for (int step = 0; step < kAnchored; ++step) {
        if (stop_->poll()) throw Stopped{};
        map_.at(x.data(), pieces);
        const double m = margin(rival);
        if (m >= 0.0) return true;
        const double more = 1e-9 * map_.scale(depth);
        if (!project(nullptr, more - m, {depth, goal_.target, rival}, pieces, x)) break;
    }
    for (int step = 0; step < kSteps; ++step) {
        map_.at(x.data(), pieces);
        const double m = margin(rival);
        if (m >= 0.0) return true;
        const std::vector<double> from = x;
        const double more = 1e-9 * map_.scale(depth) - 0.02 * m;
        if (!project(from.data(), more - m, {depth, goal_.target, rival}, pieces, x)) break;
    }
    return false;
}

// The nearest point of one region in what is looked for; false where there is none at a distance
// below `enough`. `seed`: facets that are thought to matter.
bool Walk::solve(const Pieces& pieces, const std::vector<Facet>& seed, double enough, Found& out) {
    const BoundNet& net = map_.net();
    const int n = net.dim, depth = net.depth;
    for (int j = 0; j < n; ++j) {
        below_[j] = goal_.lo[j] - goal_.x[j];
        above_[j] = goal_.hi[j] - goal_.x[j];
    }
    solver_.start(goal_.norm, n, below_.data(), above_.data());
    rows_.clear();
    map_.evaluate(goal_.x, pieces);
    for (int l = 0; l <= depth; ++l) {
        base_[l].resize(static_cast<size_t>(net.layers[l].rows));
        for (int i = 0; i < net.layers[l].rows; ++i) base_[l][i] = map_.value(l, i);
    }
    const auto norm_at = [&](const Entry& e) -> double& {
        return norms_[e.layer == depth ? net.rows + static_cast<size_t>(e.entry)
                                       : net.row(e.layer, e.entry)];
    };
    std::vector<Facet> wanted = seed;
    std::vector<Entry> entries;
    std::vector<double> x(static_cast<size_t>(n));
    wanted.push_back({{depth, goal_.target, goal_.label}, -1, 0, 1.0});
    if (goal_.targeted && goal_.target == goal_.label) wanted.pop_back();
    for (int round = 0; round < kRounds; ++round) {
        if (stop_->poll()) throw Stopped{};
        entries.clear();
        for (const Facet& f : wanted) entries.push_back(f.of);
        gradient_.resize(entries.size() * static_cast<size_t>(n));
        map_.gradients(entries, pieces, gradient_.data());
        for (size_t k = 0; k < wanted.size(); ++k) {
            Facet& f = wanted[k];
            double* a = gradient_.data() + k * static_cast<size_t>(n);
            if (f.sign < 0.0)
                for (int j = 0; j < n; ++j) a[j] = -a[j];
            double at = base_[f.of.layer][f.of.entry];
            if (f.of.minus >= 0) at -= base_[f.of.layer][f.of.minus];
            solver_.add_row(a, -f.sign * at);
            rows_.push_back(f);
            norm_at(f.of) = solver_.row_size(solver_.rows() - 1);
        }
        if (solver_.solve(enough) != Nearest::End::optimal) return false;
        const double distance = solver_.distance();
        if (distance > enough) return false;
        for (int j = 0; j < n; ++j)
            x[j] = std::clamp(goal_.x[j] + solver_.point()[j], goal_.lo[j], goal_.hi[j]);
        map_.evaluate(x.data(), pieces);
        struct Violation {
            double size;
            Facet facet;
        };
        std::vector<Violation> violated;
        double noise = 0.0;
        const auto look = [&](const Facet& f) {
            const double by = -f.sign * map_.value(f.of);
            const double size = norm_at(f.of);
            if (!(by > std::max(kViolated * distance * size, noise))) return;
            for (const Facet& row : rows_)
                if (row.of.layer == f.of.layer && row.of.entry == f.of.entry &&
                    row.of.minus == f.of.minus)
                    return;
            violated.push_back({size > 0.0 ? by / size : HUGE_VAL, f});
        };
        for (int l = 0; l < depth; ++l) {
            noise = kNoise * map_.scale(l);
            for (int i = 0; i < net.net.layers[l].units; ++i)
                map_.facets(l, i, pieces[net.unit(l, i)], look);
        }
        if (goal_.targeted)
            for (int j = 0; j < net.layers[depth].rows; ++j)
                if (j != goal_.target) look({{depth, goal_.target, j}, -1, 0, 1.0});
        if (violated.empty()) {
            out.distance = distance;
            out.x = x;
            keep(pieces, out);
            return true;
        }
        const size_t most = std::min(violated.size(), static_cast<size_t>(kRowsPerRound));
        std::partial_sort(violated.begin(), violated.begin() + static_cast<ptrdiff_t>(most),
                          violated.end(),
                          [](const Violation& a, const Violation& b) { return a.size > b.size; });
        wanted.clear();
        for (size_t k = 0; k < most; ++k) wanted.push_back(violated[k].facet);
    }
    return false;
}

// What the solver knows about the point that it found.
void Walk::keep(const Pieces& pieces, Found& out) {
    const auto n = static_cast<size_t>(map_.net().dim);
    out.pieces = pieces;
    out.facets.clear();
    out.outwards.clear();
    out.weights.clear();
    const std::vector<int>& tight = solver_.tight();
    for (size_t p = 0; p < tight.size(); ++p) {
        const Facet& f = rows_[tight[p]];
        if (f.unit < 0) continue;
        const double* a = solver_.row(tight[p]);
        const double weight = solver_.multipliers()[p] * solver_.row_size(tight[p]);
        if (!(weight > 0.0)) continue;
        out.facets.push_back(f);
        out.weights.push_back(weight);
        out.outwards.emplace_back(a, a + n);
        for (double& v : out.outwards.back()) v = -v / solver_.row_size(tight[p]);
    }
}

// From the region of a point to nearer ones, while there are any.
bool Walk::descend(const std::vector<double>& start, double reach, Found& out) {
    Pieces pieces;
    map_.at(start.data(), pieces);
    if (!seen_.insert(pieces).second) return false;
    if (!solve(pieces, {}, reach, out)) return false;
    for (bool nearer = true; nearer;) {
        nearer = false;
        std::vector<size_t> order(out.facets.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::sort(order.begin(), order.end(),
                  [&](size_t a, size_t b) { return out.weights[a] > out.weights[b]; });
        for (const size_t k : order) {
            Pieces next;
            map_.beyond(out.x.data(), out.outwards[k].data(), out.facets[k], out.facets, out.pieces,
                        next);
            if (!seen_.insert(next).second) continue;
            std::vector<Facet> seed;
            for (size_t q = 0; q < out.facets.size(); ++q) {
                const Facet& f = out.facets[q];
                map_.facets(f.of.layer, f.unit, next[map_.net().unit(f.of.layer, f.unit)],
                            [&](const Facet& g) {
                                if (g.of.minus < 0 || q == k) seed.push_back(g);
                            });
            }
            Found found;
            if (!solve(next, seed, out.distance * (1.0 - kBetter), found)) continue;
            out = std::move(found);
            nearer = true;
            break;
        }
    }
    return true;
}

// A random point of the box at most so far from another.
void Walk::scatter(const std::vector<double>& from, double radius, std::vector<double>& x) {
    std::normal_distribution<double> normal;
    x.resize(from.size());
    for (double& v : x) v = normal(random_);
    const double size = norm_of(goal_.norm, x.data(), static_cast<int>(x.size()));
    radius *= std::uniform_real_distribution<double>(0.0, 1.0)(random_);
    for (size_t j = 0; j < x.size(); ++j)
        x[j] = std::clamp(from[j] + radius * x[j] / size, goal_.lo[j], goal_.hi[j]);
}

// One start per target: where the approach from a point ends, or else the point itself.
void Walk::begin(const WalkGoal& goal, const double* from) {
    const int n = map_.net().dim, classes = map_.net().layers.back().rows;
    starts_.clear();
    for (int j = 0; j < classes; ++j) {
        if (goal.target >= 0 ? j != goal.target : j == goal.label) continue;
        goal_.target = j;
        Start start{HUGE_VAL, j, {from, from + n}, {}, {}};
        if (approach(start.x)) {
            start.safe = start.x;
            std::vector<double> d(start.x);
            for (int k = 0; k < n; ++k) d[k] -= goal.x[k];
            start.distance = norm_of(goal.norm, d.data(), n);
        } else {
            start.x.assign(from, from + n);
        }
        starts_.push_back(std::move(start));
    }
    std::stable_sort(starts_.begin(), starts_.end(),
                     [](const Start& a, const Start& b) { return a.distance < b.distance; });
}

// Walks to the nearest point there is from x; whether that is the best of all so far.
bool Walk::advance(Start& start, const std::vector<double>& x, double reach, WalkPoint& best) {
    goal_.target = start.target;
    seen_.swap(start.seen);
    Found found;
    const bool arrived = descend(x, reach, found);
    seen_.swap(start.seen);
    if (!arrived) return false;
    if (found.distance < start.distance) start.distance = found.distance, start.x = found.x;
    if (best.found && found.distance >= best.distance) return false;
    best.found = true;
    best.target = start.target;
    best.distance = found.distance;
    best.x = std::move(found.x);
    best.pieces = std::move(found.pieces);
    best.safe = start.safe;
    facets_ = std::move(found.facets);
    return true;
}

// The target in which a point is, if any.
Walk::Start* Walk::target_at(const std::vector<double>& x) {
    Pieces pieces;
    map_.at(x.data(), pieces);
    Start* out = nullptr;
    double most = 0.0;
    for (Start& start : starts_) {
        goal_.target = start.target;
        int rival;
        if (const double m = margin(rival); m >= most) most = m, out = &start;
    }
    return out;
}

WalkPoint Walk::nearest(const WalkGoal& goal, int restarts, StopToken& stop) {
    goal_ = goal;
    stop_ = &stop;
    random_.seed(1);
    const auto n = static_cast<size_t>(map_.net().dim);
    below_.resize(n);
    above_.resize(n);
    WalkPoint best;
    const std::vector<double> input(goal.x, goal.x + n);
    std::vector<double> x = goal.start ? std::vector<double>(goal.start, goal.start + n) : input;
    const double size = std::max(norm_of(goal.norm, goal.x, static_cast<int>(n)), 1.0);
    for (int k = 0; k < kLost && !best.found; ++k) {
        if (k > 0) scatter(input, size * std::ldexp(1.0, k % 16 - 6), x);
        begin(goal, x.data());
        for (Start& start : starts_) {
            if (best.found && start.distance > kWorthwhile * best.distance) break;
            advance(start, start.x, HUGE_VAL, best);
        }
        if (goal.start) break;
    }
    if (!best.found) return best;
    size_t turn = 0;
    for (int k = 0; k < restarts && !goal.start; ++k) {
        // The targets within reach take turns, and those of which no point is known; around their
        // best point and around the input.
        do turn = (turn + 1) % (2 * starts_.size());
        while (std::isfinite(starts_[turn / 2].distance)
                   ? starts_[turn / 2].distance > kClose * best.distance
                   : turn % 2 == 1);
        const bool around = turn % 2;
        Start* start = &starts_[turn / 2];
        scatter(around ? start->x : input, best.distance * (around ? 0.5 : 1.0), x);
        if (Start* met = target_at(x)) start = met;
        goal_.target = start->target;
        std::vector<double> y = x;
        advance(*start, approach(y) ? y : x, kReach * best.distance, best);
    }
    surround(best);
    return best;
}

// The tight inequalities at the point found, and the least direction that leaves them, and the box,
// inwards.
void Walk::surround(WalkPoint& best) {
    goal_.target = best.target;
    Found again;
    best.inwards.assign(best.x.size(), 0.0);
    if (!solve(best.pieces, facets_, HUGE_VAL, again)) return;
    for (const int i : solver_.tight()) best.active.push_back(rows_[i].of);
    const int n = map_.net().dim;
    for (int j = 0; j < n; ++j) best.places.push_back(solver_.place(j));
    std::vector<double> lo(static_cast<size_t>(n), -HUGE_VAL), hi(static_cast<size_t>(n), HUGE_VAL);
    for (int j = 0; j < n; ++j) {
        if (best.x[j] <= goal_.lo[j]) lo[j] = 0.0;
        if (best.x[j] >= goal_.hi[j]) hi[j] = 0.0;
    }
    Nearest inwards;
    inwards.start(Norm::l2, n, lo.data(), hi.data());
    for (int i = 0; i < solver_.rows(); ++i) {
        const double reach = kTight * best.distance * solver_.row_size(i);
        if (std::fabs(solver_.shortage(i)) <= reach)
            inwards.add_row(solver_.row(i), solver_.row_size(i));
    }
    inwards.solve(HUGE_VAL);
    best.inwards = inwards.point();
}

}  // namespace plv
