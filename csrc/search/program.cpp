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
constexpr size_t kMostForms = 32;    // that are bounded together
constexpr double kClose = 1e-13;     // of the radius
constexpr double kLeastCost = 1e-9;  // of a goal's size
constexpr double kHalfLeft = 0.5;    // a sum of goals may be bounded better than by its terms
}  // namespace

void CaseSearch::below(int layer, const LinearForm& form, const CellView& cell, ProgramRow& row) {
    std::vector<LinearBound> bounds;
    crown_.below(layer, {form}, cell, bounds);
    row.bound = std::move(bounds[0]);
    row.size = crown_.size(0);
    crown_.multipliers(0, cell, row.multipliers);
}

// The rows of the fixed units, in the order of the path; forms of one layer are bounded together.
void CaseSearch::rows_of_path(const Node& node, const CellView& cell,
                              std::vector<ProgramRow>& rows) {
    std::vector<std::vector<std::pair<size_t, LinearForm>>> forms(static_cast<size_t>(depth_));
    for (size_t f = 0; f < node.path.size(); ++f) {
        const FixedUnit& fixed = node.path[f];
        const Layer& layer = net_.layers[fixed.layer];
        for (int s = 0; s < std::max(layer.slots, 1); ++s) {
            LinearForm form;
            if (layer.is_max()) {
                const int e = layer.entry(fixed.unit, s);
                if (e < 0 || s == fixed.piece) continue;
                form.terms = {{layer.entry(fixed.unit, fixed.piece), -1.0}, {e, 1.0}};
            } else {
                form.terms = {{fixed.unit, fixed.piece ? -1.0 : 1.0}};
            }
            forms[fixed.layer].emplace_back(rows.size(), std::move(form));
            ProgramRow& row = rows.emplace_back();
            row.fixed = static_cast<int>(f);
            if (layer.is_max()) row.slot = s;
        }
    }
    std::vector<LinearForm> some;
    std::vector<LinearBound> bounds;
    for (int l = 0; l < depth_; ++l)
        for (size_t from = 0; from < forms[l].size(); from += kMostForms) {
            const size_t count = std::min(kMostForms, forms[l].size() - from);
            some.clear();
            for (size_t i = 0; i < count; ++i) some.push_back(std::move(forms[l][from + i].second));
            crown_.below(l, some, cell, bounds);
            for (size_t i = 0; i < count; ++i) {
                ProgramRow& row = rows[forms[l][from + i].first];
                row.bound = std::move(bounds[i]);
                row.size = crown_.size(i);
                crown_.multipliers(i, cell, row.multipliers);
            }
        }
}

// The goals, by the lines at hand.
void CaseSearch::rows_of_goals(const CellView& cell, std::vector<ProgramRow>& rows) {
    std::vector<LinearBound> bounds;
    crown_.below(depth_, forms_, cell, bounds);
    rows.clear();
    rows.resize(bounds.size());
    for (size_t g = 0; g < rows.size(); ++g) {
        rows[g].goal = static_cast<int>(g);
        rows[g].bound = std::move(bounds[g]);
        rows[g].size = crown_.size(g);
        crown_.multipliers(g, cell, rows[g].multipliers);
    }
}

// Begins a program on a cell, of the point nearest to the ball's center where there is one and the
// box holds it.
void CaseSearch::start_program(const CellView& cell) {
    rows_.clear();
    row_.resize(static_cast<size_t>(dim_) + 1);
    lost_ = false;
    std::vector<double> lo, hi;
    in_ball_ = ball_ != nullptr;
    for (int k = 0; k < dim_ && in_ball_; ++k) {
        const int e = box_.inputs[box_.free[k]].exponent;
        lo.push_back(std::ldexp(cell.lo[k] - ball_->center[k], e));
        hi.push_back(std::ldexp(cell.hi[k] - ball_->center[k], e));
        in_ball_ = lo[k] <= 0.0 && hi[k] >= 0.0;
    }
    if (in_ball_)
        nearest_.start(ball_->norm == LocalBall::Norm::l2 ? Norm::l2 : Norm::l1, dim_, lo.data(),
                       hi.data());
    else
        simplex_.start(dim_, cell.lo, cell.hi);
}

// `contradicts` where there is a ball: whether the nearest point is surely farther away than the
// radius.
bool CaseSearch::out_of_reach(ProgramRow&& row, const CellView& cell) {
    double bound = row.bound.constant;
    for (int k = 0; k < dim_; ++k) {
        row_[k] = -std::ldexp(row.bound.slope[k], -box_.inputs[box_.free[k]].exponent);
        bound += row.bound.slope[k] * ball_->center[k];
    }
    nearest_.add_row(row_.data(), bound);
    rows_.push_back(std::move(row));
    const bool squares = ball_->norm == LocalBall::Norm::l2;
    const double radius = squares ? std::sqrt(ball_->size) : ball_->size;
    const Nearest::End end = nearest_.solve(squares ? radius * (1.0 + 2.0 * kSure) : HUGE_VAL);
    lost_ = end == Nearest::End::failed;
    if (end == Nearest::End::infeasible) {  // so are the rows with the box alone
        in_ball_ = false;
        simplex_.start(dim_, cell.lo, cell.hi);
        std::vector<ProgramRow> rows;
        rows.swap(rows_);
        bool contradicted = false;
        for (size_t r = 0; r < rows.size() && !contradicted && !lost_; ++r)
            contradicted = contradicts(std::move(rows[r]), cell);
        return contradicted;
    }
    if (lost_) return false;
    // What the multipliers prove: of d . d / 2, or of the sum of |d|.
    double sum = 0.0, terms = 0.0;
    std::fill(row_.begin(), row_.end(), 0.0);
    for (size_t p = 0; p < nearest_.tight().size(); ++p) {
        const int r = nearest_.tight()[p];
        const double y = nearest_.multipliers()[p];
        sum += y * nearest_.bound(r);
        terms += y * rows_[static_cast<size_t>(r)].size;
        for (int k = 0; k < dim_; ++k) row_[k] += y * nearest_.row(r)[k];
    }
    for (int k = 0; k < dim_; ++k) {
        const int e = box_.inputs[box_.free[k]].exponent;
        const double lo = std::ldexp(cell.lo[k] - ball_->center[k], e),
                     hi = std::ldexp(cell.hi[k] - ball_->center[k], e), w = row_[k];
        const double d = squares ? std::clamp(w, lo, hi) : w > 1.0 ? hi : w < -1.0 ? lo : 0.0;
        sum += (squares ? d * d / 2.0 : std::fabs(d)) - w * d;
    }
    const double reach = squares ? ball_->size / 2.0 : ball_->size;
    return sum > reach * (1.0 + kSure) && sum - reach > kRounding * terms;
}

// Adds a row, a lower bound of what is to be at most 0, to the program; true if it contradicts what
// is there.
bool CaseSearch::contradicts(ProgramRow&& row, const CellView& cell) {
    if (in_ball_) return out_of_reach(std::move(row), cell);
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
bool CaseSearch::refute_by_program(Node& node, std::string& text, bool affine) {
    ++counts_.programs;
    const CellView cell = node.cell(ball_);
    start_program(cell);
    bool refuted = false;
    std::vector<ProgramRow> fixed;
    rows_of_path(node, cell, fixed);
    for (size_t r = 0; r < fixed.size() && !refuted && !lost_; ++r)
        refuted = contradicts(std::move(fixed[r]), cell);
    std::vector<ProgramRow> goals;
    if (!refuted && !lost_) rows_of_goals(cell, goals);
    for (size_t g = 0; g < goals.size() && !refuted && !lost_; ++g) {
        used_[g] = goals[g].multipliers;
        refuted = contradicts(std::move(goals[g]), cell);
    }
    // A cell that touches the ball, where the network is affine: the bound is stationary in the
    // multipliers, so that those found here are exact enough for the checker to see which it is.
    if (!refuted && !lost_ && affine && in_ball_ && ball_->norm == LocalBall::Norm::l2)
        refuted = nearest_.distance() > (1.0 - kClose) * std::sqrt(ball_->size);
    // Where the program stands, other lines bound the goals better: they cut it off.
    for (int round = 0; !refuted; ++round) {
        for (int k = 0; k < dim_; ++k) {
            if (in_ball_) {
                const int e = box_.inputs[box_.free[k]].exponent;
                point_[k] = ball_->center[k] + std::ldexp(nearest_.point()[k], -e);
            } else {
                point_[k] = simplex_.coordinate(k);
            }
            point_[k] = std::clamp(point_[k], cell.lo[k], cell.hi[k]);
        }
        if (lost_ || round == kMostCuts) break;
        at_.set(0, point_.data());
        at_.evaluate();
        crown_.move_lines(at_);
        bool cut = false;
        rows_of_goals(cell, goals);
        for (size_t g = 0; g < goals.size() && !refuted && !lost_; ++g) {
            ProgramRow& row = goals[g];
            double v = row.bound.constant, size = std::fabs(v);
            for (int k = 0; k < dim_; ++k) {
                v += row.bound.slope[k] * point_[k];
                size += std::fabs(row.bound.slope[k]);
            }
            used_[g] = row.multipliers;
            if (v <= kCut * size) continue;
            cut = true;
            refuted = contradicts(std::move(row), cell);
        }
        if (!cut) break;
    }
    if (!refuted) return false;

    std::vector<double> weight;
    if (in_ball_) {
        weight.assign(rows_.size(), 0.0);
        for (size_t p = 0; p < nearest_.tight().size(); ++p)
            weight[static_cast<size_t>(nearest_.tight()[p])] = nearest_.multipliers()[p];
    } else {
        weigh_rows(weight);
        weight.back() += rows_.back().scale;
    }
    ++counts_.leaves;
    write_program(node, weight, text);
    return true;
}

// Goals that must hold together, by default lines. The program asks for the point at which each
// goal has the most left of what its open units' lines cost it: where that is less than nothing a
// sum of the goals is positive all over the cell. Otherwise the same sum tells what to gain by
// halving, and the point is where a violation is most likely.
bool CaseSearch::refute_jointly(Node& node, std::string& text) {
    const CellView cell = node.cell(ball_);
    const auto dim = static_cast<size_t>(dim_);
    std::vector<double>&cost = cost_, lo(cell.lo, cell.lo + dim_), hi(cell.hi, cell.hi + dim_);
    crown_.costs(cell, cost);
    double start = 0.0;
    for (size_t g = 0; g < forms_.size(); ++g) {
        double at = below_[g].constant, size = std::fabs(at);
        for (size_t k = 0; k < dim; ++k) {
            at += below_[g].slope[k] * lo[k];
            size += std::fabs(below_[g].slope[k]);
        }
        cost[g] = std::fmax(cost[g], kLeastCost * size);
        start = std::fmin(start, -at / cost[g]);
    }
    if (!std::isfinite(start)) return false;
    lo.push_back(start - 1.0);
    hi.push_back(2.0);
    simplex_.start(dim_ + 1, lo.data(), hi.data());
    row_.assign(dim + 1, 0.0);
    for (size_t g = 0; g < forms_.size(); ++g) {
        for (size_t k = 0; k < dim; ++k) row_[k] = -below_[g].slope[k] / cost[g];
        row_[dim] = -1.0;
        simplex_.add_row(row_.data(), -below_[g].constant / cost[g]);
    }
    std::fill(row_.begin(), row_.end(), 0.0);
    row_[dim] = 1.0;
    if (simplex_.maximize(row_.data(), 0.0, HUGE_VAL) != Simplex::End::optimal) {
        gain_by(cell, lines_of(0, cell), 1.0);
        return false;
    }
    const double left = left_ = simplex_.value();
    for (int k = 0; k < dim_; ++k)
        point_[k] = std::clamp(simplex_.coordinate(k), cell.lo[k], cell.hi[k]);
    std::vector<int> tight;
    std::vector<double> y, weight(forms_.size(), 0.0);
    simplex_.multipliers(tight, y);
    double sum = 0.0;
    for (size_t j = 0; j < tight.size(); ++j)
        if (tight[j] >= 2 * (dim_ + 1)) {
            const auto g = static_cast<size_t>(tight[j] - 2 * (dim_ + 1));
            sum += weight[g] = y[j] / cost[g];
        }
    if (!(sum > 0.0) || !std::isfinite(sum)) {
        for (size_t g = 0; g < forms_.size(); ++g) gain_by(cell, lines_of(g, cell), 1.0);
        return false;
    }
    int weighed = 0;
    for (double& w : weight) w /= sum, weighed += w > 0.0;
    if (weighed > 1 && left < kHalfLeft) {
        LinearForm form;
        std::vector<double> slope(dim, 0.0);
        std::vector<std::pair<int, double>> goals;
        for (size_t g = 0; g < forms_.size(); ++g) {
            const double w = weight[g];
            if (w == 0.0) continue;
            goals.emplace_back(static_cast<int>(g), w);
            for (const auto& [k, c] : forms_[g].terms) form.terms.emplace_back(k, w * c);
            for (size_t k = 0; forms_[g].slope && k < dim; ++k) slope[k] += w * forms_[g].slope[k];
            form.constant += w * forms_[g].constant;
        }
        form.slope = slope.data();
        ProgramRow row;
        below(depth_, form, cell, row);
        if (row.bound.least > 0.0 && row.bound.least > kRounding * row.size) {
            std::vector<Listed> listed;
            for (const Multiplier& m : row.multipliers)
                listed.push_back({box_.number(net_, m.layer, m.unit, m.slot), m.h, true});
            ++counts_.leaves;
            put_leaf(text, goals, std::move(listed));
            return true;
        }
        node.score = row.bound.least;
        gain_by(cell, row.multipliers, 1.0);
        return false;
    }
    node.score = 0.0;
    for (size_t g = 0; g < forms_.size(); ++g) {
        node.score -= left * weight[g] * cost[g];
        if (weight[g] > 0.0) gain_by(cell, lines_of(g, cell), weight[g]);
    }
    return false;
}

// The multipliers of the rows, as functions, where the simplex method ended; their sum.
double CaseSearch::weigh_rows(std::vector<double>& weight) {
    std::vector<int> used;
    std::vector<double> y;
    simplex_.multipliers(used, y);
    weight.assign(rows_.size(), 0.0);
    double sum = 0.0;
    for (size_t j = 0; j < used.size(); ++j) {
        if (used[j] < 2 * dim_) continue;
        const auto r = static_cast<size_t>(used[j] - 2 * dim_);
        weight[r] += y[j] * rows_[r].scale;
        sum += y[j];
    }
    return sum;
}

// A leaf by the rows of a program.
void CaseSearch::write_program(const Node& node, const std::vector<double>& weight,
                               std::string& text) const {
    std::vector<std::pair<int, double>> goals;
    for (size_t g = 0; g < forms_.size(); ++g) goals.emplace_back(static_cast<int>(g), 0.0);
    // Of d . d / 2, or of the sum of |d|.
    if (in_ball_)
        goals.emplace_back(static_cast<int>(forms_.size()),
                           ball_->norm == LocalBall::Norm::l2 ? 0.5 : 1.0);
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
    put_leaf(text, goals, std::move(listed));
}

}  // namespace plv
