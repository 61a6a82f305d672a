#include "search/case.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace plv {

namespace {

constexpr double kBallRounding = 1e-9;
constexpr double kRounding = 1e-12;  // of the terms of a sum: its rounding is far smaller
// With few inputs boxes are halved. With more units are split: where several goals must meet,
// programs find out best whether they do, as long as there are not too many inputs.
constexpr int kFewInputs = 16;
constexpr int kFewOpen = 10;        // with so few open units they are split, not the box,
constexpr int kFewNarrowed = 6;     // or where bounds need to hold for violations only
constexpr int kRatherFewOpen = 30;  // and with so few a program may refute it
constexpr int kMostHalvings = 60;
constexpr double kCondense = 0.6;  // units are left out where so few of the weights are left then
constexpr size_t kMostWeights = 1 << 15;  // of the layers that a waiting node may hold
constexpr double kLittleLeft = 0.3;
constexpr size_t kMostGoals = 8;  // that narrow a cell, as in docs/proof_format.md
constexpr int kAttackEvery = 8, kSampleEvery = 32, kRefineEvery = 256;  // nodes
constexpr int kTriedAtOnce = 32;  // nodes at first whose points do not wait
constexpr double kNearly = 1e-9;  // of the terms of a goal

}  // namespace

CaseSearch::CaseSearch(const CaseProblem& problem, bool attack, StopToken& stop,
                       VerifyResult& counts)
    : problem_(problem),
      box_(problem.box()),
      net_(problem.net()),
      stop_(stop),
      counts_(counts),
      dim_(problem.dim()),
      depth_(problem.depth()),
      ball_(box_.ball.is_there() ? &box_.ball : nullptr),
      attacks_on_(attack),
      crown_(*box_.net, stop),
      at_(*box_.net),
      tried_at_(*box_.net),
      attack_(problem, stop) {
    at_.resize(1);
    tried_at_.resize(kLane);
    for (size_t g = 0; g < problem_.goals().size(); ++g) {
        const Goal& goal = problem_.goals()[g];
        forms_.push_back({goal.outputs, goal.slope.data(), goal.constant});
    }
    size_t of_outputs = 0;
    for (const LinearForm& form : forms_) of_outputs += !form.terms.empty();
    climbs_ = dim_ > kMostOfPrograms || (dim_ > kFewInputs && of_outputs < 2);
    if (!climbs_ && forms_.size() > 1 && (dim_ > kFewInputs || depth_ == 1))
        contraction_.emplace(*box_.net);
    joint_ = !climbs_ && !contraction_ && ball_ == nullptr && forms_.size() > 1 && dim_ > 0 &&
             dim_ <= kFewInputs;
    narrows_ = !climbs_ && !contraction_ && ball_ == nullptr && dim_ > 0 && !forms_.empty() &&
               box_.inputs.size() <= kMostWhere;
    for (const Layer& layer : net_.layers) pooled_ = pooled_ || layer.is_max();
    point_.resize(static_cast<size_t>(dim_));
    gain_.resize(static_cast<size_t>(dim_));
}

Node CaseSearch::root() const {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Node root;
    root.lo = box_.lo;
    root.hi = box_.hi;
    root.cut_lo.assign(box_.lo.size(), 0);
    root.cut_hi = root.cut_lo;
    root.pieces.assign(static_cast<size_t>(net_.unit_count), -1);
    root.bounds = std::make_shared<RowBounds>();
    root.bounds->lo.assign(box_.net->rows, -infinity);
    root.bounds->hi.assign(box_.net->rows, infinity);
    return root;
}

size_t CaseSearch::together() const { return climbs_ ? kLane : 1; }

void CaseSearch::visit(std::vector<Node>& nodes, std::vector<Outcome>& out) {
    out.clear();
    out.resize(nodes.size());
    if (stop_.poll()) throw Stopped{};
    counts_.nodes += static_cast<int64_t>(nodes.size());
    if (ball_ != nullptr && ball_->size < 0.0) {
        // The inputs that are points are too far away already.
        for (Outcome& one : out) {
            ++counts_.leaves;
            put_exact_leaf(one.text, {{static_cast<int>(forms_.size()), Int(1)}}, {});
            one.answer = Answer::refuted;
        }
        return;
    }
    if (climbs_) {
        climb(nodes, out);
        return;
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
        Answer& answer = out[i].answer = visit_one(std::move(nodes[i]), out[i]);
        if (answer == Answer::unknown && try_waiting()) answer = Answer::violated;
        if (answer == Answer::violated) return;
    }
}

void CaseSearch::bound_goals(const CellView& cell) {
    crown_.below(depth_, forms_, cell, below_);
    for (size_t g = 0; g < below_.size() && narrows_; ++g) below_[g].size = crown_.size(g);
}

// The goals' linear bounds, for the children: on half a box they are the same.
void CaseSearch::keep_goals(Node& node) const {
    if (!narrows_) return;
    auto where = std::make_shared<HalfSpaces>();
    for (size_t g = 0; g < std::min(below_.size(), kMostGoals); ++g) where->add(below_[g]);
    node.where = std::move(where);
}

// False, with a leaf, where bounds contradict each other.
bool CaseSearch::tighten(Node& node, std::string& text) {
    put_bounds(text, node.where ? 3 : 1);
    if (crown_.tighten(node.cell(ball_), node.where.get())) return true;
    ++counts_.leaves;
    put_rule_leaf(text, -1);
    return false;
}

CaseSearch::Answer CaseSearch::visit_one(Node&& node, Outcome& out) {
    std::string& text = out.text;
    crown_.use(node.layers);
    if (!node.part) {
        if (!begin(node, out)) return out.answer;
        node.own_bounds();
    } else {
        node.own_bounds();
        const bool was_split = !node.path.empty();
        // A split of the last layer changes no bounds.
        const bool same = was_split && node.path.back().layer == depth_ - 1;
        if (same || (was_split && node.where)) crown_.set_lines(node.cell(ball_));
        if (!same && was_split && node.where) {
            bound_goals(node.cell(ball_));
            keep_goals(node);
        }
        if ((!same && !tighten(node, text)) || refute_by_goals(node, text)) return Answer::refuted;
        if (witness_) return Answer::violated;
        // Where little is missing: what bounds tell of violations makes better bounds.
        if (left_ < kLittleLeft && node.where) {
            if (!tighten(node, text) || refute_by_goals(node, text)) return Answer::refuted;
            if (witness_) return Answer::violated;
        }
    }

    const bool halves = !node.units && !contraction_ && dim_ > 0 && dim_ <= kFewInputs &&
                        node.halvings < kMostHalvings;
    const int open = halves ? open_units(node) : 0;
    if (open > (narrows_ ? kFewNarrowed : kFewOpen)) {
        std::vector<Cut> cuts;
        if (open <= kRatherFewOpen && program_pays(node, text, &cuts)) return Answer::refuted;
        if (cuts.empty()) cut_by_goals(node, cuts);
        condense(node);
        if (!cuts.empty()) return cut(std::move(node), cuts, out);
        return halve(std::move(node), out);
    }
    node.units = true;
    if (refute_by_program(node, text)) return Answer::refuted;
    if (try_point(point_.data())) return Answer::violated;
    Pick next;
    if (contraction_) {
        if (contraction_->contract(node.cell(ball_), crown_, forms_)) {
            const auto found = contraction_->pick(node.cell(ball_), crown_);
            next.layer = found.layer, next.unit = found.unit;
        }
    }
    if (next.layer < 0) next = pick_unit(node, point_.data());
    if (next.layer >= 0) return split_unit(std::move(node), next, out);
    const Answer answer = solve_exactly(node, text);
    if (answer != Answer::unknown || !node.where) return answer;
    const Pick off = off_piece(node, pattern_of(node, nullptr).data(), true);
    node.layers.reset();  // which need not have this unit
    return off.layer < 0 ? answer : split_unit(std::move(node), off, out);
}

// By the default lines of all units. Where that fails, what halving a side might gain, and points
// at which the bounds are least.
bool CaseSearch::refute_by_goals(Node& node, std::string& text) {
    const CellView cell = node.cell(ball_);
    bound_goals(cell);
    size_t best = 0;
    for (size_t g = 0; g < below_.size(); ++g) {
        const double rounding = ball_ == nullptr ? kRounding : kBallRounding;
        if (below_[g].least > 0.0 && below_[g].least > rounding * crown_.size(g)) {
            ++counts_.leaves;
            if (below_[g].ball > 0.0)
                put_rule_leaf(text, static_cast<int>(g), static_cast<int>(below_.size()),
                              below_[g].ball);
            else
                put_rule_leaf(text, static_cast<int>(g));
            return true;
        }
        if (below_[g].least > below_[best].least) best = g;
    }
    keep_goals(node);
    left_ = HUGE_VAL;
    used_.resize(below_.size());
    for (auto& used : used_) used.clear();
    std::fill(gain_.begin(), gain_.end(), 0.0);
    if (!below_.empty()) {
        node.score = below_[best].least;
        for (int k = 0; k < dim_; ++k)
            point_[k] = below_[best].slope[k] > 0.0 ? cell.lo[k] : cell.hi[k];
        if (!joint_)
            gain_by(cell, lines_of(best, cell), 1.0);
        else if (refute_jointly(node, text))
            return true;
        ++attacks_;
        if (attacks_on_ && attacks_ % kSampleEvery == 0)
            witness_ = attack_.sample(box_.lo.data(), box_.hi.data());
        else if (attacks_on_ && joint_ && attack_.refines() && attacks_ % kRefineEvery == 0)
            witness_ = attack_.refine(box_.lo.data(), box_.hi.data(), point_.data());
        else if (attacks_on_ && attacks_ % kAttackEvery == 0 && !(joint_ && attack_.refines()))
            witness_ = attack_.nearby(cell.lo, cell.hi, point_.data());
        else
            try_points(cell);
    }
    return false;
}

// The multipliers of a goal's bound, of the last bound_goals().
const std::vector<Multiplier>& CaseSearch::lines_of(size_t goal, const CellView& cell) {
    crown_.multipliers(goal, cell, used_[goal]);
    return used_[goal];
}

// What halving the sides gains of what the lines of open units cost a goal, more or less.
void CaseSearch::gain_by(const CellView& cell, const std::vector<Multiplier>& used, double weight) {
    if (dim_ > kFewInputs) return;  // no side is halved
    for (const Multiplier& m : used) {
        if (net_.layers[m.layer].is_max()) continue;
        const double* depends = crown_.dependence(box_.net->row(m.layer, m.unit));
        double sum = 0.0;
        for (int k = 0; k < dim_; ++k) sum += depends[k];
        if (!(sum > 0.0)) continue;
        const double loss = weight * std::fabs(m.g) * crown_.gap(cell, m.layer, m.unit) / sum;
        for (int k = 0; k < dim_; ++k) gain_[k] += loss * depends[k];
    }
}

int CaseSearch::best_side(const Node& node) const {
    int at = 0;
    double best = -1.0;
    for (int k = 0; k < dim_; ++k) {
        const double width = node.hi[k] - node.lo[k];
        const double score = gain_[k] + 1e-9 * width;
        if (width > 0.0 && score > best) best = score, at = k;
    }
    return at;
}

CaseSearch::Answer CaseSearch::halve(Node&& node, Outcome& out) {
    const int at = best_side(node);
    const double middle = (node.lo[at] + node.hi[at]) / 2;
    if (!inside(node, at, middle)) {
        node.units = true;  // nothing lies between
        node.place = 0;
        out.children.push_back(std::move(node));
        return Answer::split;
    }
    put_input_split(out.text, box_.free[at], box_.value(at, middle));
    ++node.halvings;
    node.place = 0;
    Node second = node;
    second.place = 1;
    node.hi[at] = second.lo[at] = middle;
    node.cut_hi[at] = second.cut_lo[at] = 1;
    out.children.push_back(std::move(second));
    out.children.push_back(std::move(node));
    return Answer::split;
}

CaseSearch::Answer CaseSearch::split_unit(Node&& node, const Pick& pick, Outcome& out) {
    const Layer& from = net_.layers[pick.layer];
    const auto flat = box_.net->unit(pick.layer, pick.unit);
    put_unit_split(out.text, flat);
    std::vector<int> pieces{0, 1};
    if (from.is_max()) {
        pieces.clear();
        for (int s = from.slots; s-- > 0;)
            if (from.entry(pick.unit, s) >= 0) pieces.push_back(s);
    }
    int place = static_cast<int>(pieces.size());
    for (const int piece : pieces) {
        Node child = node;
        child.place = --place;
        child.pieces[flat] = static_cast<int8_t>(piece);
        child.path.push_back({pick.layer, pick.unit, piece});
        if (!from.is_max()) {
            const size_t row = box_.net->row(pick.layer, pick.unit);
            if (const int known = Crown::known(node.bounds->lo[row], node.bounds->hi[row]);
                known >= 0 && known != piece) {
                ++counts_.nodes;
                ++counts_.leaves;
                put_rule_leaf(out.leaves.emplace_back(child.place, std::string()).second, -1);
                continue;
            }
            child.own_bounds();
            if (piece)
                child.bounds->lo[row] = std::max(child.bounds->lo[row], 0.0);
            else
                child.bounds->hi[row] = std::min(child.bounds->hi[row], 0.0);
        }
        out.children.push_back(std::move(child));
    }
    return Answer::split;
}

// For the nodes below, which have no more open units than this one.
void CaseSearch::condense(Node& node) const {
    if (pooled_) return;
    const BoundLayers& now = node.layers ? *node.layers : *box_.net;
    const CellView cell = node.cell(ball_);
    size_t before = static_cast<size_t>(dim_), weights = 0;
    for (int l = 0; l < depth_; ++l) {
        const size_t from = before;
        for (const int unit : now.units[l]) before += crown_.is_open(cell, l, unit);
        weights += (before - from) * from;
    }
    weights += before * static_cast<size_t>(now.layers.back().rows);
    if (weights <= kMostWeights &&
        static_cast<double>(weights) <= kCondense * static_cast<double>(now.weights()))
        node.layers = crown_.condense(cell);
}

int CaseSearch::open_units(Node& node) const {
    const CellView cell = node.cell(ball_);
    int open = 0;
    for (int l = 0; l < depth_; ++l)
        for (const int i : crown_.units(l)) open += crown_.is_open(cell, l, i);
    return open;
}

// The unit to be split: of the first layer that has an open one, that whose relaxation costs most
// at the point.
CaseSearch::Pick CaseSearch::pick_unit(Node& node, const double* point) {
    const CellView cell = node.cell(ball_);
    std::vector<double> weight(static_cast<size_t>(net_.unit_count), 0.0);
    for (const auto& used : used_)
        for (const Multiplier& m : used)
            if (m.chord) weight[box_.net->unit(m.layer, m.unit)] += std::fabs(m.g);
    at_.set(0, point);
    at_.evaluate();
    Pick pick;
    double best = -1.0;
    for (int l = 0; l < depth_ && pick.layer < 0; ++l)
        for (const int i : crown_.units(l)) {
            if (!crown_.is_open(cell, l, i)) continue;
            double score = weight[box_.net->unit(l, i)];
            if (!net_.layers[l].is_max()) {
                const double most = crown_.gap(cell, l, i);
                const size_t row = box_.net->row(l, i);
                const double lo = cell.bounds.lo[row], hi = cell.bounds.hi[row];
                const double z = std::clamp(at_.value(l, i, 0), lo, hi);
                const double here = most * (z > 0.0 ? (hi - z) / hi : (z - lo) / -lo);
                score = score * here + 1e-9 * most;
            }
            if (pick.layer < 0 || score > best) best = score, pick = {l, i};
        }
    return pick;
}

bool CaseSearch::try_point(const double* s) {
    at_.set(0, s);
    at_.evaluate();
    return is_violation(at_, 0, s);
}

// The point at hand, and the middle, which it is afterwards. Points wait until there are so many as
// are evaluated in the time of one, but for those of the first nodes.
void CaseSearch::try_points(const CellView& cell) {
    tried_at_.set(waiting_++, point_.data());
    for (int k = 0; k < dim_; ++k) point_[k] = (cell.lo[k] + cell.hi[k]) / 2;
    tried_at_.set(waiting_++, point_.data());
    if (waiting_ + 2 > kLane || attacks_ <= kTriedAtOnce) try_waiting();
}

bool CaseSearch::try_waiting() {
    if (waiting_ == 0) return false;
    tried_at_.evaluate();
    std::vector<double> s(static_cast<size_t>(dim_));
    for (int i = 0; i < waiting_ && !witness_; ++i) {
        tried_at_.get(i, s.data());
        is_violation(tried_at_, i, s.data());
    }
    waiting_ = 0;
    return witness_.has_value();
}

// Of a point that was evaluated.
bool CaseSearch::is_violation(const Points& points, int lane, const double* s) {
    const auto step = static_cast<size_t>(points.lanes());
    // Without attacks the caller knows a violation just outside, which nodes come upon again and
    // again: points that may be violations but for rounding are left to the exact leaves.
    const double slack = attacks_on_ ? kNearly : -kRounding;
    if (!problem_.holds_nearly(points.coordinates(lane), points.outputs(lane), slack, step))
        return false;
    witness_ = problem_.violation_near(s);
    return witness_.has_value();
}

}  // namespace plv
