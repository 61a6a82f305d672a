// Visits of nodes over many inputs: bounds by ascent, splits of units.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/case.hpp"

namespace plv {

namespace {
constexpr int kFirstSteps = 60, kSteps = 16;  // of ascents
// Of how many units splits are tried, with how many steps. Where there are windows that is a
// screening without steps, and so many batches of lanes are tried after it.
struct Trials {
    size_t units;
    int batches, steps;
    bool known;  // also those of which enough is known
};
constexpr Trials kTrials{8, 0, 3, false}, kWindowTrials{16, 1, 3, false},
    kEarlyTrials{48, 4, 12, true};
constexpr double kEarly = 0.1;  // of what the root's bound lacks: a choice decides about many nodes
constexpr double kPace = 0.15;  // power of the same, for the size of steps
constexpr double kLeastPace = 1e-6;
constexpr size_t kAlways = 2;  // units, even where enough is known of their splits:
constexpr int kEnough = 4;     // times that they were tried
constexpr int kAttackEvery = 8, kAttackAgain = 64;  // visits; from points everywhere
const Climb kNowhere;
constexpr int kMostBesideAscents = 100;  // inputs of programs
constexpr int kMostWait = 255;
constexpr int kSplitsBetweenCuts = 8;
constexpr int kStatedSteps = 20;        // of ascents for bounds
constexpr double kWorthStating = 0.01;  // of the width of an interval
constexpr size_t kMostStated = 2000;    // units
constexpr double kLeastGain = 1e-3;     // of what is missing, that a split is taken to gain

const Trials& trials_of(const Node& node, bool pooled) {
    if (!pooled) return kTrials;
    return node.score < kEarly * node.first ? kEarlyTrials : kWindowTrials;
}

// Ascents near a violation have little to gain, and less than long steps lose.
double pace(double score, double first) {
    return first < 0.0 ? std::pow(std::clamp(score / first, kLeastPace, 1.0), kPace) : 1.0;
}
}  // namespace

// The root: its first bounds, which cases of one box share, and an attack; whether it is left open.
// Intervals cost next to nothing and are often enough where many cases are far from a violation;
// where few inputs vary they tell most units' pieces, which then need no other bounds.
bool CaseSearch::begin(Node& node, Outcome& out) {
    LocalBox::Roots& roots = *box_.roots;
    for (int rule = 0; rule < 2 && !witness_; ++rule) {
        if (rule == 1 && attacks_on_) {
            witness_ = attack_.everywhere(node.lo.data(), node.hi.data());
            if (witness_) break;
        }
        put_bounds(out.text, rule);
        {
            const std::lock_guard lock(roots.mutex);
            if (roots.known == rule) {
                node.own_bounds();
                const CellView cell = node.cell(ball_);
                if (rule == 0 ? crown_.intervals(cell) : crown_.tighten(cell))
                    roots.bounds[rule] = node.bounds;
                roots.known = rule + 1;
                if (rule == 1 && !climbs_) roots.dependence = crown_.dependence();
            } else if (rule == 1 && !climbs_) {
                crown_.adopt_dependence(roots.dependence);
            }
        }
        if (!roots.bounds[rule]) {
            ++counts_.leaves;
            put_rule_leaf(out.text, -1);
            out.answer = Answer::refuted;
            return false;
        }
        node.bounds = roots.bounds[rule];
        crown_.set_lines(node.cell(ball_));
        if (refute_by_goals(node, out.text)) {
            out.answer = Answer::refuted;
            return false;
        }
    }
    if (witness_) {
        out.answer = Answer::violated;
        return false;
    }
    if (!climbs_ || ball_ != nullptr || !worth_improving(node)) return true;
    ascent_->load(0, node.cell(ball_), node.path, kNowhere);
    ascent_->climb(kFirstSteps, 1.0);
    if (ascent_->refuted(0)) {
        ++counts_.leaves;
        write_shown(node.path, ascent_->shown(0), out.text);
        out.answer = Answer::refuted;
        return false;
    }
    improve(node, out);
    return true;
}

// Whether there is something open behind the first layer, and not too much.
bool CaseSearch::worth_improving(Node& node) const {
    const CellView cell = node.cell(ball_);
    size_t open = 0;
    for (int l = 1; l < depth_; ++l)
        for (int j = 0; j < net_.layers[l].units && !net_.layers[l].is_max(); ++j)
            open += crown_.is_open(cell, l, j);
    return open > 0 && open <= kMostStated;
}

// Bounds all nodes together; false on a violation.
bool CaseSearch::climb(std::vector<Node>& nodes, std::vector<Outcome>& out) {
    if (!ascent_) {
        ascent_ = std::make_unique<Ascent>(*box_.net, depth_, stop_);
        ascent_->set_goals(forms_);
    }
    std::vector<size_t> lanes;
    int steps = kSteps;
    double length = 0.0;  // of steps
    for (size_t i = 0; i < nodes.size(); ++i) {
        Node& node = nodes[i];
        if (!node.part) {
            steps = kFirstSteps;
            if (!begin(node, out[i])) {
                if (witness_) return false;
                continue;
            }
        }
        if (node.was_cut && !bound_again(node, out[i])) continue;
        ascent_->load(static_cast<int>(lanes.size()), node.cell(ball_), node.path,
                      node.climb ? *node.climb : kNowhere);
        length = std::max(length, pace(node.score, node.first));
        lanes.push_back(i);
    }
    if (lanes.empty()) return true;
    // Over windows it is the last steps that tell what to split.
    ascent_->climb(steps, length, true, !pooled_);
    struct Left {
        size_t node;
        std::vector<Ascent::Loss> losses;
        std::vector<double> point;
        std::vector<Cut> cuts;
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
        if (node.waits == 0) cut_by_ascent(node, lane, one.cuts);
        const auto reached = std::make_shared<Climb>();
        ascent_->store(lane, *reached);
        node.climb = reached;
        node.score = ascent_->least(lane);
        if (node.first == 0.0) node.first = std::min(node.score, 0.0);
    }
    if (!left.empty() && attacks_on_ && ++attacks_ % kAttackEvery == 0) {
        const Left& one = left.front();
        const Node& node = nodes[one.node];
        witness_ = attacks_ % kAttackAgain == 0
                       ? attack_.everywhere(node.lo.data(), node.hi.data())
                       : attack_.nearby(node.lo.data(), node.hi.data(), one.point.data());
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
        if (!one.cuts.empty()) {
            node.was_cut = true;
            node.waits = kSplitsBetweenCuts;
            to.answer = cut(std::move(node), one.cuts, to);
            continue;
        }
        // Where bounds tell all pieces that are left, slots that are always the largest, the
        // network is affine, and a program is worth more than splits.
        const bool open = std::any_of(one.losses.begin(), one.losses.end(),
                                      [](const Ascent::Loss& loss) { return loss.loss >= 0.0; });
        if (crawls(node, one.losses)) {
            if (const auto answer = settle(node, to)) {
                to.answer = *answer;
                if (to.answer == Answer::violated) return false;
                continue;
            }
        } else if (open ? program_pays(node, to.text)
                        : !one.losses.empty() && affine_refuted(node, to.text)) {
            to.answer = Answer::refuted;
            continue;
        }
        if (!one.losses.empty()) {
            split_best(std::move(node), one.losses, to);
            continue;
        }
        // All units are fixed or known.
        if (affine_refuted(node, to.text))
            to.answer = Answer::refuted;
        else
            to.answer = try_point(point_.data()) ? Answer::violated : solve_exactly(node, to.text);
        if (to.answer == Answer::violated) return false;
    }
    return true;
}

// The bounds of a box that was cut; false where they refute it.
bool CaseSearch::bound_again(Node& node, Outcome& out) {
    node.was_cut = false;
    node.own_bounds();
    const CellView cell = node.cell(ball_);
    for (const FixedUnit& fixed : node.path) {
        if (net_.layers[fixed.layer].is_max()) continue;
        const size_t row = box_.net->row(fixed.layer, fixed.unit);
        if (fixed.piece)
            cell.bounds.lo[row] = std::max(cell.bounds.lo[row], 0.0);
        else
            cell.bounds.hi[row] = std::min(cell.bounds.hi[row], 0.0);
    }
    for (const int rule : {0, 1}) {
        put_bounds(out.text, rule);
        if (rule == 0 ? crown_.intervals(cell) : crown_.tighten(cell)) continue;
        ++counts_.leaves;
        put_rule_leaf(out.text, -1);
        out.answer = Answer::refuted;
        return false;
    }
    return true;
}

// Bounds by ascents of what is open behind the first layer, for all cases of the box: they are
// stated in its first proof.
void CaseSearch::improve(Node& node, Outcome& out) {
    LocalBox::Roots& roots = *box_.roots;
    const std::lock_guard lock(roots.mutex);
    if (!roots.better) {
        Node better = node;
        better.own_bounds();
        auto text = std::make_shared<std::string>();
        for (int l = 1; l < depth_; ++l) {
            const Layer& layer = net_.layers[l];
            std::vector<int> rows;
            for (int j = 0; j < layer.units && !layer.is_max(); ++j)
                if (crown_.is_open(better.cell(ball_), l, j)) rows.push_back(j);
            if (rows.empty()) continue;
            Ascent ascent(*box_.net, l, stop_);
            state_bounds(ascent, l, rows, better, *text);
            // Intervals carry them on: to windows, above all.
            put_bounds(*text, 0);
            if (!crown_.intervals(better.cell(ball_))) break;
        }
        roots.better = better.bounds;
        roots.stated = std::move(text);
    }
    node.bounds = roots.better;
    out.stated = roots.stated;
    out.begun = out.text.size();
}

void CaseSearch::state_bounds(Ascent& ascent, int layer, const std::vector<int>& rows, Node& node,
                              std::string& text) {
    constexpr size_t kEach = kLane / 2;
    const CellView cell = node.cell(ball_);
    for (size_t from = 0; from < rows.size(); from += kEach) {
        std::vector<LinearForm> goals;
        for (size_t i = from; i < std::min(from + kEach, rows.size()); ++i)
            for (const double sign : {1.0, -1.0}) goals.push_back({{{rows[i], sign}}});
        const int count = static_cast<int>(goals.size());
        ascent.set_goals(std::move(goals));
        for (int lane = 0; lane < count; ++lane) {
            ascent.load(lane, cell, node.path, kNowhere);
            ascent.choose(lane, lane);
        }
        ascent.climb(kStatedSteps, 1.0, false);
        for (int lane = 0; lane < count; ++lane) {
            const int row = rows[from + static_cast<size_t>(lane) / 2];
            const size_t at = box_.net->row(layer, row);
            double &lo = cell.bounds.lo[at], &hi = cell.bounds.hi[at];
            const bool upper = lane % 2 != 0;
            const double found = ascent.last(lane), old = upper ? -hi : lo;
            if (!(found > old + kWorthStating * (hi - lo))) continue;
            (upper ? hi : lo) = upper ? -found : found;
            std::vector<Listed> listed;
            for (const Multiplier& m : ascent.shown(lane).open)
                listed.push_back({box_.number(net_, m.layer, m.unit, m.slot), m.h, true});
            put_statement(text, box_.number(net_, layer, row, 0), upper, std::move(listed),
                          listed_envelopes(ascent.shown(lane)));
        }
    }
}

// By a program, where no unit is open.
bool CaseSearch::affine_refuted(Node& node, std::string& text) {
    used_.resize(forms_.size());
    crown_.set_lines(node.cell(ball_));
    return refute_by_program(node, text, true);
}

// Programs converge where ascents crawl; they are tried the less often the more of them failed.
// Where they do not refute a cell they may at least cut it.
bool CaseSearch::program_pays(Node& node, std::string& text, std::vector<Cut>* cuts) {
    // In an l1 ball a bound is made of few inputs: ascents jump between them and stop short.
    const bool always = ball_ != nullptr && ball_->norm == LocalBall::Norm::l1 && cuts == nullptr;
    if (dim_ > kMostBesideAscents) return false;
    if (!always && (ball_ != nullptr || skip_++ < wait_)) return false;
    skip_ = 0;
    used_.resize(forms_.size());
    crown_.set_lines(node.cell(ball_));
    const bool refuted = refute_by_program(node, text);
    if (!refuted && !lost_ && cuts != nullptr) cut_by_program(node, *cuts);
    const bool paid = refuted || (cuts != nullptr && !cuts->empty());
    wait_ = paid ? wait_ / 2 : std::min(2 * wait_ + 1, kMostWait);
    return refuted;
}

// The units whose splits are to be tried: those that promise the best sum of both halves' bounds by
// what splits of the same unit gained before, relative to its loss (pseudo-costs with reliability:
// Achterberg, Koch, Martin, Operations Research Letters 2005).
std::vector<int> CaseSearch::promising(const Node& node, const std::vector<Ascent::Loss>& losses) {
    tried_.resize(static_cast<size_t>(net_.unit_count));
    Tried all;
    const auto tried = [&](size_t i) -> const std::array<Tried, 2>& {
        return tried_[box_.net->unit(losses[i].layer, losses[i].unit)];
    };
    for (size_t i = 0; i < losses.size(); ++i)
        for (const Tried& one : tried(i)) {
            all.gain += one.gain;
            all.loss += one.loss;
            all.count += one.count;
        }
    const double typical = all.count > 0 ? all.loss / all.count : 1.0;
    const double mean = all.loss > 0.0 ? all.gain / all.loss : 1.0;
    std::vector<double> guess(losses.size(), 0.0);
    std::vector<int> order(losses.size());
    std::iota(order.begin(), order.end(), 0);
    for (size_t i = 0; i < losses.size(); ++i)
        for (const Tried& one : tried(i)) {
            // What bounds tell already comes last, even if splits gained nothing so far.
            const double rate = std::max((one.gain + mean * typical) / (one.loss + typical), 0.0);
            guess[i] += losses[i].loss < 0.0 ? -HUGE_VAL
                                             : std::min(node.score + rate * losses[i].loss, 0.0);
        }
    const Trials& trials = trials_of(node, pooled_);
    const size_t most = std::min(trials.units, order.size());
    std::partial_sort(
        order.begin(), order.begin() + static_cast<long>(most), order.end(), [&](int a, int b) {
            return guess[a] != guess[b] ? guess[a] > guess[b] : losses[a].loss > losses[b].loss;
        });
    order.resize(most);
    size_t kept = 0;
    for (size_t i = 0; i < most; ++i) {
        const auto& both = tried(static_cast<size_t>(order[i]));
        if (i < kAlways || trials.known || std::min(both[0].count, both[1].count) < kEnough)
            order[kept++] = order[i];
    }
    order.resize(kept);
    return order;
}

std::vector<std::pair<int, bool>> CaseSearch::pieces_of(const Node& node, int layer,
                                                        int unit) const {
    const Layer& from = net_.layers[layer];
    if (!from.is_max()) return {{1, false}, {0, false}};
    const double *lo = &node.bounds->lo[box_.net->row(layer, 0)],
                 *hi = &node.bounds->hi[box_.net->row(layer, 0)];
    double top = -HUGE_VAL;
    for (int p = 0; p < from.slots; ++p)
        if (const int e = from.entry(unit, p); e >= 0) top = std::max(top, lo[e]);
    std::vector<std::pair<int, bool>> pieces;
    for (int p = 0; p < from.slots; ++p)
        if (const int e = from.entry(unit, p); e >= 0)
            pieces.emplace_back(p, Crown::known(hi[e] - top, hi[e] - top) == 0);
    return pieces;
}

// Of the most promising units that is split whose halves have the best bounds.
void CaseSearch::split_best(Node&& node, const std::vector<Ascent::Loss>& losses, Outcome& out) {
    struct Half {
        int piece = 0;
        bool refuted = false;
        std::string text;
        std::shared_ptr<const Climb> climb;
        double least = 0.0;
    };
    const Trials& trials = trials_of(node, pooled_);
    std::vector<int> order = promising(node, losses);
    // How fast the tree closes if all splits gain as much of what is missing (Le Bodic, Nemhauser,
    // Mathematical Programming 166, 2017): the logarithm of the x < 1 for which the sum of x^gain
    // over the parts is 1.
    std::vector<double> gains;
    const auto add_gain = [&](double least) {
        gains.push_back(least < 0.0 ? std::clamp(1.0 - least / node.score, kLeastGain, 1.0) : 1.0);
    };
    const auto closes = [&]() {
        double low = -60.0, high = 0.0;
        for (int round = 0; round < 20; ++round) {
            const double middle = (low + high) / 2;
            double sum = 0.0;
            for (const double one : gains) sum += std::exp(middle * one);
            (sum > 1.0 ? high : low) = middle;
        }
        return gains.empty() ? 0.0 : low;
    };
    const CellView cell = node.cell(ball_);
    std::vector<FixedUnit> path = node.path;
    path.emplace_back();
    const auto begin_halves = [&](const std::vector<std::pair<int, bool>>& pieces) {
        std::vector<Half> out;
        for (const auto& [piece, empty] : pieces) {
            Half& half = out.emplace_back();
            half.piece = piece;
            half.refuted = empty;
            if (empty) put_rule_leaf(half.text, -1);
        }
        return out;
    };
    // The pieces of units from a place on, as many as there are lanes; the place after them.
    const auto fill = [&](size_t c, std::vector<FixedUnit>& lanes) {
        for (lanes.clear(); c < order.size(); ++c) {
            const Ascent::Loss& one = losses[static_cast<size_t>(order[c])];
            const auto pieces = pieces_of(node, one.layer, one.unit);
            const auto left = std::count_if(pieces.begin(), pieces.end(),
                                            [](const auto& p) { return !p.second; });
            if (lanes.size() + static_cast<size_t>(left) > kLane) break;
            for (const auto& [piece, empty] : pieces)
                if (!empty) lanes.push_back({one.layer, one.unit, piece});
        }
        return c;
    };
    std::vector<FixedUnit> lanes;
    bool again = false;
    if (pooled_ && fill(0, lanes) < order.size()) {
        // What windows lose tells less of what their splits gain: tried are those of more units
        // whose pieces have the best bounds with all multipliers as they are.
        std::vector<std::pair<double, int>> screened;
        for (size_t c = 0; c < order.size();) {
            const size_t from = c;
            c = fill(c, lanes);
            if (c == from) {
                ++c;
                continue;
            }
            if (!lanes.empty()) {
                ascent_->load_children(cell, node.path, lanes, *node.climb, again);
                ascent_->climb(0, 1.0, false);
                again = true;
            }
            size_t lane = 0;
            for (size_t i = from; i < c; ++i) {
                const Ascent::Loss& one = losses[static_cast<size_t>(order[i])];
                gains.clear();
                for (; lane < lanes.size() && lanes[lane].layer == one.layer &&
                       lanes[lane].unit == one.unit;
                     ++lane)
                    add_gain(ascent_->least(static_cast<int>(lane)));
                screened.emplace_back(one.loss < 0.0 ? -HUGE_VAL : closes(), order[i]);
            }
        }
        std::stable_sort(screened.begin(), screened.end(),
                         [](const auto& a, const auto& b) { return a.first > b.first; });
        order.clear();
        for (const auto& one : screened) order.push_back(one.second);
        size_t tried = 0;
        for (int batch = 0; batch < trials.batches; ++batch) tried = fill(tried, lanes);
        order.resize(std::max<size_t>(tried, 1));
    }
    const size_t most = order.size();
    const Ascent::Loss* best = &losses[static_cast<size_t>(order[0])];
    std::vector<Half> halves;
    double top = -HUGE_VAL;
    for (size_t c = 0; c < most && losses[static_cast<size_t>(order[c])].loss >= 0.0;) {
        const size_t from = c;
        c = fill(c, lanes);
        if (c == from) {
            ++c;  // a window of many slots
            continue;
        }
        if (lanes.empty()) continue;
        ascent_->load_children(cell, node.path, lanes, *node.climb, again);
        again = false;
        ascent_->climb(trials.steps, pace(node.score, node.first), false);
        int lane = 0;
        for (size_t i = from; i < c; ++i) {
            const Ascent::Loss& one = losses[static_cast<size_t>(order[i])];
            const int first = lane;
            gains.clear();
            for (; lane < static_cast<int>(lanes.size()) &&
                   lanes[static_cast<size_t>(lane)].layer == one.layer &&
                   lanes[static_cast<size_t>(lane)].unit == one.unit;
                 ++lane) {
                const double found =
                    ascent_->refuted(lane) ? 0.0 : std::min(ascent_->least(lane), 0.0);
                add_gain(found);
                if (!net_.layers[one.layer].is_max())
                    tried_[box_.net->unit(one.layer, one.unit)]
                          [static_cast<size_t>(lanes[static_cast<size_t>(lane)].piece)]
                              .add(found - node.score, one.loss);
            }
            const double score = closes();
            if (!(score > top)) continue;
            top = score;
            best = &one;
            halves = begin_halves(pieces_of(node, one.layer, one.unit));
            int at = first;
            for (Half& half : halves) {
                if (half.refuted) continue;
                half.refuted = ascent_->refuted(at);
                half.least = ascent_->least(at);
                if (half.refuted) {
                    path.back() = lanes[static_cast<size_t>(at)];
                    write_shown(path, ascent_->shown(at), half.text);
                } else {
                    const auto reached = std::make_shared<Climb>();
                    ascent_->store(at, *reached);
                    half.climb = reached;
                }
                ++at;
            }
        }
    }
    if (halves.empty()) {
        halves = begin_halves(pieces_of(node, best->layer, best->unit));
        for (Half& half : halves) {
            half.climb = node.climb;
            half.least = node.score;
        }
    }
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
        child.waits = std::max(node.waits - 1, 0);
        out.children.push_back(std::move(child));
    }
    // The half that is closest to a violation comes first.
    std::stable_sort(out.children.begin(), out.children.end(),
                     [](const Node& a, const Node& b) { return a.score > b.score; });
}

// Functions of the local input in terms of the input: x of a column is 2^exponent times it.
std::vector<ListedEnvelope> CaseSearch::listed_envelopes(const Ascent::Shown& shown) const {
    std::vector<ListedEnvelope> out;
    for (const EnvelopeShares& one : shown.envelopes) {
        ListedEnvelope& to = out.emplace_back();
        to.unit = box_.net->unit(one.layer, one.unit);
        for (const auto& [column, share] : one.shares)
            to.terms.emplace_back(box_.free[static_cast<size_t>(column)], Int(share));
    }
    for (const HullCoefficients& one : shown.hulls) {
        ListedEnvelope& to = out.emplace_back();
        to.unit = box_.net->unit(one.layer, one.window);
        to.is_window = true;
        int least = 0;
        const auto exponent = [&](int column) {
            return box_.inputs[box_.free[static_cast<size_t>(column)]].exponent;
        };
        for (const auto& [column, c] : one.coefficients) {
            int e = 0;
            Int::from_double_scaled(c, e);
            least = std::min(least, e - exponent(column));
        }
        to.shift = static_cast<uint64_t>(-least);
        for (const auto& [column, c] : one.coefficients) {
            int e = 0;
            const Int whole = Int::from_double_scaled(c, e);
            const int up = e - exponent(column) - least;
            to.terms.emplace_back(box_.free[static_cast<size_t>(column)],
                                  whole << static_cast<size_t>(up));
        }
    }
    return out;
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
    put_leaf(text, goals, std::move(listed), listed_envelopes(shown));
}

}  // namespace plv
