// Small linear programs of a node: rows of fixed units and of goals over the input.
#include <algorithm>
#include <cmath>

#include "search/case.hpp"

namespace plv {

namespace {
constexpr double kSure = 1e-9;       // floating point decides by more than this share
constexpr double kRounding = 1e-12;  // of the terms of a sum: its rounding is far smaller
constexpr double kCut = 1e-7;        // a line must cut off this much of its size to be added
constexpr int kMostCuts = 30;
}  // namespace

void CaseSearch::below(int layer, const LinearForm& form, const CellView& cell, ProgramRow& row) {
    std::vector<LinearBound> bounds;
    crown_.below(layer, {form}, cell, bounds);
    row.bound = std::move(bounds[0]);
    row.size = crown_.size(0);
    crown_.multipliers(0, cell, row.multipliers);
}

// Adds a row, a lower bound of what is to be at most 0, to the program; true if it contradicts what
// is there.
bool CaseSearch::contradicts(ProgramRow&& row) {
    double most = std::fabs(row.bound.constant);
    for (int k = 0; k < dim_; ++k) most = std::fmax(most, std::fabs(row.bound.slope[k]));
    int e = 0;
    if (most > 0.0 && std::isfinite(most)) std::frexp(most, &e);
    row.scale = std::ldexp(1.0, -e);
    double* a = row_.data();
    for (int k = 0; k < dim_; ++k) a[k] = -row.scale * row.bound.slope[k];
    a[dim_] = -row.scale * row.bound.constant;
    if (simplex_.at_vertex(a, a[dim_]) < 0.0) {
        if (simplex_.maximize(a, a[dim_], 0.0) == Simplex::End::failed) {
            lost_ = true;
            return false;
        }
        if (simplex_.value() < -std::max(kSure, kRounding * row.size * row.scale)) {
            rows_.push_back(std::move(row));
            return true;
        }
    }
    simplex_.add_row(a, a[dim_]);
    rows_.push_back(std::move(row));
    return false;
}

// Whether the rows of the fixed units and the relaxed goals contradict each other on the box; if
// not, `point_` satisfies them.
bool CaseSearch::refute_by_program(Node& node, std::string& text) {
    ++counts_.programs;
    const CellView cell = node.cell(ball_);
    rows_.clear();
    row_.resize(static_cast<size_t>(dim_) + 1);
    lost_ = false;
    simplex_.start(dim_, cell.lo, cell.hi);
    bool refuted = false;
    for (size_t f = 0; f < node.path.size() && !refuted && !lost_; ++f) {
        const FixedUnit& fixed = node.path[f];
        const Layer& layer = net_.layers[fixed.layer];
        for (int s = 0; s < std::max(layer.slots, 1) && !refuted && !lost_; ++s) {
            LinearForm form;
            ProgramRow row;
            row.fixed = static_cast<int>(f);
            if (layer.is_max()) {
                const int e = layer.entry(fixed.unit, s);
                if (e < 0 || s == fixed.piece) continue;
                form.terms = {{layer.entry(fixed.unit, fixed.piece), -1.0}, {e, 1.0}};
                row.slot = s;
            } else {
                form.terms = {{fixed.unit, fixed.piece ? -1.0 : 1.0}};
            }
            below(fixed.layer, form, cell, row);
            refuted = contradicts(std::move(row));
        }
    }
    for (size_t g = 0; g < forms_.size() && !refuted && !lost_; ++g) {
        ProgramRow row;
        row.goal = static_cast<int>(g);
        below(depth_, forms_[g], cell, row);
        used_[g] = row.multipliers;
        refuted = contradicts(std::move(row));
    }
    // Where the program stands, other lines bound the goals better: they cut it off.
    for (int round = 0; !refuted; ++round) {
        for (int k = 0; k < dim_; ++k) {
            std::fill(row_.begin(), row_.end(), 0.0);
            row_[k] = 1.0;
            point_[k] = std::clamp(simplex_.at_vertex(row_.data(), 0.0), cell.lo[k], cell.hi[k]);
        }
        if (lost_ || round == kMostCuts) break;
        at_.set(0, point_.data());
        at_.evaluate();
        crown_.set_lines(cell, &at_);
        bool cut = false;
        for (size_t g = 0; g < forms_.size() && !refuted && !lost_; ++g) {
            ProgramRow row;
            row.goal = static_cast<int>(g);
            below(depth_, forms_[g], cell, row);
            double v = row.bound.constant, size = std::fabs(v);
            for (int k = 0; k < dim_; ++k) {
                v += row.bound.slope[k] * point_[k];
                size += std::fabs(row.bound.slope[k]);
            }
            used_[g] = row.multipliers;
            if (v <= kCut * size) continue;
            cut = true;
            refuted = contradicts(std::move(row));
        }
        if (!cut) break;
    }
    if (!refuted) return false;

    std::vector<int> used;
    std::vector<double> y;
    simplex_.multipliers(used, y);
    std::vector<double> weight(rows_.size(), 0.0);  // of the rows as functions
    weight.back() = rows_.back().scale;
    for (size_t j = 0; j < used.size(); ++j)
        if (used[j] >= 2 * dim_)
            weight[static_cast<size_t>(used[j] - 2 * dim_)] +=
                y[j] * rows_[static_cast<size_t>(used[j] - 2 * dim_)].scale;
    std::vector<std::pair<int, double>> goals;
    for (size_t g = 0; g < forms_.size(); ++g) goals.emplace_back(static_cast<int>(g), 0.0);
    std::vector<Listed> listed;
    for (size_t r = 0; r < rows_.size(); ++r) {
        const double w = weight[r];
        if (w <= 0.0) continue;
        const ProgramRow& row = rows_[r];
        for (const Multiplier& m : row.multipliers)
            listed.push_back({box_.number(net_, m.layer, m.unit, m.slot), w * m.h, true});
        if (row.goal >= 0) {
            goals[static_cast<size_t>(row.goal)].second += w;
            continue;
        }
        const FixedUnit& fixed = node.path[static_cast<size_t>(row.fixed)];
        if (row.slot >= 0) {
            listed.push_back({box_.number(net_, fixed.layer, fixed.unit, row.slot), w, false});
            listed.push_back({box_.number(net_, fixed.layer, fixed.unit, fixed.piece), w, false});
        } else {
            listed.push_back({box_.number(net_, fixed.layer, fixed.unit, 0), w, false});
        }
    }
    ++counts_.leaves;
    put_leaf(text, goals, std::move(listed));
    return true;
}

}  // namespace plv
