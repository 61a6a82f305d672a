#include "search/gain.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/contract.hpp"
#include "base/timer.hpp"
#include "proof/writer.hpp"
#include "search/gain_search.hpp"

namespace plv {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSure = 1e-9;   // floating point decides by more than this share
constexpr double kRoom = 1e-10;  // between the incumbent and bounds of an eigenvalue
constexpr int kLanes = 64;
constexpr int kSamples = 8, kRounds = 24;  // of so many points each, for one row
constexpr size_t kMostWaiting = 3000;
constexpr size_t kMostSides = 8;  // that a climbing step changes at once

}  // namespace

void put_slopes(std::string& out, int rule) {
    put_var(out, 5);
    put_var(out, static_cast<uint64_t>(rule));
}

void put_norm_leaf(std::string& out) { put_var(out, 6); }

GainSearch::GainSearch(const GainQuestion& question, const CaseProblem& problem, StopToken& stop,
                       std::atomic<int64_t>* progress)
    : question_(question),
      problem_(problem),
      box_(problem.box()),
      net_(problem.net()),
      bound_net_(*problem.box().net),
      stop_(stop),
      progress_(progress),
      dim_(static_cast<size_t>(problem.dim())),
      objective_(question, problem),
      crown_(bound_net_, stop),
      jacobian_(bound_net_),
      points_(bound_net_),
      one_(bound_net_) {
    points_.resize(kLanes);
    one_.resize(1);
    row_.resize(dim_ + 1);
}

GainResult GainSearch::run() {
    const Timer timer;
    sample();
    if (question_.by_rows()) {
        for (size_t r = 0; r < objective_.rows(); ++r) tree({r});
    } else {
        std::vector<size_t> all(objective_.rows());
        for (size_t r = 0; r < all.size(); ++r) all[r] = r;
        tree(all);
    }
    result_.complete = !stop_.stopped() && !result_.unknown;
    result_.upper = std::max(best_, above_);
    result_.attained = exact_.has_value() && above_ <= best_;
    result_.cpu_seconds = timer.thread_cpu();
    return std::move(result_);
}

// ------------------------------------------------------------------------------- incumbents

void GainSearch::sample() {
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    // Each row costs a pass of its own.
    const int share = objective_.rows() > 1 ? 4 : 1;
    const int samples = kSamples / share, rounds = kRounds / share;
    for (int round = 0; round < samples + rounds && !stop_.poll(); ++round) {
        for (int p = 0; p < kLanes; ++p) {
            const bool corner = p % 2 == 1;
            for (size_t k = 0; k < dim_; ++k) {
                double t = uniform(random_);
                if (corner) t = t < 0.5 ? 0.0 : 1.0;
                if (round == 0 && p == 0) t = 0.5;
                points_.at(static_cast<int>(k), p) = box_.lo[k] + t * (box_.hi[k] - box_.lo[k]);
            }
            if (round < samples || best_at_.empty()) continue;
            // Some sides of the best point are changed.
            std::vector<double> s = best_at_;
            for (size_t n = 1 + random_() % kMostSides; n > 0; --n) {
                const size_t k = random_() % dim_;
                s[k] = uniform(random_) < 0.5 ? box_.lo[k] : box_.hi[k];
            }
            points_.set(p, s.data());
        }
        look_at(kLanes);
    }
}

// Evaluates the points and offers those whose Jacobian seems larger than the incumbent's.
void GainSearch::look_at(int count) {
    points_.evaluate();
    const auto lanes = static_cast<size_t>(points_.lanes());
    const auto outputs = static_cast<size_t>(net_.output_size());
    std::vector<std::vector<double>> gradients(static_cast<size_t>(count));
    AlignedVector<double> weights(outputs * lanes);
    for (size_t r = 0; r < objective_.rows(); ++r) {
        for (size_t j = 0; j < outputs; ++j)
            std::fill_n(&weights[j * lanes], lanes, objective_.weights(r)[j]);
        points_.differentiate(weights);
        for (int p = 0; p < count; ++p)
            for (size_t k = 0; k < dim_; ++k)
                gradients[p].push_back(points_.gradient(static_cast<int>(k), p));
    }
    std::vector<double> values;
    for (const auto& g : gradients) values.push_back(objective_.value(g));
    for (int tries = 0; tries < 4; ++tries) {
        const auto most = std::max_element(values.begin(), values.end());
        if (!(*most > best_ * (1 + 1e-12)) && !best_at_.empty()) return;
        std::vector<double> s(dim_);
        points_.get(static_cast<int>(most - values.begin()), s.data());
        *most = -kInfinity;
        offer(s.data());
    }
}

// A unit's activation at the point in `one_`.
double GainSearch::activation_at(int layer, int unit) const {
    const Layer& from = net_.layers[layer];
    if (!from.is_max()) {
        const double z = one_.value(layer, unit, 0);
        return z > 0.0 || from.one_piece[unit] ? z : from.slope[unit] * z;
    }
    double most = -kInfinity;
    for (int s = 0; s < from.slots; ++s)
        if (const int e = from.entry(unit, s); e >= 0)
            most = std::max(most, one_.value(layer, e, 0));
    return most;
}

// What rounding of a pre-activation at the point in `one_` is relative to.
double GainSearch::size_at(int layer, int row) const {
    const BoundLayer& form = bound_net_.layers[layer];
    double size = form.size[row];
    for (const BoundLayer::Block& block : form.blocks)
        block.map.each(
            row, [&](int c, double w) { size += std::fabs(w * activation_at(block.source, c)); });
    return size;
}

// Whether a point lies clearly inside a region, and its pattern.
bool GainSearch::is_inside(const double* s, std::vector<uint8_t>& pattern) {
    one_.set(0, s);
    one_.evaluate();
    for (const Goal& goal : problem_.goals()) {
        double v = goal.constant, size = std::fabs(v);
        for (size_t k = 0; k < dim_; ++k) {
            v += goal.slope[k] * s[k];
            size += std::fabs(goal.slope[k]);
        }
        if (!(v < -kSure * size)) return false;
    }
    pattern.assign(static_cast<size_t>(net_.pattern_bytes()), 0);
    for (int l = 0; l < bound_net_.depth; ++l) {
        const Layer& layer = net_.layers[l];
        for (int i = 0; i < layer.units; ++i) {
            if (!layer.is_max()) {
                if (layer.one_piece[i]) continue;
                const double z = one_.value(l, i, 0);
                bool active = z > 0.0;
                if (!(std::fabs(z) > kSure * size_at(l, i))) {
                    // A unit that is constant on the region has no wall there.
                    const ExactRow row = problem_.unit_row(l, i, -1, pattern.data());
                    if (!row.is_constant()) return false;
                    active = row.c.sign() > 0;
                }
                net_.set_piece(pattern.data(), l, i, active);
                continue;
            }
            int best = -1;
            for (int k = 0; k < layer.slots; ++k)
                if (const int e = layer.entry(i, k);
                    e >= 0 &&
                    (best < 0 || one_.value(l, e, 0) > one_.value(l, layer.entry(i, best), 0)))
                    best = k;
            const int rough = layer.entry(i, best);
            const double most = one_.value(l, rough, 0), size = size_at(l, rough);
            for (int k = 0; k < layer.slots; ++k) {
                const int e = layer.entry(i, k), p = layer.entry(i, best);
                if (e < 0 || e == p) continue;
                if (most - one_.value(l, e, 0) > kSure * (size + size_at(l, e))) continue;
                // Nor do slots meet that are a constant apart, or the same.
                const ExactRow row = problem_.unit_row(l, p, e, pattern.data());
                if (!row.is_constant()) return false;
                if (row.c.sign() < 0) best = k;
            }
            net_.set_piece(pattern.data(), l, i, best);
        }
    }
    return true;
}

// Makes a local point the incumbent if its Jacobian is larger.
void GainSearch::offer(const double* s) {
    std::vector<uint8_t> pattern;
    if (!is_inside(s, pattern)) return;
    std::optional<Witness> witness = problem_.violation_near(s);
    if (!witness) return;
    best_at_.assign(s, s + dim_);
    take(pattern.data(), std::move(*witness));
}

void GainSearch::take(const uint8_t* pattern, Witness witness) {
    const std::vector<Int> gradients = objective_.exact_gradients(pattern);
    double value = 0.0;
    if (objective_.is_spectral()) {
        value = objective_.to_double(gradients);
        if (!(value > best_) && result_.has_witness) return;
    } else {
        Int exact = objective_.exact(gradients);
        if (exact_ && exact <= *exact_) return;
        value = objective_.to_double(exact);
        exact_ = std::move(exact);
    }
    best_ = value;
    result_.has_witness = true;
    result_.witness = std::move(witness.x);
    result_.den = std::move(witness.den);
}

// ------------------------------------------------------------------------------- the tree

void GainSearch::tree(const std::vector<size_t>& rows) {
    rows_ = rows;
    GainNode root;
    root.node.lo = box_.lo;
    root.node.hi = box_.hi;
    root.node.pieces.assign(static_cast<size_t>(net_.unit_count), -1);
    root.node.bounds = std::make_shared<RowBounds>();
    root.node.bounds->lo.assign(bound_net_.rows, -kInfinity);
    root.node.bounds->hi.assign(bound_net_.rows, kInfinity);
    root.ranges.assign(rows.size(), jacobian_.unbounded());
    root.bound = kInfinity;
    std::vector<GainNode> waiting;
    waiting.push_back(std::move(root));
    const auto after = [](const GainNode& a, const GainNode& b) { return a.bound < b.bound; };
    text_.clear();
    size_t in_order = 1;  // the first ones are a heap, the others a stack
    while (!waiting.empty() && !stop_.poll() && !result_.unknown) {
        if (in_order == waiting.size()) {
            std::pop_heap(waiting.begin(), waiting.end(), after);
            --in_order;
        }
        GainNode at = std::move(waiting.back());
        waiting.pop_back();
        std::string text;
        std::vector<GainNode> children;
        Answer answer = Answer::unknown;
        try {
            answer = visit(at, text, children);
        } catch (const Stopped&) {
            at.is_begun = true;
            waiting.push_back(std::move(at));
            break;
        }
        ++result_.nodes;
        if (progress_) progress_->fetch_add(1, std::memory_order_relaxed);
        if (answer == Answer::unknown) {
            result_.unknown = true;
            at.is_begun = true;
            waiting.push_back(std::move(at));
        } else if (answer == Answer::leaf) {
            finish(std::move(at.node.part), at.node.place, std::move(text));
        } else {
            const auto own = std::make_shared<ProofPart>();
            own->parent = std::move(at.node.part);
            own->place = at.node.place;
            own->head = std::move(text);
            own->missing = static_cast<int>(children.size());
            own->children.resize(children.size());
            for (size_t i = 0; i < children.size(); ++i) {
                children[i].node.part = own;
                children[i].node.place = static_cast<int>(i);
                waiting.push_back(std::move(children[i]));
                if (in_order + 1 == waiting.size() && in_order < kMostWaiting) {
                    std::push_heap(waiting.begin(), waiting.end(), after);
                    ++in_order;
                }
            }
        }
    }
    close(waiting);
    append(result_.proof, text_);
}

// Ends a search that was stopped: all nodes that wait become leaves under what is known of them.
void GainSearch::close(std::vector<GainNode>& waiting) {
    for (GainNode& at : waiting) {
        std::string text;
        jacobian_.set_cell(at.node.cell(nullptr));
        const double value = bound(at, at.is_begun);
        above_ = std::max(above_, value + kSure * value);
        if (at.is_begun) {
            put_bounds(text, 1);
            put_slopes(text, 1);
        }
        put_norm_leaf(text);
        ++result_.leaves;
        finish(std::move(at.node.part), at.node.place, std::move(text));
    }
    waiting.clear();
}

void GainSearch::finish(std::shared_ptr<ProofPart> part, int place, std::string text) {
    if (auto whole = put_part(std::move(part), place, std::move(text))) text_ = std::move(*whole);
}

GainSearch::Answer GainSearch::visit(GainNode& at, std::string& text,
                                     std::vector<GainNode>& children) {
    put_bounds(text, 1);
    if (!crown_.tighten(at.node.cell(nullptr))) {
        ++result_.leaves;
        put_rule_leaf(text, -1);
        return Answer::leaf;
    }
    jacobian_.set_cell(at.node.cell(nullptr));
    // Not the parent's, where that is smaller: a leaf must be seen to be one from its own ranges.
    at.bound = bound(at, false);
    if (!is_small(at) && jacobian_.is_deep()) {
        put_slopes(text, 1);
        at.bound = bound(at, true);
    }
    if (is_small(at)) {
        ++result_.leaves;
        put_norm_leaf(text);
        return Answer::leaf;
    }
    if (refute_by_program(at, text)) return Answer::leaf;
    fix_by_program(at, text);
    int unit = pick(at);
    if (unit < 0) {
        if (const Answer answer = decide(at, text, unit); unit < 0) return answer;
    }
    split(at, unit, text, children);
    return Answer::split;
}

// Whether the incumbent, if there is one, is larger than anything in the node, for sure.
bool GainSearch::is_small(const GainNode& at) const {
    if (!result_.has_witness) return false;
    if (objective_.is_spectral()) return at.bound <= best_ * (1 + kRoom);
    return at.bound * (1 + kSure) <= best_;
}

double GainSearch::bound(GainNode& at, bool tight) {
    for (size_t i = 0; i < rows_.size(); ++i)
        jacobian_.bound(objective_.weights(rows_[i]), tight, at.ranges[i]);
    const size_t inputs = jacobian_.inputs();
    double least = objective_.above(at.ranges, inputs);
    weight_.assign(static_cast<size_t>(net_.unit_count), 0.0);
    if (objective_.has_chords()) {
        const double constant = objective_.chords(at.ranges[0], inputs, slope_);
        const double more =
            jacobian_.above(objective_.weights(rows_[0]), slope_.data(), at.ranges[0], weight_);
        least = std::min(least, constant + more);
    }
    return least;
}

// The open unit that matters most, -1 if none matters: the gradient is the same whatever they do.
// Of units that matter alike it is better to split one that is hardly ever on one of its sides:
// that side contradicts others soon.
int GainSearch::pick(const GainNode& at) const {
    int found = -1;
    double best = 0.0, second = 0.0;
    for (int l = 0; l < bound_net_.depth; ++l)
        for (int i = 0; i < net_.layers[l].units; ++i) {
            const size_t u = bound_net_.unit(l, i);
            if (!jacobian_.is_open(u)) continue;
            double size = 0.0;
            for (const GradientRanges& ranges : at.ranges) {
                const double most = std::max(-ranges.lo[u], ranges.hi[u]);
                size += most * most;
            }
            double weight = weight_[u];
            if (!net_.layers[l].is_max()) {
                const size_t row = bound_net_.row(l, i);
                const double lo = at.node.bounds->lo[row], hi = at.node.bounds->hi[row];
                weight *= std::max(-lo, hi) / (hi - lo);
            }
            if (weight > best || (best == 0.0 && size > second)) {
                best = std::max(best, weight);
                second = size;
                found = static_cast<int>(u);
            }
        }
    return found;
}

void GainSearch::split(GainNode& at, int unit, std::string& text, std::vector<GainNode>& children) {
    int layer = 0;
    while (layer + 1 < bound_net_.depth && net_.unit_offset[layer + 1] <= unit) ++layer;
    const int i = unit - net_.unit_offset[layer];
    const Layer& from = net_.layers[layer];
    put_unit_split(text, static_cast<uint64_t>(unit));
    std::vector<int> pieces{1, 0};
    if (from.is_max()) {
        pieces.clear();
        for (int s = 0; s < from.slots; ++s)
            if (from.entry(i, s) >= 0) pieces.push_back(s);
    }
    for (const int piece : pieces) {
        GainNode child = at;
        child.node.own_bounds();
        child.node.pieces[static_cast<size_t>(unit)] = static_cast<int8_t>(piece);
        child.node.path.push_back({layer, i, piece});
        if (!from.is_max()) {
            const size_t row = bound_net_.row(layer, i);
            double &lo = child.node.bounds->lo[row], &hi = child.node.bounds->hi[row];
            if (piece)
                lo = std::max(lo, 0.0);
            else
                hi = std::min(hi, 0.0);
        }
        children.push_back(std::move(child));
    }
}

GainResult largest_jacobian(std::shared_ptr<const Net> net, const GainQuestion& question,
                            StopToken& stop, std::atomic<int64_t>* progress) {
    PLV_EXPECT(question.weights.size() == question.rows * static_cast<size_t>(net->output_size()),
               "weights of other outputs than the network has");
    const std::shared_ptr<const LocalBox> box = LocalBox::make(*net, *question.domain.inputs);
    PLV_EXPECT(box && box->dim == net->input_size,
               "the box is unbounded, too large for doubles or without an interior");
    const CaseProblem problem(net, question.domain, box);
    return GainSearch(question, problem, stop, progress).run();
}

}  // namespace plv
