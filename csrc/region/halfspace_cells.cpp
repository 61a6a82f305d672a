// Cells of half-spaces: which functions cross them, and why not.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/contract.hpp"
#include "base/rounding.hpp"
#include "region/halfspace_walker.hpp"

namespace plv {

namespace {
constexpr double kEnough = 1e-6;  // a value of a scaled row that is clearly positive
constexpr int kMostPivots = 200;  // after these a dictionary is made afresh
}  // namespace

// Row times sign and a power of two into scratch_, its largest entry near 1; returns the factor.
double HalfspaceWalker::scaled(const double* row, int sign) {
    double most = 0.0;
    for (size_t i = 0; i < width_; ++i) most = std::fmax(most, std::fabs(row[i]));
    int e = 0;
    if (most > 0.0 && std::isfinite(most)) std::frexp(most, &e);
    const double scale = std::ldexp(1.0, -e);
    for (size_t i = 0; i < width_; ++i) scratch_[i] = sign * scale * row[i];
    return scale;
}

// The sign of a function at a point of the box; 0 if its error hides it.
int HalfspaceWalker::value_sign(const double* row, double error, const double* s) const {
    double v = row[dim_];
    for (int i = 0; i < dim_; ++i) v += row[i] * s[i];
    return (v > error) - (v < -error);
}

// Whether a function is zero everywhere.
bool HalfspaceWalker::vanishes(const Candidate& u) const {
    double size = 0.0;
    for (size_t i = 0; i < width_; ++i) size += std::fabs(u.row[i]);
    if (size > u.error) return false;
    const ExactRow row = problem_.row(u.layer, u.entry, u.minus, pattern_.data());
    return row.c.is_zero() &&
           std::all_of(row.a.begin(), row.a.end(), [](const Int& v) { return v.is_zero(); });
}

void HalfspaceWalker::push_cell(int k) {
    if (static_cast<size_t>(k) + 1 == cells_.size()) cells_.push_back(std::make_unique<Cell>());
    const Cell& from = *cells_[k];
    Cell& to = *cells_[k + 1];
    to.simplex.copy_from(from.simplex);
    to.usable = from.usable;
    to.alive = from.alive;
    to.rows = from.rows;
    to.coefficients = from.coefficients;
    to.path = from.path;
}

// Takes away what came with cell k + 1.
void HalfspaceWalker::pop_cell(int k) {
    rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(cells_[k]->rows), rows_.end());
    coefficients_.shrink(cells_[k]->coefficients);
}

// Cell k keeps the side of u that `sign` names, on which it has an interior.
void HalfspaceWalker::cut(int k, const Candidate& u, int sign, uint64_t path, int slot) {
    Cell& cell = *cells_[k];
    Row row{u.layer, u.entry, u.minus, sign, coefficients_.size(), u.error, 1.0, path, slot, {}};
    double* to = coefficients_.grow(width_);
    for (size_t i = 0; i < width_; ++i) to[i] = sign * u.row[i];
    row.scale = scaled(u.row, sign);
    rows_.push_back(std::move(row));
    cell.rows = rows_.size();
    cell.coefficients = coefficients_.size();
    cell.alive &= sign > 0 ? u.positive : u.negative;
    Simplex& simplex = cell.simplex;
    if (!cell.usable || simplex.pivots() > kMostPivots) {
        restart(cell);
        return;
    }
    const double* a = scratch_.data();
    if (simplex.at_vertex(a, a[dim_]) < 0.0) {
        const Simplex::End end = simplex.maximize(a, a[dim_], 0.0);
        if (end == Simplex::End::failed || simplex.value() < 0.0) {
            restart(cell);
            return;
        }
    }
    simplex.add_row(a, a[dim_]);
}

// A vertex of the cell from nothing, row after row.
void HalfspaceWalker::restart(Cell& cell) {
    Simplex& simplex = cell.simplex;
    simplex.start(dim_, problem_.box_lo.data(), problem_.box_hi.data());
    cell.usable = false;
    for (size_t r = 0; r < cell.rows; ++r) {
        const Row& row = rows_[r];
        for (size_t i = 0; i < width_; ++i) scratch_[i] = row.scale * coefficients_[row.at + i];
        const double* a = scratch_.data();
        if (simplex.at_vertex(a, a[dim_]) < 0.0) {
            const Simplex::End end = simplex.maximize(a, a[dim_], 0.0);
            if (end == Simplex::End::failed || simplex.value() < 0.0) return;
        }
        simplex.add_row(a, a[dim_]);
    }
    cell.usable = true;
}

// ------------------------------------------------------------------------------- points

void HalfspaceWalker::locate(Candidate& u, uint64_t points) const {
    u.seen |= points;
    for (; points; points &= points - 1) {
        const int slot = std::countr_zero(points);
        const int sign = value_sign(u.row, u.error, points_[slot].data());
        if (sign > 0) u.positive |= uint64_t{1} << slot;
        if (sign < 0) u.negative |= uint64_t{1} << slot;
    }
}

// Whether a point lies strictly inside the cell, for certain.
bool HalfspaceWalker::verify_point(int k, const double* s) const {
    for (int i = 0; i < dim_; ++i)
        if (!(s[i] > problem_.in_lo[i] && s[i] < problem_.in_hi[i] &&
              std::fabs(s[i]) <= problem_.reach))
            return false;
    for (size_t r = 0; r < cells_[k]->rows; ++r)
        if (value_sign(&coefficients_[rows_[r].at], rows_[r].error, s) <= 0) return false;
    return true;
}

void HalfspaceWalker::add_point(int k, const double* s) {
    uint64_t taken = 0;
    for (int i = 0; i <= k; ++i) taken |= cells_[i]->alive;
    if (taken == ~uint64_t{0}) taken = cells_[k]->alive;
    if (taken == ~uint64_t{0}) return;  // there are plenty
    const int slot = std::countr_one(taken);
    for (int i = 0; i < k; ++i) cells_[i]->alive &= ~(uint64_t{1} << slot);
    cells_[k]->alive |= uint64_t{1} << slot;
    points_[slot].assign(s, s + dim_);
}

// ------------------------------------------------------------------------------- questions

// On which sides of a function that is not zero the cell has interior points. Where it is one
// side, certificate_ says why the other has none.
HalfspaceWalker::Side HalfspaceWalker::probe(int k, Candidate& u) {
    const Cell& cell = *cells_[k];
    locate(u, cell.alive & ~u.seen);
    for (int sign : {1, -1}) {
        if ((sign > 0 ? u.positive : u.negative) & cell.alive) continue;
        if (!find_point(k, u, sign)) return sign > 0 ? Side::negative : Side::positive;
        locate(u, cell.alive & ~u.seen);
    }
    return Side::both;
}

// Whether the cell has an interior point on one side of u. If it can be verified as doubles, it
// joins the cell's points.
bool HalfspaceWalker::find_point(int k, const Candidate& u, int sign) {
    Cell& cell = *cells_[k];
    if (cell.usable) {
        ++stats_.undecided[u.layer];
        const double scale = scaled(u.row, sign);
        const double* a = scratch_.data();
        Simplex& simplex = cell.simplex;
        const Simplex::End end = simplex.maximize(a, a[dim_], kEnough);
        if (end == Simplex::End::optimal && simplex.value() < 1e-9) {
            if (certify(u, sign, scale, simplex)) return false;
        }
        if (end != Simplex::End::failed && simplex.value() > 0.0) {
            simplex.add_row(a, a[dim_]);
            simplex.inner_point(point_.data());
            simplex.drop_row();
            if (value_sign(u.row, u.error, point_.data()) == sign &&
                verify_point(k, point_.data())) {
                add_point(k, point_.data());
                return true;
            }
        }
    }
    return decide_exactly(k, u, sign);
}

// Verifies that sign * u + sum of y row < 0 on the domain, with the simplex method's multipliers:
// then no interior point of the cell lies on that side of u.
bool HalfspaceWalker::certify(const Candidate& u, int sign, double scale, const Simplex& simplex) {
    // Where a coordinate is unbounded its coefficient has to be zero, exactly.
    const std::vector<double>& lo = sink_.prove ? problem_.plain_lo : problem_.lo;
    const std::vector<double>& hi = sink_.prove ? problem_.plain_hi : problem_.hi;
    for (int i = 0; i < dim_; ++i)
        if (!std::isfinite(lo[i]) || !std::isfinite(hi[i])) return false;
    simplex.multipliers(used_rows_, used_y_);
    certificate_.y0 = 1;
    certificate_.terms.clear();
    double error = u.error, terms = 1.0;
    for (size_t i = 0; i < width_; ++i) {
        sum_[i] = sign * u.row[i];
        size_[i] = std::fabs(u.row[i]);
    }
    for (size_t j = 0; j < used_rows_.size(); ++j) {
        const int r = used_rows_[j] - 2 * dim_;
        if (r < 0) continue;  // sides of the box: the sum is bounded over it
        const Row& row = rows_[static_cast<size_t>(r)];
        // Few bits: they are written down.
        const double y = static_cast<float>(used_y_[j] * (row.scale / scale));
        if (!(y > 0.0) || !std::isfinite(y)) continue;
        const double* from = &coefficients_[row.at];
        for (size_t i = 0; i < width_; ++i) {
            sum_[i] += y * from[i];
            size_[i] += std::fabs(y * from[i]);
        }
        error += y * row.error;
        terms += 1.0;
        int e = 0;
        const Int m = Int::from_double_scaled(y, e);
        certificate_.terms.push_back(
            {row.path, static_cast<size_t>(r) >= window_rows_ ? row.slot : -1, m, e});
    }
    double bound = sum_[dim_], size = size_[dim_];
    for (int i = 0; i < dim_; ++i) {
        const double end = sum_[i] > 0.0 ? hi[i] : lo[i];
        bound += sum_[i] * end;
        size += size_[i] * problem_.reach;
    }
    error += (2 * terms + dim_ + 4) * kRound * size;
    if (!(bound + error * kUp < 0.0)) return false;
    std::sort(certificate_.terms.begin(), certificate_.terms.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    return true;
}

// ------------------------------------------------------------------------------- exactly

const ExactRow& HalfspaceWalker::exact_row(size_t at) {
    Row& row = rows_[at];
    if (row.layer < 0) return problem_.constraints[row.entry];
    if (!row.exact) {
        row.exact = std::make_unique<ExactRow>(
            problem_.row(row.layer, row.entry, row.minus, pattern_.data()));
        if (row.sign < 0) {
            row.exact->c.negate();
            for (Int& v : row.exact->a) v.negate();
        }
    }
    return *row.exact;
}

// A point of the open cell, with `extra` positive as well, or multipliers: of the constraints, the
// cell's rows of units in their order, and the extra one.
StrictPoint HalfspaceWalker::solve_exactly(int k, const ExactRow* extra) {
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : problem_.constraints) rows.push_back(&row);
    std::vector<const ExactRow*> with_variables;
    const Cell& cell = *cells_[k];
    std::vector<int> number(cell.rows);
    for (size_t r = 0; r < cell.rows; ++r) {
        number[r] = rows_[r].layer < 0 ? rows_[r].entry : static_cast<int>(rows.size());
        if (rows_[r].layer >= 0) rows.push_back(&exact_row(r));
    }
    std::vector<int> hint;
    if (cell.usable)
        for (int r : cell.simplex.tight())
            if (r >= 2 * dim_ && static_cast<size_t>(r - 2 * dim_) < cell.rows)
                hint.push_back(number[static_cast<size_t>(r - 2 * dim_)]);
    if (extra) {
        hint.push_back(static_cast<int>(rows.size()));
        rows.push_back(extra);
    }
    // Constraints without variables hold, and say nothing.
    std::vector<int> at;
    std::vector<int> back(rows.size(), -1);
    for (size_t r = 0; r < rows.size(); ++r) {
        if (r < problem_.constraints.size() && problem_.constraints[r].is_constant()) continue;
        back[r] = static_cast<int>(at.size());
        at.push_back(static_cast<int>(r));
        with_variables.push_back(rows[r]);
    }
    for (int& h : hint) h = back[static_cast<size_t>(h)];
    std::optional<StrictPoint> found = strict_point(dim_, with_variables, hint, &stop_);
    if (!found) throw Stopped{};
    for (auto& term : found->multipliers) term.first = at[static_cast<size_t>(term.first)];
    return std::move(*found);
}

bool HalfspaceWalker::decide_exactly(int k, const Candidate& u, int sign) {
    ++stats_.exact_signs[u.layer];
    ++stats_.exact_passes;
    ExactRow row = problem_.row(u.layer, u.entry, u.minus, pattern_.data());
    if (sign < 0) {
        row.c.negate();
        for (Int& v : row.a) v.negate();
    }
    const StrictPoint found = solve_exactly(k, &row);
    if (found.found) {
        problem_.to_local(found, point_.data());
        if (value_sign(u.row, u.error, point_.data()) == sign && verify_point(k, point_.data()))
            add_point(k, point_.data());
        return true;
    }
    // Rows are the functions times the scales of their layers.
    certificate_ = {};
    certificate_.y0 = 0;
    std::vector<size_t> walls;
    for (size_t r = 0; r < cells_[k]->rows; ++r)
        if (rows_[r].layer >= 0) walls.push_back(r);
    const auto first = static_cast<int>(problem_.constraints.size());
    for (const auto& [at, y] : found.multipliers) {
        const auto wall = static_cast<size_t>(at - first);
        if (at < first) {
            certificate_.terms.push_back({static_cast<uint64_t>(at), -1, y, 0});
        } else if (wall < walls.size()) {
            const size_t r = walls[wall];
            certificate_.terms.push_back({rows_[r].path, r >= window_rows_ ? rows_[r].slot : -1,
                                          y * problem_.scales->total[rows_[r].layer], 0});
        } else {
            certificate_.y0 = y * problem_.scales->total[u.layer];
        }
    }
    PLV_CHECK(certificate_.y0.sign() > 0);
    return false;
}

}  // namespace plv
