// Nodes on which ascents crawl: what the lines of open units cost where the bound is least is less
// than about what the bound lacks, so that multipliers are what is missing. Programs find these at
// once. Where one stands at a point that is no violation, that unit is split whose line is most
// wrong there; where no line is, the node touches a violation from outside, and exact multipliers
// show that it does not hold one.
#include <algorithm>
#include <cmath>
#include <map>

#include "search/case.hpp"
#include "search/refute.hpp"
#include "search/walls.hpp"

namespace plv {

namespace {
constexpr double kCrawling = 2.0;  // of what a bound lacks
constexpr double kLittle = 1e-7;   // of the terms of a row: what a line costs there is rounding

// Exact gradients, of layers from the last one down: numerators over one denominator for each
// layer; none where nothing arrived. Those of a layer are of its activations until it is its turn.
struct Gradients {
    const Net& net;
    std::vector<std::vector<Int>> flow;
    std::vector<Int> den;

    Gradients(const Net& from, int depth)
        : net(from), flow(static_cast<size_t>(depth) + 1), den(flow.size(), Int(1)) {
        flow[depth].resize(static_cast<size_t>(net.exact_form(depth).rows));
    }

    // From the pre-activations of a layer to the activations that they read.
    void descend(int layer) {
        if (flow[layer].empty()) return;
        const ExactForm& form = net.exact_form(layer);
        const Int own = den[layer] * form.scale;
        for (const ExactBlock& block : form.blocks) {
            if (block.source == kInput) continue;
            std::vector<Int>& to = flow[block.source];
            Int& below = den[block.source];
            Int up = 1;
            if (to.empty()) {
                to.resize(static_cast<size_t>(net.layers[block.source].units));
                below = own;
            } else {
                const Int common = Int::lcm(below, own);
                scale_all(to, common.divexact(below));
                up = common.divexact(own);
                below = common;
            }
            for (int i = 0; i < form.rows; ++i) {
                if (flow[layer][i].is_zero()) continue;
                const Int weight = flow[layer][i] * up;
                for (size_t k = block.first(i); k < block.last(i); ++k)
                    block.add_term(to[block.column(i, k)], k, weight);
            }
        }
    }
};
}  // namespace

// Whether the last ascent is that far from what its lines allow.
bool CaseSearch::crawls(const Node& node, const std::vector<Ascent::Loss>& losses) const {
    if (ball_ != nullptr || dim_ > kMostOfPrograms) return false;
    double sum = 0.0;
    for (const Ascent::Loss& one : losses) sum += std::max(one.loss, 0.0);
    return sum < kCrawling * -node.score;
}

// None where this tells nothing.
std::optional<CaseSearch::Answer> CaseSearch::settle(Node& node, Outcome& out) {
    used_.resize(forms_.size());
    crown_.set_lines(node.cell(ball_));
    if (refute_by_program(node, out.text)) return Answer::refuted;
    if (lost_) return std::nullopt;
    if (try_point(point_.data())) return Answer::violated;
    Pick pick = most_wrong(node);
    if (pick.layer < 0 && settle_exactly(node, out.text, pick)) return Answer::refuted;
    if (pick.layer < 0) return std::nullopt;
    return split_wrong(std::move(node), pick, out);
}

// Whether bounds tell the piece, beyond last digits, in which the checker's may differ.
bool CaseSearch::is_decided(Node& node, int layer, int unit) const {
    const CellView cell = node.cell(ball_);
    if (!crown_.is_open(cell, layer, unit)) return true;
    const Layer& from = net_.layers[layer];
    const int lead = from.is_max() ? crown_.leading_slot(cell, layer, unit) : -1;
    if (lead < 0) return false;
    const double *lo = &cell.bounds.lo[box_.net->row(layer, 0)],
                 *hi = &cell.bounds.hi[box_.net->row(layer, 0)];
    const double least = lo[from.entry(unit, lead)];
    for (int s = 0; s < from.slots; ++s) {
        const int e = from.entry(unit, s);
        if (e < 0 || s == lead || (hi[e] == 0.0 && least >= 0.0)) continue;
        if (Crown::known(hi[e] - least, hi[e] - least) != 0) return false;
    }
    return true;
}

// Pieces that bounds show to be empty are leaves.
CaseSearch::Answer CaseSearch::split_wrong(Node&& node, const Pick& pick, Outcome& out) {
    const size_t flat = box_.net->unit(pick.layer, pick.unit);
    put_unit_split(out.text, flat);
    int place = 0;
    for (const auto& [piece, empty] : pieces_of(node, pick.layer, pick.unit)) {
        if (empty) {
            ++counts_.nodes;
            ++counts_.leaves;
            put_rule_leaf(out.leaves.emplace_back(place++, std::string()).second, -1);
            continue;
        }
        Node child = node;
        child.place = place++;
        child.pieces[flat] = static_cast<int8_t>(piece);
        child.path.push_back({pick.layer, pick.unit, piece});
        child.waits = std::max(node.waits - 1, 0);
        out.children.push_back(std::move(child));
    }
    return Answer::split;
}

// The open unit whose lines cost those rows most that the point of the program satisfies only
// because of them.
CaseSearch::Pick CaseSearch::most_wrong(Node& node) {
    const CellView cell = node.cell(ball_);
    at_.set(0, point_.data());
    at_.evaluate();
    std::map<std::pair<int, int>, double> wrong;
    std::vector<double> loss;
    for (const ProgramRow& row : rows_) {
        double value = row.bound.constant, lost = 0.0;
        for (int k = 0; k < dim_; ++k) value += row.bound.slope[k] * point_[k];
        loss.clear();
        for (const Multiplier& m : row.multipliers) {
            loss.push_back(std::max(crown_.loss(cell, m, at_), 0.0));
            lost += loss.back();
        }
        if (!(value + lost > kLittle * row.size)) continue;
        for (size_t i = 0; i < loss.size(); ++i)
            if (loss[i] > kLittle * row.size)
                wrong[{row.multipliers[i].layer, row.multipliers[i].unit}] += loss[i];
    }
    Pick pick;
    double most = 0.0;
    for (const auto& [unit, sum] : wrong)
        if (sum > most) most = sum, pick.layer = unit.first, pick.unit = unit.second;
    return pick;
}

// A leaf by exact multipliers of fixed units' rows and goals, for the pieces that units are on at
// the point of the program: a bound, too, where open units have gradients that are not negative.
// The pick is one that has.
bool CaseSearch::settle_exactly(Node& node, std::string& text, Pick& pick) {
    const std::vector<uint8_t> pattern = pattern_of(node, &at_);
    const ExactSystem system = exact_system(node, pattern.data());
    const auto found =
        refute_near(box_, node.lo, node.hi, system.rows, system.strict, simplex_, stop_);
    if (!found) {
        pick = other_piece(node, pattern.data());
        return false;
    }
    std::vector<std::pair<int, Int>> goals;
    std::vector<std::pair<uint64_t, Int>> listed;
    system.list(found->multipliers, goals, listed);
    if (!list_open(node, pattern.data(), goals, listed, pick)) return false;
    ++counts_.leaves;
    ++counts_.exact_programs;
    put_exact_leaf(text, std::move(goals), std::move(listed));
    return true;
}

// Where the simplex method stands, at a point where the pattern's affine function is a violation:
// the open unit that is farthest on another piece there.
CaseSearch::Pick CaseSearch::other_piece(Node& node, const uint8_t* pattern) {
    const CellView cell = node.cell(ball_);
    for (int k = 0; k < dim_; ++k)
        point_[k] = std::clamp(simplex_.coordinate(k), cell.lo[k], cell.hi[k]);
    return off_piece(node, pattern, false);
}

// Of the units that are open, or all that are not fixed, the one that is farthest on another piece
// at the point at hand.
CaseSearch::Pick CaseSearch::off_piece(Node& node, const uint8_t* pattern, bool decided) {
    at_.set(0, point_.data());
    at_.evaluate();
    Pick pick;
    double most = 0.0;
    for (int l = 0; l < depth_; ++l) {
        const Layer& layer = net_.layers[l];
        if (layer.is_max() && pick.layer >= 0) continue;
        for (int i = 0; i < layer.units; ++i) {
            const bool fixed =
                node.pieces[box_.net->unit(l, i)] >= 0 || (!layer.is_max() && layer.one_piece[i]);
            if (decided ? fixed : is_decided(node, l, i)) continue;
            const int piece = net_.piece(pattern, l, i);
            double off = 0.0;
            if (layer.is_max()) {
                const double own = at_.value(l, layer.entry(i, piece), 0);
                for (int s = 0; s < layer.slots; ++s)
                    if (const int e = layer.entry(i, s); e >= 0)
                        off = std::max(off, at_.value(l, e, 0) - own);
            } else {
                const double z = at_.value(l, i, 0);
                off = piece ? -z : z;
            }
            if (off > most) most = off, pick.layer = l, pick.unit = i;
        }
    }
    return pick;
}

// Lists open units with the gradients that they get (docs/proof_format.md, "Leaves") on their
// pieces in a pattern; false with the one whose gradient is least where one is negative.
bool CaseSearch::list_open(Node& node, const uint8_t* pattern,
                           std::vector<std::pair<int, Int>>& goals,
                           std::vector<std::pair<uint64_t, Int>>& listed, Pick& pick) {
    const CellView cell = node.cell(ball_);
    std::map<uint64_t, Int> given;
    for (const auto& [number, v] : listed) given[number] += v;
    Gradients gradients(net_, depth_);
    auto& [net, flow, den] = gradients;
    for (const auto& [g, m] : goals)
        if (static_cast<size_t>(g) < forms_.size())
            problem_.add_goal(static_cast<size_t>(g), m, flow[depth_]);
    struct Open {
        uint64_t number;
        int layer;
        Int v;
    };
    std::vector<Open> open;
    double least = 0.0;
    for (int l = depth_; l >= 0; --l) {
        if (l < depth_) {
            // What came from above are gradients of activations, by unit; fixed units pass on what
            // is listed besides.
            const Layer& layer = net_.layers[l];
            std::vector<Int> g = std::move(flow[l]);
            flow[l].clear();
            g.resize(static_cast<size_t>(layer.units));
            std::vector<Int> h(static_cast<size_t>(net_.exact_form(l).rows));
            const Int after = den[l] << layer.slope_shift;  // the slopes' denominator
            bool any = false;
            for (int i = 0; i < layer.units; ++i) {
                const int piece = net_.piece(pattern, l, i);
                const bool fixed = cell.pieces[box_.net->unit(l, i)] >= 0;
                const auto add_given = [&](int slot, int row, bool minus) {
                    const auto at = given.find(box_.number(net_, l, i, slot));
                    if (at == given.end()) return;
                    any = true;
                    if (minus)
                        h[row].sub_mul(at->second, after);
                    else
                        h[row].add_mul(at->second, after);
                };
                if (fixed && layer.is_max()) {
                    for (int s = 0; s < layer.slots; ++s)
                        if (layer.entry(i, s) >= 0) add_given(s, layer.entry(i, s), s == piece);
                } else if (fixed) {
                    add_given(0, i, piece == 1);
                }
                if (g[i].is_zero()) continue;
                any = true;
                const int row = layer.is_max() ? layer.entry(i, piece) : i;
                if (!fixed && !is_decided(node, l, i)) {
                    const double value = Int::ratio(g[i], den[l]);
                    const bool convex = layer.is_max() || layer.slope[i] <= 1.0;
                    if ((g[i].sign() < 0) == convex) {
                        // Slots of a window often are equal: 0 where they come from units that are
                        // inactive. Those are split before it.
                        const double loss = std::fabs(value) * crown_.gap(cell, l, i);
                        const bool later =
                            pick.layer >= 0 && layer.is_max() && !net_.layers[pick.layer].is_max();
                        const bool sooner =
                            pick.layer >= 0 && !layer.is_max() && net_.layers[pick.layer].is_max();
                        if (pick.layer < 0 || sooner || (!later && loss > least))
                            least = loss, pick.layer = l, pick.unit = i;
                    }
                }
                Int v = g[i];
                if (!layer.is_max()) apply_piece(layer, i, piece != 0, v);
                if (!fixed && crown_.is_open(cell, l, i) && !v.is_zero())
                    open.push_back({box_.number(net_, l, i, layer.is_max() ? piece : 0), l, v});
                h[row] += v;
            }
            if (!any) continue;
            den[l] = after;
            flow[l] = std::move(h);
        }
        gradients.descend(l);
    }
    if (pick.layer >= 0) return false;
    Int common = 1;
    for (const Open& one : open) common = Int::lcm(common, den[one.layer]);
    for (auto& [g, m] : goals) m = m * common;
    for (auto& [number, v] : listed) v = v * common;
    for (const Open& one : open)
        listed.emplace_back(one.number, one.v * common.divexact(den[one.layer]));
    return true;
}

}  // namespace plv
