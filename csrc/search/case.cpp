#include "search/case.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/contract.hpp"
#include "proof/writer.hpp"

namespace plv {

namespace {

constexpr double kSure = 1e-9;       // floating point decides by more than this share
constexpr double kRounding = 1e-12;  // of the terms of a sum: its rounding is far smaller
constexpr int kFewOpen = 10;         // with so few open units they are split, not the box
constexpr int kManyInputs = 12;      // and so they are with more inputs than this
constexpr int kMostHalvings = 60;
constexpr int kMostCuts = 30;

int sign_of(const Rational& a, const Rational& b) { return (a.num * b.den - b.num * a.den).sign(); }

}  // namespace

CaseSearch::CaseSearch(std::shared_ptr<const Net> net, const SpecCase& spec, StopToken& stop,
                       const std::atomic<bool>& enough, VerifyResult& result,
                       std::atomic<int64_t>* progress)
    : net_(std::move(net)),
      spec_(spec),
      stop_(stop),
      enough_(enough),
      result_(result),
      progress_(progress),
      depth_(static_cast<int>(net_->layers.size())),
      out_(result.proof) {
    uint64_t next = 0;
    for (const Layer& layer : net_->layers) {
        first_slot_.emplace_back();
        for (int i = 0; i < layer.units; ++i) {
            first_slot_.back().push_back(next);
            if (!layer.is_max()) ++next;
            for (int s = 0; s < layer.slots; ++s) next += layer.entry(i, s) >= 0;
        }
    }
}

uint64_t CaseSearch::number(int layer, int unit, int slot) const {
    uint64_t at = first_slot_[layer][unit];
    for (int s = 0; s < slot; ++s) at += net_->layers[layer].entry(unit, s) >= 0;
    return at;
}

// False if an input is unbounded.
bool CaseSearch::build_domain() {
    const auto n = static_cast<size_t>(net_->input_size);
    for (size_t i = 0; i < n; ++i) {
        if (!spec_.lo[i] || !spec_.hi[i]) return false;
        const bool point = sign_of(*spec_.lo[i], *spec_.hi[i]) == 0;
        place_.push_back(point ? -1 : static_cast<int>(free_.size()));
        if (!point) free_.push_back(static_cast<uint32_t>(i));
        if (point)
            common_ = common_.divexact(Int::gcd(common_, spec_.lo[i]->den)) * spec_.lo[i]->den;
    }
    dim_ = static_cast<int>(free_.size());
    for (size_t i = 0; i < n; ++i)
        constant_.push_back(place_[i] >= 0 ? Int()
                                           : spec_.lo[i]->num * common_.divexact(spec_.lo[i]->den));
    for (uint32_t i : free_) {
        const double a = Int::ratio(spec_.lo[i]->num, spec_.lo[i]->den);
        const double b = Int::ratio(spec_.hi[i]->num, spec_.hi[i]->den);
        if (!(std::fabs(a) < 0x1p300 && std::fabs(b) < 0x1p300)) return false;
        int e = 0;
        std::frexp(std::max(b / 2 - a / 2, 0x1p-300), &e);
        const double unit = std::ldexp(1.0, e - 8);
        center_.push_back(std::nearbyint((a / 2 + b / 2) / unit) * unit);
        exponent_.push_back(e);
    }
    std::vector<Int> input_scales;
    std::vector<std::vector<double>> maps;
    for (int l = 0; l <= depth_; ++l) {
        const ExactForm& form = net_->exact_form(l);
        const bool reads = !form.blocks.empty() && form.blocks[0].source == kInput;
        input_scales.push_back(reads ? form.scale * common_ : form.scale);
        const auto stride = static_cast<size_t>(padded(form.rows));
        std::vector<double> map(stride * static_cast<size_t>(dim_ + 1), 0.0);
        for (int r = 0; r < form.rows; ++r) {
            double c = Int::ratio(form.bias[r], form.scale);
            if (reads) {
                const ExactBlock& block = form.blocks[0];
                for (size_t k = block.first(r); k < block.last(r); ++k) {
                    if (block.is_zero(k)) continue;
                    const int i = block.column(r, k);
                    const double w = Int::ratio(block.weight(k), form.scale);
                    if (place_[i] < 0) {
                        c += w * Int::ratio(constant_[i], common_);
                    } else {
                        const auto at = static_cast<size_t>(place_[i]);
                        c += w * center_[at];
                        map[at * stride + static_cast<size_t>(r)] += std::ldexp(w, exponent_[at]);
                    }
                }
            }
            map[static_cast<size_t>(dim_) * stride + static_cast<size_t>(r)] = c;
        }
        maps.push_back(std::move(map));
    }
    scales_ = std::make_unique<Scales>(*net_, input_scales);
    std::vector<const double*> starts;
    for (const auto& map : maps) starts.push_back(map.data());
    crown_ = std::make_unique<Crown>(*net_, dim_, starts);
    return true;
}

void CaseSearch::build_goals() {
    for (const SpecConstraint& from : spec_.constraints) {
        Goal goal;
        goal.strict = from.strict;
        goal.outputs.assign(static_cast<size_t>(net_->output_size()), 0.0);
        goal.slope.assign(static_cast<size_t>(dim_), 0.0);
        goal.constant = -Int::ratio(from.bound.num, from.bound.den);
        for (size_t k = 0; k < from.outputs.size(); ++k)
            goal.outputs[from.outputs[k]] += from.output_terms[k].to_double();
        for (size_t k = 0; k < from.inputs.size(); ++k) {
            const double a = from.input_terms[k].to_double();
            const int at = place_[from.inputs[k]];
            if (at < 0) {
                goal.constant += a * Int::ratio(constant_[from.inputs[k]], common_);
            } else {
                goal.constant += a * center_[at];
                goal.slope[at] += std::ldexp(a, exponent_[at]);
            }
        }
        goals_.push_back(std::move(goal));
    }
}

CaseSearch::Answer CaseSearch::run() {
    for (size_t i = 0; i < spec_.lo.size(); ++i)
        PLV_EXPECT(!spec_.lo[i] || !spec_.hi[i] || sign_of(*spec_.lo[i], *spec_.hi[i]) <= 0,
                   "a box of the property is empty");
    if (!build_domain()) return Answer::unknown;
    build_goals();
    Node root;
    const auto local = [&](const Rational& value, size_t k) {
        return std::ldexp(Int::ratio(value.num, value.den) - center_[k], -exponent_[k]);
    };
    for (size_t k = 0; k < free_.size(); ++k) {
        root.lo.push_back(local(*spec_.lo[free_[k]], k));
        root.hi.push_back(local(*spec_.hi[free_[k]], k));
    }
    root.cut_lo.assign(free_.size(), 0);
    root.cut_hi = root.cut_lo;
    root.fixed = crown_->nothing_fixed();
    root.bounds = crown_->no_bounds();
    const Answer answer = visit(root);
    return answer == Answer::refuted && limited_ ? Answer::unknown : answer;
}

// ------------------------------------------------------------------------------- the tree

CaseSearch::Answer CaseSearch::visit(Node& node) {
    if (stop_.poll() || enough_) throw Stopped{};
    ++result_.nodes;
    if (progress_) progress_->fetch_add(1, std::memory_order_relaxed);
    put_var(out_, 4);
    put_var(out_, 1);
    const double *lo = node.lo.data(), *hi = node.hi.data();
    if (!crown_->tighten(lo, hi, node.fixed, node.bounds)) {
        put_rule(-1);
        return Answer::refuted;
    }
    std::vector<LinearBound> below(goals_.size());
    std::vector<double> point(static_cast<size_t>(dim_));
    double worst = -HUGE_VAL;
    for (size_t g = 0; g < goals_.size(); ++g) {
        const Goal& goal = goals_[g];
        crown_->below(depth_, goal.outputs, goal.slope.data(), goal.constant, lo, hi, node.fixed,
                      node.bounds, below[g]);
        if (below[g].least > kRounding * below[g].size) {
            put_rule(static_cast<int>(g));
            return Answer::refuted;
        }
        if (below[g].least > worst) {
            worst = below[g].least;
            for (int k = 0; k < dim_; ++k) point[k] = below[g].slope[k] > 0.0 ? lo[k] : hi[k];
        }
    }
    if (try_point(point.data())) return Answer::violated;
    for (int k = 0; k < dim_; ++k) point[k] = (lo[k] + hi[k]) / 2;
    if (try_point(point.data())) return Answer::violated;

    int layer = -1, unit = -1, open = 0;
    bool any = pick_unit(node, below, nullptr, layer, unit, open);
    if (any && !node.units && dim_ > 0 && dim_ <= kManyInputs && open > kFewOpen &&
        node.depth < kMostHalvings)
        return halve(node);
    node.units = true;
    if (refute_by_program(node, below, point)) return Answer::refuted;
    if (try_point(point.data())) return Answer::violated;
    any = pick_unit(node, below, point.data(), layer, unit, open);
    if (any) return split_unit(node, layer, unit);
    return solve_exactly(node);
}

CaseSearch::Answer CaseSearch::halve(Node& node) {
    // The widest side, weighed by how much the goals depend on it.
    int at = 0;
    double best = -1.0;
    for (int k = 0; k < dim_; ++k)
        if (node.hi[k] - node.lo[k] > best) best = node.hi[k] - node.lo[k], at = k;
    const double middle = (node.lo[at] + node.hi[at]) / 2;
    const Rational value = input_value(at, middle);
    if (!(middle > node.lo[at] && middle < node.hi[at]) ||
        sign_of(value, *spec_.lo[free_[at]]) <= 0 || sign_of(value, *spec_.hi[free_[at]]) >= 0) {
        node.units = true;  // nothing lies between
        return visit(node);
    }
    put_var(out_, 2);
    put_var(out_, free_[at]);
    put_big(out_, value.num);
    put_big(out_, value.den);
    for (int side : {0, 1}) {
        Node child = node;
        ++child.depth;
        (side ? child.lo : child.hi)[at] = middle;
        (side ? child.cut_lo : child.cut_hi)[at] = 1;
        const Answer answer = visit(child);
        if (answer != Answer::refuted) return answer;
    }
    return Answer::refuted;
}

CaseSearch::Answer CaseSearch::split_unit(Node& node, int layer, int unit) {
    const Layer& from = net_->layers[layer];
    put_var(out_, 3);
    put_var(out_, static_cast<uint64_t>(net_->unit_offset[layer] + unit));
    std::vector<int> pieces;
    if (from.is_max()) {
        for (int s = 0; s < from.slots; ++s)
            if (from.entry(unit, s) >= 0) pieces.push_back(s);
    } else {
        pieces = {1, 0};
    }
    for (int piece : pieces) {
        Node child = node;
        ++child.depth;
        child.fixed[layer][unit] = static_cast<int8_t>(piece);
        if (!from.is_max()) {
            double& lo = child.bounds.lo[layer][unit];
            double& hi = child.bounds.hi[layer][unit];
            if (piece)
                lo = std::max(lo, 0.0);
            else
                hi = std::min(hi, 0.0);
        }
        path_.push_back({layer, unit, piece});
        const Answer answer = visit(child);
        path_.pop_back();
        if (answer != Answer::refuted) return answer;
    }
    return Answer::refuted;
}

bool CaseSearch::is_open(const Node& node, int layer, int unit) const {
    const Layer& from = net_->layers[layer];
    if (node.fixed[layer][unit] >= 0) return false;
    if (from.is_max()) return true;
    return !from.one_piece[unit] &&
           Crown::known(node.bounds.lo[layer][unit], node.bounds.hi[layer][unit]) < 0;
}

// The unit to be split: of the first layer that has an open one, that whose relaxation costs most,
// at the point where given.
bool CaseSearch::pick_unit(const Node& node, const std::vector<LinearBound>& below,
                           const double* point, int& layer, int& unit, int& open) const {
    std::vector<std::vector<double>> weight;
    for (const Layer& from : net_->layers)
        weight.emplace_back(static_cast<size_t>(from.units), 0.0);
    for (const LinearBound& bound : below)
        for (const auto& m : bound.multipliers)
            if (m.chord || !point) weight[m.layer][m.unit] += std::fabs(m.g);
    Crown::Values values;
    if (point) values = crown_->values(point);
    open = 0;
    layer = -1;
    double best = -1.0;
    for (int l = 0; l < depth_; ++l)
        for (int i = 0; i < net_->layers[l].units; ++i) {
            if (!is_open(node, l, i)) continue;
            ++open;
            if (layer >= 0 && layer < l) continue;
            double score = weight[l][i];
            if (!net_->layers[l].is_max()) {
                const double a = node.bounds.lo[l][i], b = node.bounds.hi[l][i];
                const double most = -a * b / (b - a);
                score = point ? score * crown_->gap(l, i, values[l][i], node.bounds) + 1e-9 * most
                              : (score + 1e-12) * most;
            }
            if (layer < 0 || score > best) best = score, layer = l, unit = i;
        }
    return layer >= 0;
}

// ------------------------------------------------------------------------------- programs

// Whether the rows of the fixed units and the relaxed goals contradict each other on the box; if
// not, `point` satisfies them.
bool CaseSearch::refute_by_program(const Node& node, std::vector<LinearBound>& below,
                                   std::vector<double>& point) {
    ++result_.programs;
    const double *lo = node.lo.data(), *hi = node.hi.data();
    const auto width = static_cast<size_t>(dim_) + 1;
    Simplex simplex;
    simplex.start(dim_, lo, hi);
    std::vector<ProgramRow> rows;
    std::vector<double> a(width);
    // Adds row >= 0; true if it contradicts what is there.
    const auto contradicts = [&](ProgramRow&& row, double sign, bool& lost) {
        double most = 0.0;
        for (int k = 0; k < dim_; ++k) most = std::fmax(most, std::fabs(row.bound.slope[k]));
        most = std::fmax(most, std::fabs(row.bound.constant));
        int e = 0;
        if (most > 0.0 && std::isfinite(most)) std::frexp(most, &e);
        row.scale = std::ldexp(1.0, -e);
        for (int k = 0; k < dim_; ++k) a[k] = sign * row.scale * row.bound.slope[k];
        a[dim_] = sign * row.scale * row.bound.constant;
        if (simplex.at_vertex(a.data(), a[dim_]) < 0.0) {
            const Simplex::End end = simplex.maximize(a.data(), a[dim_], 0.0);
            if (end == Simplex::End::failed) {
                lost = true;
                return false;
            }
            if (simplex.value() < -std::max(kSure, kRounding * row.bound.size * row.scale)) {
                rows.push_back(std::move(row));
                return true;
            }
        }
        simplex.add_row(a.data(), a[dim_]);
        rows.push_back(std::move(row));
        return false;
    };
    bool refuted = false, lost = false;
    const std::vector<double> nothing(static_cast<size_t>(dim_), 0.0);
    for (size_t f = 0; f < path_.size() && !refuted && !lost; ++f) {
        const FixedUnit& fixed = path_[f];
        const Layer& layer = net_->layers[fixed.layer];
        std::vector<double> z(static_cast<size_t>(net_->exact_form(fixed.layer).rows), 0.0);
        for (int s = 0; s < std::max(layer.slots, 1) && !refuted && !lost; ++s) {
            std::fill(z.begin(), z.end(), 0.0);
            ProgramRow row;
            row.fixed = static_cast<int>(f);
            if (layer.is_max()) {
                const int e = layer.entry(fixed.unit, s);
                if (e < 0 || s == fixed.piece) continue;
                z[layer.entry(fixed.unit, fixed.piece)] += 1.0;
                z[e] -= 1.0;
                row.slot = s;
            } else {
                z[fixed.unit] = fixed.piece ? 1.0 : -1.0;
            }
            crown_->below(fixed.layer, z, nothing.data(), 0.0, lo, hi, node.fixed, node.bounds,
                          row.bound);
            refuted = contradicts(std::move(row), 1.0, lost);
        }
    }
    for (size_t g = 0; g < goals_.size() && !refuted && !lost; ++g) {
        ProgramRow row;
        row.goal = static_cast<int>(g);
        row.bound = below[g];
        refuted = contradicts(std::move(row), -1.0, lost);
    }
    // Where the program stands, other lines bound the goals better: they cut it off.
    for (int round = 0; !refuted; ++round) {
        for (int k = 0; k < dim_; ++k) {
            std::fill(a.begin(), a.end(), 0.0);
            a[k] = 1.0;
            point[k] = std::clamp(simplex.at_vertex(a.data(), 0.0), lo[k], hi[k]);
        }
        if (lost || round == kMostCuts) break;
        const Crown::Values values = crown_->values(point.data());
        bool cut = false;
        for (size_t g = 0; g < goals_.size() && !refuted && !lost; ++g) {
            const Goal& goal = goals_[g];
            ProgramRow row;
            row.goal = static_cast<int>(g);
            crown_->below(depth_, goal.outputs, goal.slope.data(), goal.constant, lo, hi,
                          node.fixed, node.bounds, row.bound, &values);
            double v = row.bound.constant, size = std::fabs(v);
            for (int k = 0; k < dim_; ++k) {
                v += row.bound.slope[k] * point[k];
                size += std::fabs(row.bound.slope[k]);
            }
            below[g] = row.bound;
            if (v <= 1e-7 * size) continue;
            cut = true;
            refuted = contradicts(std::move(row), -1.0, lost);
        }
        if (!cut) break;
    }
    if (!refuted) return false;

    std::vector<int> used;
    std::vector<double> y;
    simplex.multipliers(used, y);
    std::vector<double> weight(rows.size(), 0.0);  // of the rows as functions
    weight.back() = rows.back().scale;
    for (size_t j = 0; j < used.size(); ++j)
        if (used[j] >= 2 * dim_)
            weight[static_cast<size_t>(used[j] - 2 * dim_)] +=
                y[j] * rows[static_cast<size_t>(used[j] - 2 * dim_)].scale;
    std::vector<std::pair<int, double>> mu;
    for (size_t g = 0; g < goals_.size(); ++g) mu.emplace_back(static_cast<int>(g), 0.0);
    std::vector<Listed> listed;
    for (size_t r = 0; r < rows.size(); ++r) {
        const double w = weight[r];
        if (w <= 0.0) continue;
        const ProgramRow& row = rows[r];
        for (const auto& m : row.bound.multipliers)
            listed.push_back(
                {number(m.layer, m.unit, m.slot), row.goal >= 0 ? w * m.h : -w * m.h, true});
        if (row.goal >= 0) {
            mu[static_cast<size_t>(row.goal)].second += w;
            continue;
        }
        const FixedUnit& fixed = path_[static_cast<size_t>(row.fixed)];
        if (row.slot >= 0) {
            listed.push_back({number(fixed.layer, fixed.unit, row.slot), w, false});
            listed.push_back({number(fixed.layer, fixed.unit, fixed.piece), w, false});
        } else {
            listed.push_back({number(fixed.layer, fixed.unit, 0), w, false});
        }
    }
    put_dual(mu, std::move(listed));
    return true;
}

// No unit is open: the network is affine on the node, and exact arithmetic decides.
CaseSearch::Answer CaseSearch::solve_exactly(const Node& node) {
    ++result_.exact_programs;
    std::vector<uint8_t> pattern(static_cast<size_t>(net_->pattern_bytes()), 0);
    for (int l = 0; l < depth_; ++l)
        for (int i = 0; i < net_->layers[l].units; ++i) {
            int piece = node.fixed[l][i];
            if (piece < 0 && !net_->layers[l].is_max() && !net_->layers[l].one_piece[i])
                piece = Crown::known(node.bounds.lo[l][i], node.bounds.hi[l][i]);
            net_->set_piece(pattern.data(), l, i, std::max(piece, 0));
        }
    const auto n = static_cast<size_t>(dim_);
    std::vector<ExactRow> all;
    std::vector<uint8_t> strict;
    for (int k = 0; k < dim_; ++k)
        for (int side : {1, -1}) {
            const bool low = side > 0;
            const bool cut = low ? node.cut_lo[k] : node.cut_hi[k];
            const auto& own = low ? spec_.lo[free_[k]] : spec_.hi[free_[k]];
            const Rational end = cut ? input_value(k, low ? node.lo[k] : node.hi[k]) : *own;
            ExactRow row;
            row.a.resize(n);
            row.a[k] = low ? end.den : -end.den;
            row.c = low ? -end.num : end.num;
            all.push_back(std::move(row));
        }
    struct Origin {
        uint64_t number = 0, other = UINT64_MAX;
        Int scale;
        int goal = -1;
    };
    std::vector<Origin> origins(all.size());
    for (const FixedUnit& fixed : path_) {
        const Layer& layer = net_->layers[fixed.layer];
        for (int s = 0; s < std::max(layer.slots, 1); ++s) {
            Origin origin;
            origin.scale = scales_->total[fixed.layer];
            int entry = fixed.unit, minus = -1;
            if (layer.is_max()) {
                entry = layer.entry(fixed.unit, fixed.piece);
                minus = layer.entry(fixed.unit, s);
                if (minus < 0 || s == fixed.piece || minus == entry) continue;
                origin.number = number(fixed.layer, fixed.unit, s);
                origin.other = number(fixed.layer, fixed.unit, fixed.piece);
            } else {
                origin.number = number(fixed.layer, fixed.unit, 0);
            }
            ExactRow row = unit_row(fixed.layer, entry, minus, pattern.data());
            if (!layer.is_max() && fixed.piece == 0) {
                row.c.negate();
                for (Int& v : row.a) v.negate();
            }
            all.push_back(std::move(row));
            origins.push_back(std::move(origin));
        }
    }
    strict.assign(all.size(), 0);
    for (size_t g = 0; g < goals_.size(); ++g) {
        Origin origin;
        origin.goal = static_cast<int>(g);
        all.push_back(goal_row(g, pattern.data(), origin.scale));
        origins.push_back(std::move(origin));
        strict.push_back(goals_[g].strict);
    }
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : all) rows.push_back(&row);
    const std::optional<StrictPoint> found = mixed_point(dim_, rows, strict, {}, &stop_);
    if (!found) throw Stopped{};
    if (found->found) {
        std::vector<Rational> x;
        for (const Int& v : found->x) x.push_back({v, found->den});
        if (violated_at(x)) return Answer::violated;
        limited_ = true;  // a unit that floating point called known is not
        put_rule(-1);
        return Answer::refuted;
    }
    std::vector<std::pair<int, Int>> mu;
    std::vector<std::pair<uint64_t, Int>> listed;
    for (const auto& [r, y] : found->multipliers) {
        const Origin& origin = origins[static_cast<size_t>(r)];
        if (origin.goal >= 0) {
            mu.emplace_back(origin.goal, y * origin.scale);
        } else if (static_cast<size_t>(r) >= 2 * n) {
            listed.emplace_back(origin.number, y * origin.scale);
            if (origin.other != UINT64_MAX) listed.emplace_back(origin.other, y * origin.scale);
        }
    }
    put_exact(mu, listed);
    return Answer::refuted;
}

}  // namespace plv
