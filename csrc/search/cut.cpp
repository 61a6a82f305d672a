// Cuts of a box: splits of an input of which one half is refuted at once, by a goal's linear bound
// or by a program.
#include <algorithm>
#include <cmath>

#include "search/case.hpp"

namespace plv {

namespace {
constexpr double kSure = 1e-9, kRounding = 1e-12;  // as in programs
constexpr double kWorthCutting = 0.8;              // of a box: more is not left where it is cut
constexpr double kWorthBounding = 0.5;             // of the sides, in the mean, as well
constexpr double kLeastCut = 0.1;                  // of a side
constexpr int kGridBits = 6;                       // of a side, where it is cut

// a < b
bool less(const Rational& a, const Rational& b) { return a.num * b.den < b.num * a.den; }
}  // namespace

// Whether a value splits a side, of the exact box as well.
bool CaseSearch::inside(const Node& node, int side, double value) const {
    if (!(value > node.lo[side] && value < node.hi[side])) return false;
    const Rational exact = box_.value(side, value);
    const uint32_t input = box_.free[side];
    return less(*problem_.inputs().lo[input], exact) && less(exact, *problem_.inputs().hi[input]);
}

// What a bound at `value` cuts off, moved outward to few digits; with a share of 1 if that is too
// little.
CaseSearch::Cut CaseSearch::cut_at(const Node& node, int side, bool above, double value) const {
    const double lo = node.lo[side], hi = node.hi[side], width = hi - lo;
    Cut cut{side, above, above ? hi : lo, 1.0, {}};
    if (!(width > 0.0)) return cut;
    const double grid = std::ldexp(1.0, std::ilogb(width) - kGridBits);
    const double at =
        above ? (std::floor(value / grid) + 1) * grid : (std::ceil(value / grid) - 1) * grid;
    const double left = (above ? at - lo : hi - at) / width;
    if (left > 1.0 - kLeastCut || !inside(node, side, at)) return cut;
    cut.at = at;
    cut.left = left;
    return cut;
}

// Where the goals' linear bounds are positive.
void CaseSearch::cut_by_goals(const Node& node, std::vector<Cut>& cuts) const {
    if (ball_ != nullptr) return;
    double left = 1.0;
    for (int k = 0; k < dim_; ++k)
        for (const bool above : {true, false}) {
            Cut best = cut_at(node, k, above, above ? HUGE_VAL : -HUGE_VAL);
            for (size_t g = 0; g < below_.size(); ++g) {
                const double s = below_[g].slope[k], rounding = kRounding * below_[g].size;
                if (above ? !(s > 0.0) : !(s < 0.0)) continue;
                const double reach = (rounding - below_[g].least) / s;
                Cut one = cut_at(node, k, above, (above ? node.lo[k] : node.hi[k]) + reach);
                if (one.left >= best.left) continue;
                best = std::move(one);
                put_rule_leaf(best.leaf, static_cast<int>(g));
            }
            if (best.left == 1.0) continue;
            left *= best.left;
            cuts.push_back(std::move(best));
        }
    if (left > kWorthCutting) cuts.clear();
}

// Where the rows of the program at hand, which did not contradict each other, do.
void CaseSearch::cut_by_program(const Node& node, std::vector<Cut>& cuts) {
    double left = 1.0;
    std::vector<double> weight;
    for (int k = 0; k < dim_ && !lost_; ++k)
        for (const double sign : {1.0, -1.0}) {
            std::fill(row_.begin(), row_.end(), 0.0);
            row_[k] = sign;
            if (simplex_.maximize(row_.data(), 0.0, HUGE_VAL) != Simplex::End::optimal) {
                lost_ = true;
                break;
            }
            const double size = weigh_rows(weight);
            const double value = sign * simplex_.value() + sign * kSure * (1.0 + size);
            Cut one = cut_at(node, k, sign > 0.0, value);
            if (one.left == 1.0) continue;
            write_program(node, weight, one.leaf);
            left *= one.left;
            cuts.push_back(std::move(one));
        }
    if (left > kWorthCutting) cuts.clear();
}

// Where the bound of the last ascent is positive. Boxes of many inputs are cut for the sake of
// better bounds, which take time.
void CaseSearch::cut_by_ascent(const Node& node, int lane, std::vector<Cut>& cuts) {
    double left = 0.0;
    const double least = ascent_->last(lane);
    if (ball_ != nullptr || !(least < 0.0)) return;
    for (int k = 0; k < dim_; ++k) {
        const double slope = ascent_->slope(lane, k), reach = -least / std::fabs(slope);
        const bool above = slope > 0.0;
        Cut one{k, above, 0.0, 1.0, {}};
        if (reach < node.hi[k] - node.lo[k])
            one = cut_at(node, k, above, above ? node.lo[k] + reach : node.hi[k] - reach);
        left += one.left / dim_;
        if (one.left < 1.0) cuts.push_back(std::move(one));
    }
    if (left > kWorthBounding) cuts.clear();
    std::string leaf;
    if (!cuts.empty()) write_shown(node.path, ascent_->shown(lane), leaf);
    for (Cut& one : cuts) one.leaf = leaf;
}

CaseSearch::Answer CaseSearch::cut(Node&& node, std::vector<Cut>& cuts, Outcome& out) {
    std::string behind;
    for (Cut& one : cuts) {
        ++counts_.leaves;
        if (!one.above && node.hi[one.side] <= one.at) {
            out.text += one.leaf + behind;  // nothing is left between two cuts
            return Answer::refuted;
        }
        put_input_split(out.text, box_.free[one.side], box_.value(one.side, one.at));
        (one.above ? node.hi : node.lo)[one.side] = one.at;
        (one.above ? node.cut_hi : node.cut_lo)[one.side] = 1;
        if (one.above)
            behind.insert(0, one.leaf);
        else
            out.text += one.leaf;
    }
    node.place = 0;
    out.children.push_back(std::move(node));
    out.leaves.emplace_back(1, std::move(behind));
    return Answer::split;
}

}  // namespace plv
