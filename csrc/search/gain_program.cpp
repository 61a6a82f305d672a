// Whether a node's fixed units contradict each other: by a linear program in doubles, and where
// all units are known, exactly.
#include <algorithm>
#include <cmath>

#include "search/gain_search.hpp"
#include "search/refute.hpp"

namespace plv {

namespace {
constexpr size_t kFewInputs = 12;    // exact programs of so many take milliseconds
constexpr double kSure = 1e-9;       // floating point decides by more than this share
constexpr double kRounding = 1e-12;  // of the terms of a sum: its rounding is far smaller
}  // namespace

// Whether the node's point has its fixed units on their pieces.
bool GainSearch::is_met(const GainNode& at) {
    if (at.point.empty()) return false;
    one_.set(0, at.point.data());
    one_.evaluate();
    for (const FixedUnit& fixed : at.node.path) {
        const Layer& layer = net_.layers[fixed.layer];
        if (!layer.is_max()) {
            const double z = one_.value(fixed.layer, fixed.unit, 0);
            if (fixed.piece ? z < 0.0 : z > 0.0) return false;
            continue;
        }
        const double z = one_.value(fixed.layer, layer.entry(fixed.unit, fixed.piece), 0);
        for (int s = 0; s < layer.slots; ++s) {
            const int e = layer.entry(fixed.unit, s);
            if (e >= 0 && one_.value(fixed.layer, e, 0) > z) return false;
        }
    }
    return true;
}

// Adds a row >= 0 to the program; true if it contradicts what is there.
bool GainSearch::contradicts(ProgramRow&& row, const double* slope, double constant, double size) {
    double most = std::fabs(constant);
    for (size_t k = 0; k < dim_; ++k) most = std::fmax(most, std::fabs(slope[k]));
    int e = 0;
    if (most > 0.0 && std::isfinite(most)) std::frexp(most, &e);
    row.scale = std::ldexp(1.0, -e);
    double* a = row_.data();
    for (size_t k = 0; k < dim_; ++k) a[k] = row.scale * slope[k];
    a[dim_] = row.scale * constant;
    program_.push_back(std::move(row));
    if (simplex_.at_vertex(a, a[dim_]) < 0.0) {
        if (simplex_.maximize(a, a[dim_], 0.0) == Simplex::End::failed) {
            program_.pop_back();  // a row less is a weaker program
            return false;
        }
        const double doubt = std::max(kSure, kRounding * size * program_.back().scale);
        if (simplex_.value() < -doubt) return true;
        is_thin_ = is_thin_ || simplex_.value() <= doubt;
    }
    simplex_.add_row(a, a[dim_]);
    return false;
}

// The rows of a layer's fixed units, which relaxation bounds from above.
bool GainSearch::add_fixed(GainNode& at, int layer) {
    const CellView cell = at.node.cell(nullptr);
    std::vector<LinearForm> forms;
    std::vector<ProgramRow> rows;
    const Layer& from = net_.layers[layer];
    for (const FixedUnit& fixed : at.node.path) {
        if (fixed.layer != layer) continue;
        if (!from.is_max()) {
            LinearForm& form = forms.emplace_back();
            form.terms = {{fixed.unit, fixed.piece ? -1.0 : 1.0}};
            rows.emplace_back().fixed = fixed;
            continue;
        }
        for (int s = 0; s < from.slots; ++s) {
            const int e = from.entry(fixed.unit, s), own = from.entry(fixed.unit, fixed.piece);
            if (e < 0 || s == fixed.piece || e == own) continue;
            LinearForm& form = forms.emplace_back();
            form.terms = {{own, -1.0}, {e, 1.0}};
            ProgramRow& row = rows.emplace_back();
            row.fixed = fixed;
            row.slot = s;
        }
    }
    if (forms.empty()) return false;
    std::vector<LinearBound> below;
    crown_.below(layer, forms, cell, below);
    std::vector<double> sizes;
    for (size_t i = 0; i < forms.size(); ++i) {
        sizes.push_back(crown_.size(i));
        crown_.multipliers(i, cell, rows[i].multipliers);
    }
    for (size_t i = 0; i < forms.size(); ++i) {
        for (double& v : below[i].slope) v = -v;
        if (contradicts(std::move(rows[i]), below[i].slope.data(), -below[i].constant, sizes[i]))
            return true;
    }
    return false;
}

bool GainSearch::refute_by_program(GainNode& at, std::string& text) {
    const bool met = is_met(at);
    ++result_.programs;
    program_.clear();
    is_thin_ = false;
    simplex_.start(static_cast<int>(dim_), at.node.lo.data(), at.node.hi.data());
    bool refuted = false;
    for (size_t g = 0; g < problem_.goals().size() && !refuted; ++g) {
        const Goal& goal = problem_.goals()[g];
        std::vector<double> slope;
        double size = std::fabs(goal.constant);
        for (const double v : goal.slope) slope.push_back(-v), size += std::fabs(v);
        ProgramRow row;
        row.goal = static_cast<int>(g);
        refuted = contradicts(std::move(row), slope.data(), -goal.constant, size);
    }
    for (int l = 0; l < bound_net_.depth && !refuted; ++l) refuted = add_fixed(at, l);
    if (refuted) {
        put_dual_leaf(at.node.pieces, text);
        return true;
    }
    // Else units that share their walls would be split in all their combinations.
    if (is_thin_ && refute_exactly(at, text)) return true;
    if (met) return false;
    at.point.resize(dim_);
    simplex_.inner_point(at.point.data());
    for (size_t k = 0; k < dim_; ++k)
        at.point[k] = std::clamp(at.point[k], at.node.lo[k], at.node.hi[k]);
    points_.set(0, at.point.data());
    look_at(1);
    return false;
}

// Fixes open units one of whose sides contradicts the program: in the layers up to the first one
// that has an open unit, where rows are affine.
void GainSearch::fix_by_program(GainNode& at, std::string& text) {
    if (program_.empty()) return;
    const CellView cell = at.node.cell(nullptr);
    int layer = 0;
    std::vector<int> open;
    for (; layer < bound_net_.depth && open.empty(); ++layer) {
        if (net_.layers[layer].is_max()) {
            for (int i = 0; i < net_.layers[layer].units; ++i)
                if (jacobian_.is_open(bound_net_.unit(layer, i))) return;
            continue;
        }
        for (int i = 0; i < net_.layers[layer].units; ++i)
            if (jacobian_.is_open(bound_net_.unit(layer, i))) open.push_back(i);
    }
    if (open.empty()) return;
    --layer;
    std::vector<LinearForm> forms(open.size());
    for (size_t i = 0; i < open.size(); ++i) forms[i].terms = {{open[i], 1.0}};
    std::vector<LinearBound> rows;
    crown_.below(layer, forms, cell, rows);
    std::vector<double> sizes;
    for (size_t i = 0; i < open.size(); ++i) sizes.push_back(crown_.size(i));
    for (size_t i = 0; i < open.size(); ++i) {
        for (const double sign : {1.0, -1.0}) {
            double most = std::fabs(rows[i].constant), here = rows[i].constant;
            for (size_t k = 0; k < dim_; ++k) {
                most = std::max(most, std::fabs(rows[i].slope[k]));
                here += rows[i].slope[k] * at.point[k];
            }
            if (!(most > 0.0) || sign * here > 0.0) continue;
            double* a = row_.data();
            int e = 0;
            std::frexp(most, &e);
            ProgramRow row;
            row.scale = std::ldexp(1.0, -e);
            for (size_t k = 0; k < dim_; ++k) a[k] = sign * row.scale * rows[i].slope[k];
            a[dim_] = sign * row.scale * rows[i].constant;
            if (simplex_.at_vertex(a, a[dim_]) > 0.0 ||
                simplex_.maximize(a, a[dim_], 0.0) != Simplex::End::optimal ||
                !(simplex_.value() < -std::max(kSure, kRounding * sizes[i] * row.scale)))
                continue;
            // The side is empty: the unit is on the other one.
            const size_t unit = bound_net_.unit(layer, open[i]);
            const int piece = sign > 0.0 ? 0 : 1;
            row.fixed = {layer, open[i], 1 - piece};
            // What passes through windows; `rows` are of the unit itself, not of its negative.
            crown_.multipliers(i, cell, row.multipliers);
            if (sign > 0.0)
                for (Multiplier& m : row.multipliers) m.g = -m.g, m.h = -m.h;
            program_.push_back(std::move(row));
            put_unit_split(text, unit);
            const auto part = std::make_shared<ProofPart>();
            part->parent = std::move(at.node.part);
            part->place = at.node.place;
            part->head = std::move(text);
            part->children.resize(2);
            part->missing = 1;
            at.node.pieces[unit] = static_cast<int8_t>(1 - piece);
            put_dual_leaf(at.node.pieces, part->children[piece == 0 ? 0 : 1].emplace_back());
            program_.pop_back();
            text.clear();
            at.node.part = part;
            at.node.place = piece == 0 ? 1 : 0;
            at.node.pieces[unit] = static_cast<int8_t>(piece);
            // It does not follow from the rows of later layers alone: those assume it.
            at.node.path.push_back({layer, open[i], piece});
            const size_t r = bound_net_.row(layer, open[i]);
            double &lo = at.node.bounds->lo[r], &hi = at.node.bounds->hi[r];
            if (piece)
                lo = std::max(lo, 0.0);
            else
                hi = std::min(hi, 0.0);
            break;
        }
    }
    jacobian_.set_cell(at.node.cell(nullptr));
    crown_.set_lines(at.node.cell(nullptr));
}

// The multipliers of the program's last row and of those that contradict it, in a cell with these
// pieces. Units of two pieces that are fixed there may have been open when the rows were made.
void GainSearch::put_dual_leaf(const std::vector<int8_t>& pieces, std::string& text) {
    std::vector<int> used;
    std::vector<double> y;
    simplex_.multipliers(used, y);
    std::vector<double> weight(program_.size(), 0.0);
    weight.back() = program_.back().scale;
    for (size_t j = 0; j < used.size(); ++j)
        if (const int r = used[j] - 2 * static_cast<int>(dim_); r >= 0)
            weight[static_cast<size_t>(r)] += y[j] * program_[static_cast<size_t>(r)].scale;
    std::vector<std::pair<int, double>> goals;
    std::vector<Listed> listed;
    for (size_t r = 0; r < program_.size(); ++r) {
        const double w = weight[r];
        if (w <= 0.0) continue;
        const ProgramRow& row = program_[r];
        if (row.goal >= 0) {
            goals.emplace_back(row.goal, w);
            continue;
        }
        for (const Multiplier& m : row.multipliers) {
            if (m.slot < 0) continue;
            const int piece = pieces[bound_net_.unit(m.layer, m.unit)];
            const double slope =
                net_.layers[m.layer].is_max() ? 0.0 : net_.layers[m.layer].slope[m.unit];
            const double v = piece < 0 ? m.h : piece == 1 ? m.g - m.h : m.h - slope * m.g;
            listed.push_back({box_.number(net_, m.layer, m.unit, m.slot), w * v, piece < 0});
        }
        const FixedUnit& fixed = row.fixed;
        const int piece = row.slot >= 0 ? fixed.piece : 0;
        listed.push_back({box_.number(net_, fixed.layer, fixed.unit, piece), w, false});
        if (row.slot >= 0)
            listed.push_back({box_.number(net_, fixed.layer, fixed.unit, row.slot), w, false});
    }
    ++result_.leaves;
    put_leaf(text, goals, std::move(listed));
}

// Moves the node's point as far from the walls of its region as it can be, where no unit is open;
// distances are in shares of how much the walls' functions vary on the box.
void GainSearch::centre(GainNode& at) {
    const CellView cell = at.node.cell(nullptr);
    const auto n = static_cast<int>(dim_);
    std::vector<double> lo = at.node.lo, hi = at.node.hi, row(dim_ + 2);
    lo.push_back(0.0);
    hi.push_back(1.0);
    simplex_.start(n + 1, lo.data(), hi.data());
    const auto add = [&](const std::vector<double>& slope, double constant) {
        double size = std::fabs(constant);
        for (size_t k = 0; k < dim_; ++k) size = std::max(size, std::fabs(slope[k]));
        if (!(size > 0.0) || !std::isfinite(size)) return true;
        double spread = 0.0;
        for (size_t k = 0; k < dim_; ++k) {
            row[k] = slope[k] / size;
            spread += std::fabs(row[k]) * (hi[k] - lo[k]);
        }
        row[dim_] = -spread;
        row[dim_ + 1] = constant / size;
        if (simplex_.at_vertex(row.data(), row[dim_ + 1]) < 0.0 &&
            simplex_.maximize(row.data(), row[dim_ + 1], 0.0) != Simplex::End::positive)
            return false;
        simplex_.add_row(row.data(), row[dim_ + 1]);
        return true;
    };
    for (const Goal& goal : problem_.goals()) {
        std::vector<double> slope(goal.slope);
        for (double& v : slope) v = -v;
        if (!add(slope, -goal.constant)) return;
    }
    std::vector<LinearBound> below;
    for (const FixedUnit& fixed : at.node.path) {
        const Layer& from = net_.layers[fixed.layer];
        std::vector<LinearForm> forms;
        if (!from.is_max()) {
            forms.emplace_back().terms = {{fixed.unit, fixed.piece ? 1.0 : -1.0}};
        } else {
            const int own = from.entry(fixed.unit, fixed.piece);
            for (int s = 0; s < from.slots; ++s)
                if (const int e = from.entry(fixed.unit, s); e >= 0 && e != own)
                    forms.emplace_back().terms = {{own, 1.0}, {e, -1.0}};
        }
        if (forms.empty()) continue;
        crown_.below(fixed.layer, forms, cell, below);
        for (const LinearBound& one : below)
            if (!add(one.slope, one.constant)) return;
    }
    std::fill(row.begin(), row.end(), 0.0);
    row[dim_] = 1.0;
    if (simplex_.maximize(row.data(), 0.0, 2.0) == Simplex::End::failed) return;
    at.point.resize(dim_);
    for (size_t k = 0; k < dim_; ++k)
        at.point[k] = std::clamp(simplex_.coordinate(static_cast<int>(k)), lo[k], hi[k]);
}

// ------------------------------------------------------------------------------- exactly

std::vector<uint8_t> GainSearch::pattern_of(const GainNode& at) const {
    std::vector<uint8_t> pattern(static_cast<size_t>(net_.pattern_bytes()), 0);
    for (int l = 0; l < bound_net_.depth; ++l) {
        const Layer& layer = net_.layers[l];
        for (int i = 0; i < layer.units; ++i) {
            int piece = at.node.pieces[bound_net_.unit(l, i)];
            if (piece < 0 && !layer.is_max() && !layer.one_piece[i]) {
                const size_t row = bound_net_.row(l, i);
                piece = Crown::known(at.node.bounds->lo[row], at.node.bounds->hi[row]);
            }
            if (piece < 0 && layer.is_max()) {
                const int row = jacobian_.leader(bound_net_.unit(l, i));  // any if it is open
                for (int s = 0; s < layer.slots && piece < 0; ++s)
                    if (row < 0 ? layer.entry(i, s) >= 0 : layer.entry(i, s) == row) piece = s;
            }
            net_.set_piece(pattern.data(), l, i, std::max(piece, 0));
        }
    }
    return pattern;
}

// The sides of the box and the domain's constraints, as functions that are > 0 inside.
std::vector<ExactRow> GainSearch::domain_rows() const {
    std::vector<ExactRow> rows;
    for (size_t k = 0; k < dim_; ++k) {
        rows.push_back(side_row(dim_, k, *question_.domain.inputs->lo[box_.free[k]], true));
        rows.push_back(side_row(dim_, k, *question_.domain.inputs->hi[box_.free[k]], false));
    }
    for (const SpecConstraint& from : question_.domain.constraints) {
        ExactRow& row = rows.emplace_back();
        row.a.resize(dim_);
        for (size_t i = 0; i < from.inputs.size(); ++i)
            row.a[static_cast<size_t>(box_.inputs[from.inputs[i]].place)] =
                -(from.input_terms[i] * from.bound.den);
        row.c = from.bound.num;
    }
    return rows;
}

// Whether a pattern's Jacobian is not larger than the incumbent's.
bool GainSearch::is_known(const std::vector<uint8_t>& pattern) const {
    if (!result_.has_witness) return false;
    const std::vector<Int> gradients = objective_.exact_gradients(pattern.data());
    if (objective_.is_spectral()) return objective_.to_double(gradients) <= best_;
    return objective_.exact(gradients) <= *exact_;
}

// The Jacobian of the node is one matrix. Either its norm is no news, or the node has no interior,
// or it is the new incumbent. Sets `unit` instead where a unit is to be split to find out.
GainSearch::Answer GainSearch::decide(GainNode& at, std::string& text, int& unit) {
    const std::vector<uint8_t> pattern = pattern_of(at);
    const auto leaf = [&] {
        ++result_.leaves;
        put_norm_leaf(text);
        return Answer::leaf;
    };
    if (is_known(pattern)) return leaf();
    for (int u = 0; u < net_.unit_count; ++u)
        if (jacobian_.is_open(static_cast<size_t>(u))) {
            unit = u;
            return Answer::split;
        }
    // Its point shows an interior, unless there is next to none. (It may be larger than the
    // incumbent in the last digits only.)
    centre(at);
    if (!at.point.empty()) offer(at.point.data());
    if (is_known(pattern)) return leaf();
    const ExactCell cell = exact_cell(at.node.path, pattern);
    const std::optional<StrictPoint> found = solve(at, cell, true);
    if (!found->found) {
        put_walls_leaf(at, cell, found->multipliers, text);
        return Answer::leaf;
    }
    std::vector<Rational> x;
    for (const Int& v : found->x) x.push_back({v, found->den});
    std::optional<Witness> witness = problem_.violation_at(x);
    if (!witness) return Answer::unknown;
    best_at_.clear();
    take(pattern.data(), std::move(*witness));
    return leaf();
}

// Whether the units of the layers that no open unit lies before leave no interior.
bool GainSearch::refute_exactly(GainNode& at, std::string& text) {
    int last = 0;  // layer of which all rows are affine
    const auto is_known = [&](int layer) {
        for (int i = 0; i < net_.layers[layer].units; ++i)
            if (jacobian_.is_open(bound_net_.unit(layer, i))) return false;
        return true;
    };
    while (last + 1 < bound_net_.depth && is_known(last)) ++last;
    std::vector<FixedUnit> path = at.node.path;
    std::erase_if(path, [&](const FixedUnit& fixed) { return fixed.layer > last; });
    const ExactCell cell = exact_cell(path, pattern_of(at));
    const std::optional<StrictPoint> found = solve(at, cell, false);
    if (!found || found->found) return false;
    put_walls_leaf(at, cell, found->multipliers, text);
    return true;
}

// The rows that are > 0 inside the domain where units, whose rows are affine, are on their pieces.
GainSearch::ExactCell GainSearch::exact_cell(const std::vector<FixedUnit>& path,
                                             const std::vector<uint8_t>& pattern) const {
    ExactCell cell{domain_rows(), walls_of(problem_, path, pattern.data())};
    // A unit that is constant on the region is no wall of it, unless it is on its other side.
    std::erase_if(cell.walls, [](const Wall& wall) {
        return wall.row.is_constant() && wall.row.c.sign() >= 0;
    });
    for (Wall& wall : cell.walls) cell.rows.push_back(std::move(wall.row));
    return cell;
}

// A point inside, the node's if it is, or multipliers that show that there is none. Where it takes
// an exact program that is large, only if it is `needed`.
std::optional<StrictPoint> GainSearch::solve(const GainNode& at, const ExactCell& cell,
                                             bool needed) {
    ++result_.exact_programs;
    if (!at.point.empty()) {
        StrictPoint here;
        std::vector<Rational> x;
        for (size_t k = 0; k < dim_; ++k) {
            x.push_back(box_.value(static_cast<int>(k), at.point[k]));
            here.den = Int::lcm(here.den, x.back().den);
        }
        for (const Rational& v : x) here.x.push_back(v.num * here.den.divexact(v.den));
        here.found = std::all_of(cell.rows.begin(), cell.rows.end(), [&](const ExactRow& row) {
            Int v = row.c * here.den;
            for (size_t k = 0; k < dim_; ++k) v.add_mul(row.a[k], here.x[k]);
            return v.sign() > 0;
        });
        if (here.found) return here;
    }
    const std::vector<uint8_t> strict(cell.rows.size(), 1);
    std::optional<StrictPoint> found =
        refute_near(box_, at.node.lo, at.node.hi, cell.rows, strict, near_, stop_);
    if (found || (!needed && dim_ > kFewInputs)) return found;
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : cell.rows) rows.push_back(&row);
    found = strict_point(static_cast<int>(dim_), rows, {}, &stop_);
    if (!found) throw Stopped{};
    return found;
}

// A leaf whose sum is at most 0 on a cell without an interior.
void GainSearch::put_walls_leaf(const GainNode& at, const ExactCell& cell,
                                const std::vector<std::pair<int, Int>>& multipliers,
                                std::string& text) {
    const size_t sides = 2 * dim_, first_wall = cell.rows.size() - cell.walls.size();
    std::vector<std::pair<int, Int>> goals;
    std::vector<std::pair<uint64_t, Int>> listed;
    for (const auto& [r, y] : multipliers) {
        const auto from = static_cast<size_t>(r);
        if (from >= first_wall)
            cell.walls[from - first_wall].list(y, listed);
        else if (from >= sides)
            goals.emplace_back(static_cast<int>(from - sides),
                               y * question_.domain.constraints[from - sides].bound.den);
    }
    ++result_.leaves;
    const std::string after = fix_windows(at, text);
    put_exact_leaf(text, std::move(goals), std::move(listed));
    text += after;
}

// Splits all windows of which one slot is known to be the largest, down to the child with that
// slot; returns the leaves of the children behind it. What passes through a fixed window costs no
// bound, and a sum that is exactly 0 stays so; that of another one is the checker's, and rounded.
std::string GainSearch::fix_windows(const GainNode& at, std::string& text) {
    std::string after;
    const auto empty = [&](std::string& out, int count) {
        result_.leaves += count;
        for (; count > 0; --count) put_rule_leaf(out, -1);
    };
    for (int l = 0; l < bound_net_.depth; ++l) {
        const Layer& layer = net_.layers[l];
        if (!layer.is_max()) continue;
        for (int i = 0; i < layer.units; ++i) {
            const size_t u = bound_net_.unit(l, i);
            if (at.node.pieces[u] >= 0) continue;
            int before = 0, same = 0, behind = 0;
            for (int s = 0; s < layer.slots; ++s)
                if (const int e = layer.entry(i, s); e >= 0) {
                    same += e == jacobian_.leader(u);
                    ++(same > 0 ? behind : before);
                }
            // Twice the same slot would be two children that are alike.
            if (same != 1 || before + behind == 1) continue;
            put_unit_split(text, u);
            empty(text, before);
            std::string rest;
            empty(rest, behind - 1);
            after.insert(0, rest);
        }
    }
    return after;
}

}  // namespace plv
