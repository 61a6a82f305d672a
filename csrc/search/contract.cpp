#include "search/contract.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

namespace {
constexpr size_t kNone = static_cast<size_t>(-1);
constexpr int kRounds = 20;
constexpr double kMove = 1e-3;   // of a side's first width: less is not worth another round
constexpr double kSlack = 1e-9;  // of a width: bounds that contradict each other by less do not
}  // namespace

Contraction::Contraction(const BoundNet& net) : net_(net), row_of_(net.rows, kNone) {
    for (int l = 0; l < net.depth; ++l) {
        const BoundLayer& form = net.layers[l];
        if (!form.blocks.empty() || form.input.empty() || net.net.layers[l].is_max()) continue;
        for (int r = 0; r < form.rows; ++r) {
            row_of_[net.row(l, r)] = direct_.size();
            direct_.push_back({l, r, input_.size()});
            form.input.each(r, [&](int k, double w) {
                if (w == 0.0) return;
                input_.push_back(k);
                weight_.push_back(w);
            });
        }
    }
    direct_.push_back({-1, -1, input_.size()});
    loss_.resize(static_cast<size_t>(net.net.unit_count));
    gain_.resize(static_cast<size_t>(net.dim));
}

CellView Contraction::view(const CellView& cell) {
    return {lo_.data(), hi_.data(), cell.pieces, bounds_, cell.ball};
}

// New ends of a side; false if it is empty then.
bool Contraction::lower(int k, double value) {
    if (!(value < hi_[k])) return true;
    if (value < lo_[k] - kSlack * width_[k]) return false;
    value = std::max(value, lo_[k]);
    if (hi_[k] - value > kMove * width_[k]) moved_ = true;
    hi_[k] = value;
    return true;
}

bool Contraction::raise(int k, double value) {
    if (!(value > lo_[k])) return true;
    if (value > hi_[k] + kSlack * width_[k]) return false;
    value = std::min(value, hi_[k]);
    if (value - lo_[k] > kMove * width_[k]) moved_ = true;
    lo_[k] = value;
    return true;
}

// From the input to a row and back.
bool Contraction::pass(const Row& row, size_t end, const CellView& cell) {
    double least = net_.layers[row.layer].bias[row.unit], most = least;
    for (size_t t = row.begin; t < end; ++t) {
        const double w = weight_[t], a = w * lo_[input_[t]], b = w * hi_[input_[t]];
        least += std::min(a, b);
        most += std::max(a, b);
    }
    const size_t at = net_.row(row.layer, row.unit);
    bounds_.lo[at] = std::max(bounds_.lo[at], least);
    bounds_.hi[at] = std::min(bounds_.hi[at], most);
    double lo = std::max(bounds_.lo[at], implied_.lo[at]),
           hi = std::min(bounds_.hi[at], implied_.hi[at]);
    const int piece = cell.pieces[net_.unit(row.layer, row.unit)];
    if (piece == 1) lo = std::max(lo, 0.0);
    if (piece == 0) hi = std::min(hi, 0.0);
    if (lo > hi) {
        if (lo > hi + kSlack * (most - least)) return false;
        lo = hi = (lo + hi) / 2;
    }
    const bool below = hi<most, above = lo> least;
    for (size_t t = row.begin; t < end && (below || above); ++t) {
        const int k = input_[t];
        const double w = weight_[t], from = lo_[k], to = hi_[k];
        if (below &&
            !(w > 0.0 ? lower(k, from + (hi - least) / w) : raise(k, to + (hi - least) / w)))
            return false;
        if (above && !(w > 0.0 ? raise(k, to - (most - lo) / w) : lower(k, from - (most - lo) / w)))
            return false;
    }
    return true;
}

// A goal is a linear function of the input at least, and more than that where a unit is off its
// line.
bool Contraction::pass_goal(size_t goal, const CellView& cell, Crown& crown) {
    const LinearBound& bound = below_[goal];
    const double slack = -bound.least;
    if (slack < -kSlack * crown.size(goal)) return false;
    for (int k = 0; k < net_.dim; ++k) {
        const double s = bound.slope[k], from = lo_[k], to = hi_[k];
        if (s > 0.0 && !lower(k, from + slack / s)) return false;
        if (s < 0.0 && !raise(k, to + slack / s)) return false;
    }
    crown.multipliers(goal, view(cell), used_[goal]);
    for (const Multiplier& m : used_[goal]) {
        const Layer& layer = net_.net.layers[m.layer];
        if (layer.is_max() || !(m.g > 0.0) || layer.slope[m.unit] >= 1.0) continue;
        const double off = slack / (m.g * (1.0 - layer.slope[m.unit]));
        const size_t row = net_.row(m.layer, m.unit);
        if (m.h == m.g)
            implied_.lo[row] = std::max(implied_.lo[row], -off);
        else
            implied_.hi[row] = std::min(implied_.hi[row], off);
    }
    return true;
}

bool Contraction::contract(const CellView& cell, Crown& crown,
                           const std::vector<LinearForm>& goals) {
    const auto dim = static_cast<size_t>(net_.dim);
    lo_.assign(cell.lo, cell.lo + dim);
    hi_.assign(cell.hi, cell.hi + dim);
    width_.resize(dim);
    for (size_t k = 0; k < dim; ++k) width_[k] = hi_[k] - lo_[k];
    bounds_ = implied_ = cell.bounds;
    used_.resize(goals.size());
    moved_ = true;
    for (int round = 0; moved_ && round < kRounds; ++round) {
        moved_ = false;
        for (size_t r = 0; r + 1 < direct_.size(); ++r)
            if (!pass(direct_[r], direct_[r + 1].begin, cell)) return false;
        const CellView now = view(cell);
        crown.set_lines(now);
        crown.below(net_.depth, goals, now, below_);
        for (size_t g = 0; g < goals.size(); ++g)
            if (!pass_goal(g, cell, crown)) return false;
        if (round == 0) moved_ = true;
    }
    return true;
}

Contraction::Pick Contraction::pick(const CellView& cell, Crown& crown) {
    const CellView now = view(cell);
    std::fill(loss_.begin(), loss_.end(), 0.0);
    std::fill(gain_.begin(), gain_.end(), 0.0);
    // Visits the inputs that a pre-activation varies with, and how much.
    const auto each_input = [&](int layer, int unit, auto visit) {
        const size_t row = net_.row(layer, unit);
        if (row_of_[row] != kNone) {
            const size_t r = row_of_[row];
            for (size_t t = direct_[r].begin; t < direct_[r + 1].begin; ++t)
                visit(input_[t], std::fabs(weight_[t]) * (hi_[input_[t]] - lo_[input_[t]]));
            return;
        }
        const double* depends = crown.dependence(row);
        for (int k = 0; k < net_.dim; ++k)
            if (width_[k] > 0.0) visit(k, depends[k] * ((hi_[k] - lo_[k]) / width_[k]));
    };
    const auto sum_of = [&](int layer, int unit) {
        double sum = 0.0;
        each_input(layer, unit, [&](int, double v) { sum += v; });
        return sum;
    };
    for (const auto& used : used_)
        for (const Multiplier& m : used) {
            if (net_.net.layers[m.layer].is_max() || !crown.is_open(now, m.layer, m.unit)) continue;
            const double loss = std::fabs(m.g) * crown.gap(now, m.layer, m.unit);
            loss_[net_.unit(m.layer, m.unit)] += loss;
            const double sum = sum_of(m.layer, m.unit);
            if (!(sum > 0.0)) continue;
            each_input(m.layer, m.unit, [&](int k, double v) { gain_[k] += loss * v / sum; });
        }
    Pick pick;
    double best = -1.0;
    for (int l = 0; l < net_.depth && pick.layer < 0; ++l) {
        if (net_.net.layers[l].is_max()) continue;
        for (int i = 0; i < net_.net.layers[l].units; ++i) {
            if (!crown.is_open(now, l, i)) continue;
            double score = loss_[net_.unit(l, i)];
            const double sum = sum_of(l, i);
            if (sum > 0.0)
                each_input(l, i,
                           [&](int k, double v) { score += gain_[k] * (v / sum) * (v / sum); });
            if (score > best) best = score, pick = {l, i};
        }
    }
    return pick;
}

}  // namespace plv
