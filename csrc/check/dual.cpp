#include "check/dual.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr uint64_t kMaxExponent = 1u << 16;
constexpr size_t kMaxSplit = 1u << 16;  // bits
constexpr size_t kMaxHeld = size_t{1} << 30;

void require(bool condition, const char* reason) {
    if (!condition) [[unlikely]]
        throw Rejected(reason);
}

}  // namespace

DualChecker::DualChecker(const DualNet& net, const DualQuestion& question, Body::More more,
                         const std::function<void()>& tick)
    : net_(net),
      question_(question),
      body_(std::move(more)),
      tick_(tick),
      doubles_(net, tick),
      exact_(net, tick),
      bound_mark_(net.inputs),
      end_mark_(size_t{2} * net.net.input_size) {}

void DualChecker::run() {
    for (const DualSystem& system : question_.systems) tree(system);
    require(body_.at_end(), "bytes follow the last leaf");
}

void DualChecker::tree(const DualSystem& system) {
    system_ = &system;
    const DualBox& box = question_.boxes[system.box];
    cell_ = {box, net_.own_piece, std::vector<double>(net_.inputs, -kInf),
             std::vector<double>(net_.inputs, kInf),
             system.ball == kNothing ? nullptr : &question_.balls[system.ball]};
    if (net_.rounds) {
        doubles_.propagate(cell_);
        require(doubles_.errors_are_finite(), "a sum may overflow as executed");
    }
    fixed_.clear();
    gain_.reset();
    if (system.gain) start_gain(*system.gain);
    at_root_ = 0;
    begins_ = true;
    states_ = false;
    doubles_.forget();
    doubles_.go_back(0);
    last_rule_ = kNoRule;
    while (true) {
        if ((stats_.nodes++ & 15) == 0) tick_();
        const uint64_t code = body_.var();
        if (code != 4 && code != 8) keep_stated();
        if (code == 2) {
            input();
        } else if (code == 3) {
            unit();
        } else if (code == 4) {
            bounds();
        } else if (code == 5 && gain_) {
            slopes();
        } else if (code == 8) {
            statement();
        } else {
            require(code <= 1 || code == 7 || (code == 6 && gain_), "unknown kind of node");
            if (code == 6)
                norm_leaf();
            else
                leaf(code == 0 ? Leaf::rule : code == 1 ? Leaf::dual : Leaf::envelope);
            if (branches_.empty()) return;
            next_child();
        }
    }
}

// --------------------------------------------------------------------------------------- gradients

void DualChecker::start_gain(const GainClaim& claim) {
    if (!graph_) graph_ = std::make_unique<GainGraph>(net_);
    using Norm = GainGoal::Norm;
    GainGoal goal;
    goal.norm = claim.norm == 0 ? Norm::linf : claim.norm == 1 ? Norm::l1 : Norm::l2;
    goal.num = claim.num;
    goal.den = claim.den;
    const size_t outputs = net_.net.tensor_size(net_.net.nodes.size());
    for (size_t r = 0; r + outputs <= claim.outputs.size(); r += outputs) {
        const auto first = claim.outputs.begin() + static_cast<std::ptrdiff_t>(r);
        const std::vector<Int> row(first, first + static_cast<std::ptrdiff_t>(outputs));
        goal.rows.push_back(graph_->output_form(row, claim.over));
    }
    gain_ = std::make_unique<Gain>(*graph_, std::move(goal), tick_);
    old_ranges_.clear();
}

void DualChecker::slopes() {
    const uint64_t rule = body_.var();
    require(rule <= 1, "unknown rule for gradients");
    if (is_empty()) return;
    if (const uint64_t now = mark();
        now != 0 && (old_ranges_.empty() || old_ranges_.back().mark != now)) {
        old_ranges_.push_back({now, gain_->ranges});
        hold(range_bytes());
    }
    gain_->doubles.bound(gain_->goal, cell_, rule == 1, gain_->ranges);
}

size_t DualChecker::range_bytes() const {
    return gain_->ranges.size() * graph_->points * 2 * sizeof(double);
}

void DualChecker::norm_leaf() {
    ++stats_.leaves;
    if (is_empty()) return;
    if (gain_->doubles.is_met(gain_->goal, cell_, gain_->ranges)) return;
    ++stats_.exact_leaves;
    require(is_met_exactly(*graph_, gain_->goal, cell_, gain_->ranges), "a leaf proves nothing");
}

// --------------------------------------------------------------------------------------- leaves

void DualChecker::leaf(Leaf kind) {
    const bool dual = kind != Leaf::rule;
    if (dual) {
        const uint64_t zigzag = body_.var();
        // All multipliers share this factor, so that it does not matter any more.
        require(zigzag / 2 + (zigzag & 1) <= kMaxExponent, "an exponent is out of range");
    }
    const std::vector<DualRow>& rows = system_->rows;
    read_multipliers(rows.size(), kind);
    ++stats_.leaves;
    if (is_empty()) return;
    const Given* given = dual ? &given_ : nullptr;
    if (net_.rounds && !doubles_.propagate(cell_)) return;  // the cell is empty
    if (doubles_.is_positive(cell_, rows, used_, around_.rounded, given)) return;
    ++stats_.exact_leaves;
    exact_.clear();
    bool strict = !around_.value.is_zero() && cell_.ball->strict;
    for (const Multiplier& m : used_) {
        exact_.add_row(rows[m.index], m.value);
        strict = strict || rows[m.index].strict;
    }
    const auto nodes = static_cast<uint32_t>(net_.nodes.size());
    const bool bounded = exact_.least(cell_, cell_.lo.data(), cell_.hi.data(), nodes, given,
                                      doubles_.errors(), around_.value);
    const int sign = bounded ? exact_.value().num.sign() : -1;
    const bool thin = sign == 0 && gain_ && dual && is_thin(*graph_, cell_, given_.multipliers);
    require(sign > 0 || (sign == 0 && strict) || thin, "a leaf proves nothing");
}

// Appends a multiplier; its sign.
int DualChecker::read_multiplier(std::vector<Multiplier>& to, uint64_t index) {
    body_.number(number_);
    Multiplier& m = to.emplace_back();
    m.index = static_cast<uint32_t>(index);
    m.value = number_.value();
    if (!number_.is_big)
        m.rounded = static_cast<double>(number_.small);
    else
        m.rounded = m.value.bit_length() < 900 ? m.value.to_double() : kInf;
    return number_.sign();
}

void DualChecker::read_multipliers(size_t rows, Leaf kind) {
    used_.clear();
    uint64_t count = body_.var();
    const size_t choices = rows + (cell_.ball != nullptr ? 1 : 0);
    for (uint64_t next = 0; count > 0; --count) {
        const uint64_t index = body_.var();
        require(next <= index && index < choices, "a leaf uses no constraint");
        next = index + 1;
        require(read_multiplier(used_, index) > 0, "a multiplier is not positive");
    }
    around_ = {};
    if (!used_.empty() && used_.back().index == rows) {
        around_ = std::move(used_.back());
        used_.pop_back();
    }
    if (kind == Leaf::rule) return;
    read_given();
    if (kind == Leaf::envelope) read_envelopes();
}

// The multipliers of unit inputs.
void DualChecker::read_given() {
    given_.multipliers.clear();
    given_.envelopes.clear();
    uint64_t at = 0;
    for (uint64_t k = 0, count = body_.var(); k < count; ++k) {
        at = next_number(at, k == 0, net_.inputs, "unit inputs are not in order, or not there");
        require(read_multiplier(given_.multipliers, at) != 0, "a multiplier is zero");
    }
}

// Numbers after the first one are differences, at least 1.
uint64_t DualChecker::next_number(uint64_t last, bool first, uint64_t end, const char* reason) {
    const uint64_t step = body_.var();
    require((first || step > 0) && step < end && last + step < end, reason);
    return last + step;
}

void DualChecker::read_envelopes() {
    const uint64_t points = uint64_t{net_.net.input_size} + net_.units;
    uint64_t unit = 0;
    for (uint64_t u = 0, units = body_.var(); u < units; ++u) {
        unit = next_number(unit, u == 0, net_.units, "units are not in order, or not there");
        Envelope& out = given_.envelopes.emplace_back();
        out.unit = static_cast<uint32_t>(unit);
        const bool window = net_.is_window(out.unit);
        const uint32_t own = net_.input_of(out.unit);
        const auto listed =
            std::lower_bound(given_.multipliers.begin(), given_.multipliers.end(), own,
                             [](const Multiplier& m, uint32_t i) { return m.index < i; });
        const uint32_t slots = window ? net_.pieces(out.unit) : 1;
        require(listed == given_.multipliers.end() || listed->index >= own + slots,
                "a unit has a multiplier and an envelope");
        if (window) {
            out.shift = body_.var();
            require(out.shift <= kMaxExponent, "an exponent is out of range");
        }
        uint64_t point = 0;
        for (uint64_t p = 0, count = body_.var(); p < count; ++p) {
            point = next_number(point, p == 0, points, "what a unit reads is not in order");
            auto entry = static_cast<uint32_t>(point);
            if (point >= net_.net.input_size) {
                const uint32_t read = entry - net_.net.input_size;
                const DualNode& node = net_.nodes[net_.node_of[read]];
                entry = node.base + read - node.first_unit;
            }
            if (window) {
                // Its gradient has yet to be passed on.
                require(entry < net_.nodes[net_.node_of[out.unit]].base,
                        "a window is bounded by what comes after it");
                body_.number(number_);
                require(number_.sign() != 0, "a coefficient is zero");
                out.terms.emplace_back(entry, number_.value());
                continue;
            }
            const uint64_t share = body_.var();
            require(share >= 1 && share <= 256, "a share is out of range");
            out.terms.emplace_back(entry, Int(static_cast<int64_t>(share)));
        }
    }
}

// A bound of a unit input, by the multipliers that follow.
void DualChecker::statement() {
    const uint64_t which = body_.var(), shift = body_.var();
    require(which / 2 < net_.inputs, "there is no such unit input");
    require(shift <= kMaxExponent, "an exponent is out of range");
    read_given();
    read_envelopes();
    states_ = states_ || begins_;
    at_root_ = kMostFirst;  // later bounds depend on what is stated
    if (is_empty()) return;
    const auto input = static_cast<uint32_t>(which / 2);
    const bool upper = (which & 1) != 0;
    if (net_.rounds && !doubles_.propagate(cell_)) {
        cell_.empty = true;
        return;
    }
    const uint32_t entry = net_.entry_of[input];
    double least = doubles_.bound(cell_, entry, upper ? -1 : 1, shift, given_);
    if (!std::isfinite(least)) {
        exact_.clear();
        exact_.add_term(entry, (upper ? Int(-1) : Int(1)) << shift);
        const auto nodes = static_cast<uint32_t>(net_.nodes.size());
        if (!exact_.least(cell_, cell_.lo.data(), cell_.hi.data(), nodes, &given_,
                          doubles_.errors(), Int()))
            return;
        Scale den = exact_.value().den;
        den.shift += shift;
        least = round_down(exact_.value().num, den);
    }
    const double lo = upper ? cell_.lo[input] : std::max(cell_.lo[input], least);
    const double hi = upper ? std::min(cell_.hi[input], -least) : cell_.hi[input];
    if (lo != cell_.lo[input] || hi != cell_.hi[input]) set_bounds(input, lo, hi);
    cell_.empty = lo > hi;
    hold(0);
}

// Whether this tree is about the box and the ball that bounds were stated for.
bool DualChecker::same_place() const {
    const auto same_end = [](const DualEnd& a, const DualEnd& b) {
        return a.finite == b.finite && (!a.finite || (a.num == b.num && a.den == b.den));
    };
    const auto same_ball = [&](uint32_t i, uint32_t j) {
        if (i == j || i == kNothing || j == kNothing) return i == j;
        const DualBall &a = question_.balls[i], &b = question_.balls[j];
        return a.squares == b.squares && a.strict == b.strict && a.num == b.num && a.den == b.den &&
               a.size_num == b.size_num && a.size_den == b.size_den;
    };
    const DualBox& a = question_.boxes[static_cast<size_t>(stated_.box)];
    const DualBox& b = question_.boxes[system_->box];
    return same_ball(stated_.ball, system_->ball) &&
           std::equal(a.lo.begin(), a.lo.end(), b.lo.begin(), same_end) &&
           std::equal(a.hi.begin(), a.hi.end(), b.hi.begin(), same_end);
}

// At the end of a tree's beginning.
void DualChecker::keep_stated() {
    if (begins_ && states_)
        stated_ = {static_cast<int64_t>(system_->box), system_->ball, cell_.empty, cell_.lo,
                   cell_.hi};
    begins_ = false;
}

bool DualChecker::is_empty() const {
    if (cell_.empty || !net_.has_windows) return cell_.empty;
    for (const DualNode& node : net_.nodes) {
        for (size_t w = 0; w + 1 < node.slot_start.size(); ++w) {
            const int32_t piece = cell_.pieces[node.first_unit + w];
            if (piece < 0) continue;
            const double* lo = &cell_.lo[node.first_input];
            const uint32_t first = node.slot_start[w];
            const double top = cell_.hi[node.first_input + first + static_cast<uint32_t>(piece)];
            if (*std::max_element(lo + first, lo + node.slot_start[w + 1]) > top) return true;
        }
    }
    return false;
}

// --------------------------------------------------------------------------------------- splits

void DualChecker::input() {
    at_root_ = kMostFirst;
    const uint64_t index = body_.var();
    DualEnd value;
    value.finite = true;
    body_.number(number_);
    value.num = number_.value();
    body_.number(number_);
    value.den = number_.value();
    require(index < net_.net.input_size, "there is no such input");
    require(value.den.sign() > 0, "a split value has no positive denominator");
    require(value.num.bit_length() <= kMaxSplit && value.den.bit_length() <= kMaxSplit,
            "a split value is too long");
    const DualEnd &lo = cell_.box.lo[index], &hi = cell_.box.hi[index];
    require((!lo.finite || lo.num * value.den < value.num * lo.den) &&
                (!hi.finite || value.num * hi.den < hi.num * value.den),
            "a split value is not inside its interval");
    value.round(false);
    // Most nodes below have bounds, too.
    if (!cell_.empty && (last_rule_ == 1 || last_rule_ == 3))
        doubles_.condense(cell_, last_rule_ == 3 ? &system_->rows : nullptr);
    Branch branch{++marks_,
                  old_bounds_.size(),
                  old_ends_.size(),
                  fixed_.size(),
                  old_ranges_.size(),
                  doubles_.condensed(),
                  cell_.empty,
                  true,
                  static_cast<uint32_t>(index),
                  0,
                  value};
    hold(value.held());
    push(std::move(branch));
    value.round(true);
    set_end(2 * static_cast<uint32_t>(index) + 1, value);
}

void DualChecker::unit() {
    at_root_ = kMostFirst;
    const uint64_t number = body_.var();
    require(number < net_.units, "there is no such unit");
    const auto unit = static_cast<uint32_t>(number);
    require(cell_.pieces[unit] < 0, "a unit has a piece already");
    const bool window = net_.is_window(unit);
    hold(0);
    push({++marks_, old_bounds_.size(), old_ends_.size(), fixed_.size(), old_ranges_.size(),
          doubles_.condensed(), cell_.empty, false, unit, window ? 1 : 0, DualEnd{}});
    fix(unit, window ? 0 : 1);
}

// Networks as executed have errors that are measured with every cell.
void DualChecker::push(Branch&& branch) {
    if (branches_.empty() && !net_.rounds && !cell_.empty) doubles_.keep(cell_);
    branches_.push_back(std::move(branch));
    last_rule_ = kNoRule;
}

void DualChecker::bounds() {
    const uint64_t rule = body_.var();
    require(rule <= 3, "unknown rule for bounds");
    last_rule_ = rule;
    if (rule == 3) {
        require(!gain_, "bounds where rows hold say nothing of gradients");
        require(net_.net.input_size <= DualDoubles::kMostInputs, "too many inputs for rule 3");
        keep_stated();  // these are bounds of one system
        at_root_ = kMostFirst;
    }
    if (rule == 2) {
        require(stated_.box >= 0 && same_place(), "no bounds were stated for this box");
        at_root_ = kMostFirst;
        if (is_empty()) return;
        cell_.empty = stated_.empty;
        for (uint32_t i = 0; i < net_.inputs && !cell_.empty; ++i) {
            const double lo = std::max(cell_.lo[i], stated_.lo[i]);
            const double hi = std::min(cell_.hi[i], stated_.hi[i]);
            if (lo != cell_.lo[i] || hi != cell_.hi[i]) set_bounds(i, lo, hi);
            cell_.empty = lo > hi;
        }
        hold(0);
        return;
    }
    if (is_empty()) return;
    // Trees about one box and ball begin with the same bounds.
    const bool root = at_root_ < kMostFirst;
    if (root) {
        if (first_.box != static_cast<int64_t>(system_->box) || first_.ball != system_->ball)
            first_ = {static_cast<int64_t>(system_->box), system_->ball, {}};
        std::vector<FirstBounds>& steps = first_.steps;
        if (at_root_ < steps.size() && steps[at_root_].rule == rule) {
            const FirstBounds& same = steps[at_root_++];
            cell_.empty = same.empty;
            if (!same.empty) cell_.lo = same.lo, cell_.hi = same.hi;
            return;
        }
        steps.resize(at_root_++);
        steps.push_back({rule, true, {}, {}});
    }
    const std::vector<DualRow>* where = rule == 3 ? &system_->rows : nullptr;
    if (!(rule == 0 ? doubles_.propagate(cell_) : doubles_.substitute(cell_, where))) {
        cell_.empty = true;
        return;
    }
    for (uint32_t i = 0; i < net_.inputs; ++i) {
        const double lo = doubles_.lower()[i], hi = doubles_.upper()[i];
        if (lo != cell_.lo[i] || hi != cell_.hi[i]) set_bounds(i, lo, hi);
    }
    if (root) first_.steps.back() = {rule, false, cell_.lo, cell_.hi};
    hold(0);
}

void DualChecker::next_child() {
    Branch& branch = branches_.back();
    while (old_bounds_.size() > branch.bounds) {
        const OldBounds& old = old_bounds_.back();
        cell_.lo[old.input] = old.lo;
        cell_.hi[old.input] = old.hi;
        bound_mark_[old.input] = old.mark;
        old_bounds_.pop_back();
    }
    while (old_ends_.size() > branch.ends) {
        OldEnd& old = old_ends_.back();
        held_ -= old.end.held();
        end_of(old.side) = std::move(old.end);
        end_mark_[old.side] = old.mark;
        old_ends_.pop_back();
    }
    for (; fixed_.size() > branch.fixed; fixed_.pop_back()) cell_.pieces[fixed_.back()] = -1;
    for (; old_ranges_.size() > branch.ranges; old_ranges_.pop_back()) {
        held_ -= range_bytes();
        gain_->ranges = std::move(old_ranges_.back().ranges);
    }
    doubles_.go_back(branch.condensed);
    last_rule_ = kNoRule;
    cell_.empty = branch.empty;
    if (branch.is_input) {
        const Branch last = std::move(branch);
        branches_.pop_back();
        held_ -= last.value.held();
        set_end(2 * last.index, last.value);
        return;
    }
    const uint32_t unit = branch.index;
    const int32_t piece = branch.next;
    const bool more = net_.is_window(unit) && static_cast<uint32_t>(piece) + 1 < net_.pieces(unit);
    if (more)
        branch.next = piece + 1;
    else
        branches_.pop_back();
    fix(unit, piece);
}

void DualChecker::fix(uint32_t unit, int32_t piece) {
    cell_.pieces[unit] = piece;
    fixed_.push_back(unit);
    doubles_.fixed(unit);
    if (net_.is_window(unit)) return;
    const uint32_t at = net_.input_of(unit);
    double lo = cell_.lo[at], hi = cell_.hi[at];
    if (piece == 1)
        lo = std::max(lo, 0.0);
    else
        hi = std::min(hi, 0.0);
    if (lo != cell_.lo[at] || hi != cell_.hi[at]) set_bounds(at, lo, hi);
    cell_.empty = cell_.empty || lo > hi;
}

void DualChecker::set_bounds(uint32_t input, double lo, double hi) {
    if (const uint64_t now = mark(); now != 0 && bound_mark_[input] != now) {
        old_bounds_.push_back({input, bound_mark_[input], cell_.lo[input], cell_.hi[input]});
        bound_mark_[input] = now;
    }
    cell_.lo[input] = lo;
    cell_.hi[input] = hi;
}

void DualChecker::set_end(uint32_t side, const DualEnd& end) {
    if (const uint64_t now = mark(); now != 0 && end_mark_[side] != now) {
        hold(end_of(side).held());
        old_ends_.push_back({side, end_mark_[side], end_of(side)});
        end_mark_[side] = now;
    }
    end_of(side) = end;
}

// Refuses trees so deep that what waits on the path would not fit into memory.
void DualChecker::hold(size_t bytes) {
    held_ += bytes;
    const size_t total = held_ + old_bounds_.size() * sizeof(OldBounds) +
                         old_ends_.size() * sizeof(OldEnd) + branches_.size() * sizeof(Branch);
    require(total <= kMaxHeld, "too many nodes wait for their children");
}

}  // namespace plv::check
