#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "check/gain.hpp"

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Adds c / den times a form to coefficients by points.
void add(std::map<uint32_t, Sum>& to, const GainForm& form, const Int& c, const Scale& den) {
    for (size_t k = 0; k < form.at.size(); ++k) {
        const Scale both{form.den.shift + den.shift, form.den.odd * den.odd};
        to[form.at[k]].add(form.num[k] * c, both);
    }
}

GainForm collect(const std::map<uint32_t, Sum>& sums) {
    GainForm out;
    for (const auto& [at, sum] : sums)
        if (!sum.num.is_zero()) out.den = lcm(out.den, sum.den);
    for (const auto& [at, sum] : sums) {
        if (sum.num.is_zero()) continue;
        Int num = sum.num;
        quotient(out.den, sum.den).apply(num);
        out.at.push_back(at);
        out.num.push_back(std::move(num));
    }
    return out;
}

}  // namespace

GainGraph::GainGraph(const DualNet& from) : net(from), points(from.net.input_size + from.units) {
    std::vector<uint32_t> known(net.entries(), kNothing);
    for (const uint32_t e : net.entry_of) {
        if (known[e] == kNothing) {
            known[e] = static_cast<uint32_t>(forms.size());
            forms.push_back(expand(e));
            finish(forms.back());
        }
        form_of.push_back(known[e]);
    }
    // Levels, from the last node of units to the first.
    level.assign(net.nodes.size(), 0);
    std::vector<uint32_t> uses(points, 0);
    for (size_t at = net.nodes.size(); at-- > 0;) {
        const DualNode& node = net.nodes[at];
        if (net.net.nodes[at].is_linear()) continue;
        for (size_t s = 0; s < node.slot_entry.size(); ++s)
            for (const uint32_t p : forms[form_of[node.first_input + s]].at) {
                ++uses[p];
                uint32_t& to = p < inputs() ? input_level : level[net.node_of[p - inputs()]];
                to = std::max(to, level[at] + 1);
            }
    }
    double most = 0;
    for (const uint32_t n : uses) most = std::max(most, static_cast<double>(n));
    for (const GainForm& form : forms) most = std::max(most, static_cast<double>(form.at.size()));
    // An output reads every point at most once.
    terms = most + points + 16.0;
}

// The form of an entry of a tensor.
GainForm GainGraph::expand(uint32_t entry) const {
    GainForm out;
    const uint32_t tensor = net.tensor_of(entry);
    const auto point = [&](uint32_t e, uint32_t t) {
        return t == 0 ? e : inputs() + net.nodes[t - 1].first_unit + (e - net.base[t]);
    };
    if (tensor == 0 || !net.net.nodes[tensor - 1].is_linear()) {
        out.at.push_back(point(entry, tensor));
        out.num.push_back(1);
        return out;
    }
    const Node& node = net.net.nodes[tensor - 1];
    const DualNode& extra = net.nodes[tensor - 1];
    const uint32_t i = entry - net.base[tensor];
    const Scale& den = node.row_den[node.row_of(i)];
    std::map<uint32_t, Sum> sums;
    node.each_term(i, [&](uint32_t j, size_t at) {
        if (node.entries.is_zero(at)) return;
        const uint32_t e = extra.entry(j), t = net.tensor_of(e);
        if (t == 0 || !net.net.nodes[t - 1].is_linear())
            sums[point(e, t)].add(node.entries.at(at), den);
        else
            add(sums, expand(e), node.entries.at(at), den);
    });
    return collect(sums);
}

void GainGraph::finish(GainForm& form) const {
    for (const Int& num : form.num) {
        const double w = Int::ratio_scaled(num, form.den.odd, -static_cast<long>(form.den.shift));
        form.weight.push_back(w);
        const bool plain = std::abs(w) < 1e100 && std::abs(w) > 1e-100;
        form.size += plain ? std::abs(w) : kInf;
    }
    form.size *= 1 + 0x1p-40;
}

GainForm GainGraph::output_form(const std::vector<Int>& row, const Int& den) const {
    const auto last = static_cast<uint32_t>(net.nodes.size());
    std::map<uint32_t, Sum> sums;
    for (size_t j = 0; j < row.size(); ++j)
        if (!row[j].is_zero())
            add(sums, expand(net.base[last] + static_cast<uint32_t>(j)), row[j], scale_of(den));
    GainForm out = collect(sums);
    finish(out);
    return out;
}

// ------------------------------------------------------------------------------------------ cells

GainSlopes::GainSlopes(const GainGraph& graph, const Cell& cell) {
    const DualNet& net = graph.net;
    units.resize(net.units);
    for (uint32_t k = 0; k < net.nodes.size(); ++k) {
        const Node& node = net.net.nodes[k];
        const DualNode& extra = net.nodes[k];
        if (node.is_linear()) continue;
        for (uint32_t i = 0; i < node.size; ++i) {
            const uint32_t u = extra.first_unit + i;
            Unit& unit = units[u];
            unit.first = static_cast<uint32_t>(forms.size());
            if (node.kind == Kind::units) {
                const uint32_t at = extra.first_input + i;
                const int state = state_of(cell.pieces[u], cell.lo[at], cell.hi[at]);
                // A slope that doubles do not hold lies between two that they do.
                const double s = extra.slope[i];
                const double off = extra.strange[i] != 0 && std::abs(s) < 1 ? 1e-100 : 0;
                unit.open = state < 0;
                unit.is_active = state == 1;
                unit.low = state == 1 ? 1.0 : state == 0 ? s - off : std::min(s - off, 1.0);
                unit.high = state == 1 ? 1.0 : state == 0 ? s + off : std::max(s + off, 1.0);
                forms.push_back(graph.form_of[at]);
            } else {
                const uint32_t from = extra.first_input + extra.slot_start[i];
                const uint32_t to = extra.first_input + extra.slot_start[i + 1];
                if (cell.pieces[u] >= 0) {
                    forms.push_back(graph.form_of[from + static_cast<uint32_t>(cell.pieces[u])]);
                } else {
                    const double least =
                        *std::max_element(&cell.lo[from], &cell.lo[from] + (to - from));
                    for (uint32_t s = from; s < to; ++s)
                        if (cell.hi[s] >= least) forms.push_back(graph.form_of[s]);
                    std::sort(forms.begin() + unit.first, forms.end());
                    forms.erase(std::unique(forms.begin() + unit.first, forms.end()), forms.end());
                }
            }
            unit.count = static_cast<uint32_t>(forms.size()) - unit.first;
            if (node.kind == Kind::max) unit.open = unit.count > 1;
        }
    }
}

// ---------------------------------------------------------------------------------------- exactly

namespace {

struct ExactInterval {
    Sum lo, hi;
};

bool above(const Sum& a, const Sum& b) {
    Sum difference = a;
    difference.add(-b.num, b.den);
    return difference.num.sign() > 0;
}

Sum of_double(double x) {
    Sum out;
    out.add_double(Int(1), x, Scale{});
    return out;
}

Sum times(const Sum& a, const Int& num, const Scale& den) {
    return {a.num * num, {a.den.shift + den.shift, a.den.odd * den.odd}};
}

Sum magnitude(const ExactInterval& range) {
    Sum low = range.lo;
    low.negate();
    return above(low, range.hi) ? low : range.hi;
}

// Exact intervals of the gradients of a row in the inputs.
std::vector<ExactInterval> exact_ranges(const GainGraph& graph, const GainForm& row,
                                        const GainSlopes& slopes, const GainRanges& known) {
    const DualNet& net = graph.net;
    std::vector<ExactInterval> at(graph.points);
    const auto spread = [&](const GainForm& form, const ExactInterval& range) {
        for (size_t k = 0; k < form.at.size(); ++k) {
            const bool rises = form.num[k].sign() > 0;
            ExactInterval& to = at[form.at[k]];
            to.lo.add(times(rises ? range.lo : range.hi, form.num[k], form.den));
            to.hi.add(times(rises ? range.hi : range.lo, form.num[k], form.den));
        }
    };
    const auto settle = [&](uint32_t p) {
        if (std::isfinite(known.lo[p]) && above(of_double(known.lo[p]), at[p].lo))
            at[p].lo = of_double(known.lo[p]);
        if (std::isfinite(known.hi[p]) && above(at[p].hi, of_double(known.hi[p])))
            at[p].hi = of_double(known.hi[p]);
    };
    Sum one;
    one.add(Int(1), Scale{});
    spread(row, {one, one});
    for (uint32_t u = net.units; u-- > 0;) {
        const uint32_t p = graph.inputs() + u;
        settle(p);
        const GainSlopes::Unit& unit = slopes.units[u];
        const uint32_t k = net.node_of[u];
        const Node& node = net.net.nodes[k];
        const ExactInterval own = at[p];
        if (node.kind == Kind::max) {
            ExactInterval range = own;
            if (unit.open) {
                if (range.lo.num.sign() > 0) range.lo = {};
                if (range.hi.num.sign() < 0) range.hi = {};
            }
            for (uint32_t f = 0; f < unit.count; ++f)
                spread(graph.forms[slopes.forms[unit.first + f]], range);
            continue;
        }
        const uint32_t i = u - net.nodes[k].first_unit;
        const Int slope = node.slope_num.at(i);
        const Scale den{node.slope_shift[i], Int(1)};
        ExactInterval range = own;
        if (!unit.is_active) {
            const bool rises = slope.sign() > 0;
            ExactInterval scaled{times(rises ? own.lo : own.hi, slope, den),
                                 times(rises ? own.hi : own.lo, slope, den)};
            if (!unit.open) {
                range = scaled;
            } else {
                if (above(range.lo, scaled.lo)) range.lo = scaled.lo;
                if (above(scaled.hi, range.hi)) range.hi = scaled.hi;
            }
        }
        if (!range.lo.num.is_zero() || !range.hi.num.is_zero())
            spread(graph.forms[slopes.forms[unit.first]], range);
    }
    at.resize(graph.inputs());
    for (uint32_t j = 0; j < graph.inputs(); ++j) settle(j);
    return at;
}

}  // namespace

bool is_met_exactly(const GainGraph& graph, const GainGoal& goal, const Cell& cell,
                    const std::vector<GainRanges>& known) {
    using Norm = GainGoal::Norm;
    const GainSlopes slopes(graph, cell);
    Sum bound;
    bound.add(goal.num, scale_of(goal.den));
    std::vector<Sum> columns(graph.inputs());
    Sum total;
    for (size_t r = 0; r < goal.rows.size(); ++r) {
        const std::vector<ExactInterval> ranges =
            exact_ranges(graph, goal.rows[r], slopes, known[r]);
        for (uint32_t j = 0; j < graph.inputs(); ++j) {
            const Sum most = magnitude(ranges[j]);
            columns[j].add(most);
            // In l2 the sum of all squares is at least the square of the norm.
            total.add(goal.norm == Norm::l2 ? times(most, most.num, most.den) : most);
        }
    }
    if (goal.norm != Norm::l1) return !above(total, bound);
    return std::none_of(columns.begin(), columns.end(),
                        [&](const Sum& sum) { return above(sum, bound); });
}

bool is_thin(const GainGraph& graph, const Cell& cell, const std::vector<Multiplier>& given) {
    const DualNet& net = graph.net;
    const GainSlopes slopes(graph, cell);
    // Whether a combination of forms is not constant on the cell, as far as that can be seen.
    const auto varies = [&](std::map<uint32_t, Sum> sums) {
        while (!sums.empty() && sums.rbegin()->first >= graph.inputs()) {
            const auto last = std::prev(sums.end());
            const uint32_t u = last->first - graph.inputs();
            const Sum g = last->second;
            sums.erase(last);
            if (g.num.is_zero()) continue;
            const GainSlopes::Unit& unit = slopes.units[u];
            if (unit.open) return false;
            const Node& node = net.net.nodes[net.node_of[u]];
            Sum factor = g;
            if (node.kind == Kind::units && !unit.is_active) {
                const uint32_t i = u - net.nodes[net.node_of[u]].first_unit;
                factor = times(g, node.slope_num.at(i), {node.slope_shift[i], Int(1)});
            }
            add(sums, graph.forms[slopes.forms[unit.first]], factor.num, factor.den);
        }
        return std::any_of(sums.begin(), sums.end(),
                           [](const auto& one) { return !one.second.num.is_zero(); });
    };
    std::vector<Int> value(net.inputs);
    for (const Multiplier& m : given) value[m.index] = m.value;
    for (uint32_t u = 0; u < net.units; ++u) {
        if (cell.pieces[u] < 0 || net.own_piece[u] >= 0) continue;
        const uint32_t first = net.input_of(u);
        std::map<uint32_t, Sum> sums;
        if (!net.is_window(u)) {
            if (value[first].is_zero()) continue;
            add(sums, graph.forms[graph.form_of[first]], Int(1), Scale{});
            if (varies(std::move(sums))) return true;
            continue;
        }
        // sum v_j (z_p - z_j) with v_j >= 0 is 0 only where z_j = z_p for all v_j > 0.
        const uint32_t count = net.pieces(u), p = static_cast<uint32_t>(cell.pieces[u]);
        Int rest = value[first + p];
        bool fits = true;
        for (uint32_t s = 0; s < count; ++s) {
            if (s == p) continue;
            rest -= value[first + s];
            fits = fits && value[first + s].sign() >= 0;
        }
        if (!fits || !rest.is_zero()) continue;
        for (uint32_t s = 0; s < count; ++s) {
            if (s == p || value[first + s].is_zero()) continue;
            sums.clear();
            add(sums, graph.forms[graph.form_of[first + p]], Int(1), Scale{});
            add(sums, graph.forms[graph.form_of[first + s]], Int(-1), Scale{});
            if (varies(std::move(sums))) return true;
        }
    }
    return false;
}

}  // namespace plv::check
