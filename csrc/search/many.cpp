// Visits of nodes over many inputs: bounds by ascent, splits of units.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/case.hpp"

namespace plv {

namespace {
constexpr int kFirstSteps = 60, kSteps = 10, kProbeSteps = 3;  // of ascents
constexpr size_t kProbed = 8;                                  // units whose split is tried
constexpr int kAttackEvery = 8;                                // visits
const Climb kNowhere;
constexpr int kMostOfProgram = 100;  // inputs
constexpr int kMostWait = 255;
}  // namespace

// The first bounds of the root and an attack; whether it is left open.
bool CaseSearch::begin(Node& node, Outcome& out) {
    if (attacks_on_) witness_ = attack_.everywhere(node.lo.data(), node.hi.data());
    if (witness_) {
        out.answer = Answer::violated;
        return false;
    }
    put_bounds(out.text, 1);
    LocalBox::Roots& roots = *box_.roots;
    {
        const std::lock_guard lock(roots.mutex);
        if (!roots.known) {
            node.own_bounds();
            if (crown_.tighten(node.cell(ball_))) roots.bounds = node.bounds;
            roots.known = true;
        }
    }
    if (!roots.bounds) {
        ++counts_.leaves;
        put_rule_leaf(out.text, -1);
        out.answer = Answer::refuted;
        return false;
    }
    node.bounds = roots.bounds;
    crown_.set_lines(node.cell(ball_));
    if (refute_by_goals(node, out.text)) out.answer = Answer::refuted;
    if (witness_) out.answer = Answer::violated;
    return out.answer == Answer::unknown;
}

// Bounds all nodes together; false on a violation.
bool CaseSearch::climb(std::vector<Node>& nodes, std::vector<Outcome>& out) {
    if (!ascent_) ascent_ = std::make_unique<Ascent>(*box_.net, forms_, stop_);
    std::vector<size_t> lanes;
    int steps = kSteps;
    for (size_t i = 0; i < nodes.size(); ++i) {
        Node& node = nodes[i];
        if (!node.part) {
            steps = kFirstSteps;
            if (!begin(node, out[i])) {
                if (witness_) return false;
                continue;
            }
        }
        ascent_->load(static_cast<int>(lanes.size()), node.cell(ball_), node.path,
                      node.climb ? *node.climb : kNowhere);
        lanes.push_back(i);
    }
    if (lanes.empty()) return true;
    ascent_->climb(steps);
    struct Left {
        size_t node;
        std::vector<Ascent::Loss> losses;
        std::vector<double> point;
    };
    std::vector<Left> left;
    for (size_t i = 0; i < lanes.size(); ++i) {
        Node& node = nodes[lanes[i]];
        Outcome& to = out[lanes[i]];
        const int lane = static_cast<int>(i);
        if (ascent_->refuted(lane)) {
            ++counts_.leaves;
            write_shown(node.path, ascent_->shown(lane), to.text);
            to.answer = Answer::refuted;
            continue;
        }
        Left& one = left.emplace_back();
        one.node = lanes[i];
        one.point.resize(static_cast<size_t>(dim_));
        ascent_->point(lane, one.point.data());
        ascent_->losses(lane, one.losses);
        const auto reached = std::make_shared<Climb>();
        ascent_->store(lane, *reached);
        node.climb = reached;
        node.score = ascent_->least(lane);
    }
    if (!left.empty() && attacks_on_ && ++attacks_ % kAttackEvery == 0) {
        const Left& one = left.front();
        const Node& node = nodes[one.node];
        witness_ = attack_.nearby(node.lo.data(), node.hi.data(), one.point.data());
        if (witness_) {
            out[one.node].answer = Answer::violated;
            return false;
        }
    }
    for (Left& one : left) {
        Node& node = nodes[one.node];
        Outcome& to = out[one.node];
        if (try_point(one.point.data())) {
            to.answer = Answer::violated;
            return false;
        }
        if (!one.losses.empty() && program_pays(node, to.text)) {
            to.answer = Answer::refuted;
            continue;
        }
        if (!one.losses.empty()) {
            split_best(std::move(node), one.losses, to);
            continue;
        }
        // All units are fixed or known.
        used_.resize(forms_.size());
        crown_.set_lines(node.cell(ball_));
        if (ball_ == nullptr && refute_by_program(node, to.text))
            to.answer = Answer::refuted;
        else
            to.answer = ball_ == nullptr && try_point(point_.data()) ? Answer::violated
                                                                     : solve_exactly(node, to.text);
        if (to.answer == Answer::violated) return false;
    }
    return true;
}

// Programs converge where ascents crawl; they are tried the less often the more of them failed.
bool CaseSearch::program_pays(Node& node, std::string& text) {
    if (ball_ != nullptr || dim_ > kMostOfProgram || skip_++ < wait_) return false;
    skip_ = 0;
    used_.resize(forms_.size());
    crown_.set_lines(node.cell(ball_));
    const bool refuted = refute_by_program(node, text);
    wait_ = refuted ? wait_ / 2 : std::min(2 * wait_ + 1, kMostWait);
    return refuted;
}

// Of the units with the largest losses some are tried; that is split whose halves have the best
// bounds.
void CaseSearch::split_best(Node&& node, const std::vector<Ascent::Loss>& losses, Outcome& out) {
    struct Half {
        int piece;
        bool refuted;
        std::string text;
        std::shared_ptr<Climb> climb;
        double least;
    };
    std::vector<int> order(losses.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t most = std::min(kProbed, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<long>(most), order.end(),
                      [&](int a, int b) { return losses[a].loss > losses[b].loss; });
    const CellView cell = node.cell(ball_);
    std::vector<FixedUnit> path = node.path;
    path.emplace_back();
    const auto each_piece = [&](const Ascent::Loss& one, auto visit) {
        const Layer& layer = net_.layers[one.layer];
        if (!layer.is_max()) {
            visit(1);
            visit(0);
            return;
        }
        for (int p = 0; p < layer.slots; ++p)
            if (layer.entry(one.unit, p) >= 0) visit(p);
    };
    const Ascent::Loss* best = &losses[static_cast<size_t>(order[0])];
    std::vector<Half> halves;
    double top = -HUGE_VAL;
    for (size_t c = 0; c < most;) {
        const size_t from = c;
        int lane = 0;
        for (; c < most; ++c) {
            const Ascent::Loss& one = losses[static_cast<size_t>(order[c])];
            int pieces = 0;
            each_piece(one, [&](int) { ++pieces; });
            if (lane + pieces > kLane) break;
            const size_t flat = box_.net->unit(one.layer, one.unit);
            each_piece(one, [&](int p) {
                path.back() = {one.layer, one.unit, p};
                node.pieces[flat] = static_cast<int8_t>(p);
                ascent_->load(lane++, cell, path, *node.climb);
            });
            node.pieces[flat] = -1;
        }
        if (c == from) {
            ++c;  // a window of many slots
            continue;
        }
        ascent_->climb(kProbeSteps);
        lane = 0;
        for (size_t i = from; i < c; ++i) {
            const Ascent::Loss& one = losses[static_cast<size_t>(order[i])];
            double score = 0.0;
            const int first = lane;
            each_piece(one, [&](int) {
                score += ascent_->refuted(lane) ? 0.0 : std::min(ascent_->least(lane), 0.0);
                ++lane;
            });
            if (!(score > top)) continue;
            top = score;
            best = &one;
            halves.clear();
            int at = first;
            each_piece(one, [&](int p) {
                Half& half = halves.emplace_back();
                half.piece = p;
                half.refuted = ascent_->refuted(at);
                half.least = ascent_->least(at);
                if (half.refuted) {
                    path.back() = {one.layer, one.unit, p};
                    write_shown(path, ascent_->shown(at), half.text);
                } else {
                    half.climb = std::make_shared<Climb>();
                    ascent_->store(at, *half.climb);
                }
                ++at;
            });
        }
    }
    if (halves.empty())
        each_piece(*best, [&](int p) {
            halves.push_back({p, false, {}, std::make_shared<Climb>(*node.climb), node.score});
        });
    const size_t flat = box_.net->unit(best->layer, best->unit);
    put_unit_split(out.text, flat);
    out.answer = Answer::split;
    for (size_t i = halves.size(); i-- > 0;) {
        Half& half = halves[i];
        if (half.refuted) {
            ++counts_.nodes;
            ++counts_.leaves;
            out.leaves.emplace_back(static_cast<int>(i), std::move(half.text));
            continue;
        }
        Node child = node;
        child.place = static_cast<int>(i);
        child.pieces[flat] = static_cast<int8_t>(half.piece);
        child.path.push_back({best->layer, best->unit, half.piece});
        child.climb = std::move(half.climb);
        child.score = half.least;
        out.children.push_back(std::move(child));
    }
}

void CaseSearch::write_shown(const std::vector<FixedUnit>& path, const Ascent::Shown& shown,
                             std::string& text) {
    std::vector<std::pair<int, double>> goals;
    for (size_t g = 0; g < shown.goals.size(); ++g)
        goals.emplace_back(static_cast<int>(g), shown.goals[g]);
    if (shown.ball > 0.0) goals.emplace_back(static_cast<int>(shown.goals.size()), shown.ball);
    std::vector<Listed> listed;
    for (const Multiplier& m : shown.open)
        listed.push_back({box_.number(net_, m.layer, m.unit, m.slot), m.h, true});
    size_t row = 0;
    for (const FixedUnit& fixed : path) {
        const Layer& layer = net_.layers[fixed.layer];
        const auto list = [&](int slot, double v) {
            if (v > 0.0)
                listed.push_back({box_.number(net_, fixed.layer, fixed.unit, slot), v, false});
        };
        if (!layer.is_max()) {
            list(0, shown.splits[row++]);
            continue;
        }
        for (int s = 0; s < layer.slots; ++s) {
            if (layer.entry(fixed.unit, s) < 0 || s == fixed.piece) continue;
            const double v = shown.splits[row++];
            list(s, v);
            list(fixed.piece, v);
        }
    }
    put_leaf(text, goals, std::move(listed));
}

}  // namespace plv
