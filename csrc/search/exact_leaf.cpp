// The end of a branch: the network is affine on the node, and exact arithmetic decides.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/case.hpp"
#include "search/refute.hpp"
#include "search/walls.hpp"

namespace plv {

namespace {

constexpr double kInside = 1e-10;  // of the radius
constexpr double kClose = 1e-13;   // closer to the edge multipliers are tried, not points

}  // namespace

// What the pieces of a pattern ask of a node's inputs: its sides, the rows of fixed units, the
// goals.
CaseSearch::ExactSystem CaseSearch::exact_system(const Node& node, const uint8_t* pattern) const {
    const auto n = static_cast<size_t>(dim_);
    ExactSystem out;
    for (int k = 0; k < dim_; ++k)
        for (const bool low : {true, false}) {
            const bool cut = low ? node.cut_lo[k] : node.cut_hi[k];
            const uint32_t input = box_.free[k];
            const Rational end = cut   ? box_.value(k, low ? node.lo[k] : node.hi[k])
                                 : low ? *problem_.inputs().lo[input]
                                       : *problem_.inputs().hi[input];
            out.rows.push_back(side_row(n, static_cast<size_t>(k), end, low));
        }
    out.sides = out.rows.size();
    out.walls = walls_of(problem_, node.path, pattern);
    for (Wall& wall : out.walls) out.rows.push_back(std::move(wall.row));
    out.first_goal = out.rows.size();
    out.strict.assign(out.first_goal, 0);
    for (size_t g = 0; g < forms_.size(); ++g) {
        out.rows.push_back(problem_.goal_row(g, pattern, out.goal_scales.emplace_back()));
        out.strict.push_back(problem_.goals()[g].strict);
    }
    return out;
}

void CaseSearch::ExactSystem::list(const std::vector<std::pair<int, Int>>& multipliers,
                                   std::vector<std::pair<int, Int>>& goals,
                                   std::vector<std::pair<uint64_t, Int>>& listed) const {
    for (const auto& [r, y] : multipliers) {
        const auto at = static_cast<size_t>(r);
        if (at == rows.size())  // the ball
            goals.emplace_back(static_cast<int>(goal_scales.size()), y);
        else if (at >= first_goal)
            goals.emplace_back(static_cast<int>(at - first_goal), y * goal_scales[at - first_goal]);
        else if (at >= sides)
            walls[at - sides].list(y, listed);
    }
}

// The pieces of all units: fixed or known, or those at a point where others may be left.
std::vector<uint8_t> CaseSearch::pattern_of(const Node& node, const Points* at) const {
    const CellView cell{node.lo.data(), node.hi.data(), node.pieces.data(), *node.bounds, ball_};
    std::vector<uint8_t> pattern(static_cast<size_t>(net_.pattern_bytes()), 0);
    for (int l = 0; l < depth_; ++l) {
        const Layer& layer = net_.layers[l];
        for (int i = 0; i < layer.units; ++i) {
            int piece = cell.pieces[box_.net->unit(l, i)];
            if (piece < 0 && layer.is_max()) {
                piece = crown_.leading_slot(cell, l, i);
                for (int s = 0, lead = piece; s < layer.slots && lead < 0 && at; ++s)
                    if (const int e = layer.entry(i, s);
                        e >= 0 &&
                        (piece < 0 || at->value(l, e, 0) > at->value(l, layer.entry(i, piece), 0)))
                        piece = s;
            } else if (piece < 0 && !layer.one_piece[i]) {
                const size_t row = box_.net->row(l, i);
                piece = Crown::known(cell.bounds.lo[row], cell.bounds.hi[row]);
                if (piece < 0 && at) piece = at->value(l, i, 0) > 0.0;
            }
            net_.set_piece(pattern.data(), l, i, std::max(piece, 0));
        }
    }
    return pattern;
}

// No unit is open: the network is affine on the node, and exact arithmetic decides.
CaseSearch::Answer CaseSearch::solve_exactly(const Node& node, std::string& text) {
    ++counts_.exact_programs;
    const std::vector<uint8_t> pattern = pattern_of(node, nullptr);
    const ExactSystem system = exact_system(node, pattern.data());
    const std::vector<ExactRow>& all = system.rows;
    const std::vector<uint8_t>& strict = system.strict;
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : all) rows.push_back(&row);
    std::optional<StrictPoint> found;
    if (ball_ == nullptr) {
        found = refute_near(box_, node.lo, node.hi, all, strict, simplex_, stop_);
        if (!found) found = mixed_point(dim_, rows, strict, {}, &stop_);
        if (!found) throw Stopped{};
    } else {
        found = refute_in_ball(node, all, strict);
        if (!found) return witness_ ? Answer::violated : Answer::unknown;
    }
    if (found->found) {
        std::vector<Rational> x;
        for (const Int& v : found->x) x.push_back({v, found->den});
        witness_ = problem_.violation_at(x);
        if (witness_) return Answer::violated;
        // A unit that floating point called known is not, or only where there are violations.
        for (int k = 0; k < dim_; ++k) point_[k] = box_.local(k, x[static_cast<size_t>(k)]);
        return Answer::unknown;
    }
    ++counts_.leaves;
    std::vector<std::pair<int, Int>> goals;
    std::vector<std::pair<uint64_t, Int>> listed;
    system.list(found->multipliers, goals, listed);
    put_exact_leaf(text, std::move(goals), std::move(listed));
    return Answer::refuted;
}

// The same where a ball is there too: multipliers of the rows, and last of the ball, from the point
// of the rows and the box that is nearest to the center. None if the ball holds a point; if it
// violates the property it is the witness.
std::optional<StrictPoint> CaseSearch::refute_in_ball(const Node& node,
                                                      const std::vector<ExactRow>& all,
                                                      const std::vector<uint8_t>& strict) {
    const SpecBall& ball = *problem_.inputs().ball;
    const auto n = static_cast<size_t>(dim_);
    const size_t first = 2 * n;
    std::vector<double> lo(n), hi(n), scale(n);
    std::vector<size_t> used(all.size() - first);
    std::iota(used.begin(), used.end(), first);
    for (size_t k = 0; k < n; ++k) {
        scale[k] = std::ldexp(1.0, box_.inputs[box_.free[k]].exponent);
        lo[k] = (node.lo[k] - ball_->center[k]) * scale[k];
        hi[k] = (node.hi[k] - ball_->center[k]) * scale[k];
        // The method wants the center in the box: an end that lies before it is a row.
        if (lo[k] > kInside * scale[k]) used.push_back(2 * k);
        if (hi[k] < -kInside * scale[k]) used.push_back(2 * k + 1);
        lo[k] = std::min(lo[k], 0.0);
        hi[k] = std::max(hi[k], 0.0);
    }
    const double radius = ball.squares ? std::sqrt(ball_->size) : ball_->size;
    // Rows a . d >= b in the distance from the center.
    std::vector<FloatRow> rows;
    const auto solve = [&](double margin) {
        nearest_.start(ball.squares ? Norm::l2 : Norm::l1, dim_, lo.data(), hi.data());
        for (size_t r = 0; r < used.size(); ++r) {
            if (rows.size() == r) rows.push_back(to_doubles(all[used[r]], box_));
            std::vector<double> a = rows[r].a;
            double b = -a[n];
            for (size_t k = 0; k < n; ++k) {
                b -= a[k] * ball_->center[k];
                a[k] /= scale[k];
            }
            nearest_.add_row(a.data(), b + margin);
        }
        return nearest_.solve(HUGE_VAL) == Nearest::End::optimal;
    };
    if (!solve(0.0)) {
        // The box alone holds no point, perhaps.
        if (auto found = refute_near(box_, node.lo, node.hi, all, strict, simplex_, stop_))
            return found;
        std::vector<const ExactRow*> pointers;
        for (const ExactRow& row : all) pointers.push_back(&row);
        std::optional<StrictPoint> found = mixed_point(dim_, pointers, strict, {}, &stop_);
        if (!found) throw Stopped{};
        return found->found ? std::nullopt : found;
    }
    if (nearest_.distance() <= radius * (1.0 - kClose)) {
        // A little further inside, for the sake of rounding.
        for (const double margin : {kInside * radius, 1e-3 * kInside * radius, 0.0}) {
            if (margin > 0.0 && !solve(margin)) continue;
            std::vector<double> s(n);
            for (size_t k = 0; k < n; ++k) s[k] = ball_->center[k] + nearest_.point()[k] / scale[k];
            if ((witness_ = problem_.violation_near(s.data()))) break;
        }
        return std::nullopt;
    }
    const std::vector<int>& tight = nearest_.tight();
    StrictPoint out;
    std::vector<Int> y;
    long most = 0;
    for (const int r : tight) most = std::max(most, rows[static_cast<size_t>(r)].exponent);
    const auto row = [&](size_t i) -> const ExactRow& {
        return all[used[static_cast<size_t>(tight[i])]];
    };
    const auto shifted = [&](size_t i, const Int& v) {
        return v << static_cast<size_t>(most - rows[static_cast<size_t>(tight[i])].exponent);
    };
    if (ball.squares) {
        // Second order: the bound is not sensitive to errors of the multipliers.
        for (const double v : nearest_.multipliers()) {
            int e = 0;
            const Int m = Int::from_double_scaled(v, e);
            const long by = e + static_cast<long>(kRefinedBits);
            y.push_back(by >= 0 ? m << static_cast<size_t>(by) : m >> static_cast<size_t>(-by));
        }
    } else {
        std::vector<size_t> loose;
        std::vector<int> sign;
        for (size_t k = 0; k < n; ++k) {
            if (nearest_.place(static_cast<int>(k)) != Place::free) continue;
            loose.push_back(k);
            double w = 0.0;
            for (size_t i = 0; i < tight.size(); ++i)
                w += nearest_.multipliers()[i] * nearest_.row(tight[i])[k];
            sign.push_back(w > 0.0 ? 1 : -1);
        }
        if (loose.size() != tight.size()) return std::nullopt;
        std::vector<double> matrix;
        for (const size_t k : loose)
            for (const int r : tight) matrix.push_back(nearest_.row(r)[k]);
        auto solved = refine(
            Factors(std::move(matrix), loose.size()), loose.size(), most,
            [&](size_t c, size_t i) { return shifted(i, row(i).a[loose[c]]); },
            [&](size_t c) { return Int(sign[c]) << static_cast<size_t>(most); },
            [](size_t) { return 0; });
        if (!solved) return std::nullopt;
        y = std::move(*solved);
    }
    for (size_t i = 0; i < y.size(); ++i)
        if (y[i].sign() > 0)
            out.multipliers.emplace_back(static_cast<int>(used[static_cast<size_t>(tight[i])]),
                                         shifted(i, y[i]));
    std::sort(out.multipliers.begin(), out.multipliers.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    // Of d . d / 2, or of the sum of |d|.
    out.multipliers.emplace_back(static_cast<int>(all.size()),
                                 Int(1)
                                     << (kRefinedBits + static_cast<size_t>(most) - ball.squares));
    return out;
}

}  // namespace plv
