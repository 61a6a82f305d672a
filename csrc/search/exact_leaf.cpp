// The end of a branch: the network is affine on the node, and exact arithmetic decides.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "search/case.hpp"

namespace plv {

namespace {

constexpr double kNone = 1e-9;        // a largest value that is rather not positive
constexpr size_t kBits = 256;         // of multipliers
constexpr int kMostRefinements = 12;  // each gives some forty bits

// Solves a square system in doubles, again and again.
class Factors {
public:
    explicit Factors(std::vector<double> matrix, size_t n) : n_(n), m_(std::move(matrix)) {
        for (size_t c = 0; c < n_; ++c) {
            size_t at = c;
            for (size_t r = c + 1; r < n_; ++r)
                if (std::fabs(m_[r * n_ + c]) > std::fabs(m_[at * n_ + c])) at = r;
            swaps_.push_back(at);
            for (size_t k = 0; at != c && k < n_; ++k) std::swap(m_[c * n_ + k], m_[at * n_ + k]);
            for (size_t r = c + 1; r < n_; ++r) {
                const double factor = m_[r * n_ + c] /= m_[c * n_ + c];
                for (size_t k = c + 1; k < n_; ++k) m_[r * n_ + k] -= factor * m_[c * n_ + k];
            }
        }
    }
    void solve(std::vector<double>& b) const {
        for (size_t c = 0; c < n_; ++c) {
            std::swap(b[c], b[swaps_[c]]);
            for (size_t r = c + 1; r < n_; ++r) b[r] -= m_[r * n_ + c] * b[c];
        }
        for (size_t c = n_; c-- > 0;) {
            for (size_t k = c + 1; k < n_; ++k) b[c] -= m_[c * n_ + k] * b[k];
            b[c] /= m_[c * n_ + c];
        }
    }

private:
    size_t n_;
    std::vector<double> m_;
    std::vector<size_t> swaps_;
};

// A row as doubles over local coordinates, a power of two taken out.
struct FloatRow {
    std::vector<double> a;  // and the constant last
    long exponent = 0;
};

FloatRow to_doubles(const ExactRow& row, const LocalBox& box) {
    FloatRow out;
    const size_t n = row.a.size();
    // The constant at the middle of the local coordinates, over 2^shift.
    size_t shift = 0;
    std::vector<std::pair<Int, int>> centers(n);
    for (size_t k = 0; k < n; ++k) {
        auto& [m, e] = centers[k];
        m = Int::from_double_scaled(box.inputs[box.free[k]].center, e);
        if (!m.is_zero() && e < 0) shift = std::max(shift, static_cast<size_t>(-e));
    }
    Int constant = row.c << shift;
    for (size_t k = 0; k < n; ++k) {
        const auto& [m, e] = centers[k];
        if (!m.is_zero() && !row.a[k].is_zero())
            constant.add_mul(row.a[k], m << static_cast<size_t>(e + static_cast<long>(shift)));
    }
    long most = static_cast<long>(constant.bit_length()) - static_cast<long>(shift);
    for (size_t k = 0; k < n; ++k)
        if (!row.a[k].is_zero())
            most = std::max(
                most, static_cast<long>(row.a[k].bit_length()) + box.inputs[box.free[k]].exponent);
    out.exponent = most;
    for (size_t k = 0; k < n; ++k)
        out.a.push_back(Int::ratio_scaled(row.a[k], 1, box.inputs[box.free[k]].exponent - most));
    out.a.push_back(Int::ratio_scaled(constant, 1, -static_cast<long>(shift) - most));
    return out;
}

}  // namespace

// No unit is open: the network is affine on the node, and exact arithmetic decides.
CaseSearch::Answer CaseSearch::solve_exactly(const Node& node, std::string& text) {
    ++counts_.exact_programs;
    std::vector<uint8_t> pattern(static_cast<size_t>(net_.pattern_bytes()), 0);
    for (int l = 0; l < depth_; ++l)
        for (int i = 0; i < net_.layers[l].units; ++i) {
            int piece = node.pieces[box_.net->unit(l, i)];
            const size_t row = box_.net->row(l, i);
            if (piece < 0 && !net_.layers[l].is_max() && !net_.layers[l].one_piece[i])
                piece = Crown::known(node.bounds->lo[row], node.bounds->hi[row]);
            net_.set_piece(pattern.data(), l, i, std::max(piece, 0));
        }
    const auto n = static_cast<size_t>(dim_);
    std::vector<ExactRow> all;
    for (int k = 0; k < dim_; ++k)
        for (const bool low : {true, false}) {
            const bool cut = low ? node.cut_lo[k] : node.cut_hi[k];
            const uint32_t input = box_.free[k];
            const Rational end = cut   ? box_.value(k, low ? node.lo[k] : node.hi[k])
                                 : low ? *problem_.spec().lo[input]
                                       : *problem_.spec().hi[input];
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
    for (const FixedUnit& fixed : node.path) {
        const Layer& layer = net_.layers[fixed.layer];
        for (int s = 0; s < std::max(layer.slots, 1); ++s) {
            Origin origin;
            origin.scale = box_.scales->total[fixed.layer];
            int entry = fixed.unit, minus = -1;
            if (layer.is_max()) {
                entry = layer.entry(fixed.unit, fixed.piece);
                minus = layer.entry(fixed.unit, s);
                if (minus < 0 || s == fixed.piece || minus == entry) continue;
                origin.number = box_.number(net_, fixed.layer, fixed.unit, s);
                origin.other = box_.number(net_, fixed.layer, fixed.unit, fixed.piece);
            } else {
                origin.number = box_.number(net_, fixed.layer, fixed.unit, 0);
            }
            ExactRow row = problem_.unit_row(fixed.layer, entry, minus, pattern.data());
            if (!layer.is_max() && fixed.piece == 0) {
                row.c.negate();
                for (Int& v : row.a) v.negate();
            }
            all.push_back(std::move(row));
            origins.push_back(std::move(origin));
        }
    }
    std::vector<uint8_t> strict(all.size(), 0);
    for (size_t g = 0; g < forms_.size(); ++g) {
        Origin origin;
        origin.goal = static_cast<int>(g);
        all.push_back(problem_.goal_row(g, pattern.data(), origin.scale));
        origins.push_back(std::move(origin));
        strict.push_back(problem_.goals()[g].strict);
    }
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : all) rows.push_back(&row);
    std::optional<StrictPoint> found = refute_near(node, all, strict);
    if (!found) found = mixed_point(dim_, rows, strict, {}, &stop_);
    if (!found) throw Stopped{};
    ++counts_.leaves;
    if (found->found) {
        std::vector<Rational> x;
        for (const Int& v : found->x) x.push_back({v, found->den});
        witness_ = problem_.violation_at(x);
        // If there is none, a unit that floating point called known is not.
        return witness_ ? Answer::violated : Answer::unknown;
    }
    std::vector<std::pair<int, Int>> goals;
    std::vector<std::pair<uint64_t, Int>> listed;
    for (const auto& [r, y] : found->multipliers) {
        const Origin& origin = origins[static_cast<size_t>(r)];
        if (origin.goal >= 0) {
            goals.emplace_back(origin.goal, y * origin.scale);
        } else if (static_cast<size_t>(r) >= 2 * n) {
            listed.emplace_back(origin.number, y * origin.scale);
            if (origin.other != UINT64_MAX) listed.emplace_back(origin.other, y * origin.scale);
        }
    }
    put_exact_leaf(text, std::move(goals), std::move(listed));
    return Answer::refuted;
}

// Multipliers that show that the rows contradict each other on the box, which come first among
// them, where the simplex method finds its vertex: they solve a small system, which is refined
// until rounding does not matter. None where that is not enough.
std::optional<StrictPoint> CaseSearch::refute_near(const Node& node,
                                                   const std::vector<ExactRow>& all,
                                                   const std::vector<uint8_t>& strict) {
    const auto n = static_cast<size_t>(dim_);
    const size_t first = 2 * n;
    std::vector<FloatRow> rows;
    simplex_.start(dim_, node.lo.data(), node.hi.data());
    bool none = false;
    for (size_t r = first; r < all.size() && !none; ++r) {
        if (stop_.poll()) throw Stopped{};
        const double* a = rows.emplace_back(to_doubles(all[r], box_)).a.data();
        if (simplex_.at_vertex(a, a[n]) < 0.0) {
            if (simplex_.maximize(a, a[n], kNone) == Simplex::End::failed) return std::nullopt;
            none = simplex_.value() <= kNone;
        }
        if (!none) simplex_.add_row(a, a[n]);
    }
    if (!none) return std::nullopt;
    const size_t last = rows.size() - 1;
    std::vector<uint8_t> held(n, 0);
    std::vector<size_t> tight, loose;
    for (const int r : simplex_.tight()) {
        if (static_cast<size_t>(r) < first)
            held[static_cast<size_t>(r) % n] = 1;
        else
            tight.push_back(static_cast<size_t>(r) - first);
    }
    for (size_t k = 0; k < n; ++k)
        if (!held[k]) loose.push_back(k);
    const size_t size = tight.size();
    if (size != loose.size()) return std::nullopt;

    // sum of y row = -row of the last one, on the inputs that the box does not hold.
    std::vector<double> matrix;
    for (const size_t k : loose)
        for (const size_t r : tight) matrix.push_back(rows[r].a[k]);
    const Factors factors(std::move(matrix), size);
    long most = rows[last].exponent;
    for (const size_t r : tight) most = std::max(most, rows[r].exponent);
    const auto shifted = [&](size_t r, const Int& v) {
        return v << static_cast<size_t>(most - rows[r].exponent);
    };
    std::vector<Int> y(size);  // over 2^kBits, of the rows over powers of two
    for (int round = 0; round < kMostRefinements; ++round) {
        std::vector<double> rest;
        bool exact = true;
        for (const size_t k : loose) {
            Int sum = -(shifted(last, all[first + last].a[k]) << kBits);
            for (size_t i = 0; i < size; ++i)
                sum.sub_mul(y[i], shifted(tight[i], all[first + tight[i]].a[k]));
            exact = exact && sum.is_zero();
            rest.push_back(Int::ratio_scaled(
                sum, 1, box_.inputs[box_.free[k]].exponent - static_cast<long>(kBits) - most));
        }
        if (exact) break;
        factors.solve(rest);
        for (size_t i = 0; i < size; ++i) {
            if (!std::isfinite(rest[i])) return std::nullopt;
            int e = 0;
            const Int m = Int::from_double_scaled(rest[i], e);
            const long by = e + static_cast<long>(kBits);
            if (by >= 0)
                y[i] += m << static_cast<size_t>(by);
            else
                y[i] += m >> static_cast<size_t>(-by);
        }
    }
    StrictPoint out;
    ExactRow sum;
    sum.a.resize(n);
    bool is_strict = false;
    const auto add = [&](size_t r, const Int& by) {
        if (by.sign() <= 0) return;
        const ExactRow& row = all[first + r];
        for (size_t k = 0; k < n; ++k) sum.a[k].add_mul(row.a[k], by);
        sum.c.add_mul(row.c, by);
        is_strict = is_strict || strict[first + r];
        out.multipliers.emplace_back(static_cast<int>(first + r), by);
    };
    for (size_t i = 0; i < size; ++i) add(tight[i], shifted(tight[i], y[i]));
    add(last, shifted(last, Int(1) << kBits));
    std::sort(out.multipliers.begin(), out.multipliers.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    // Its largest value on the box: an end is -c / a of its row, in the order low, high.
    Int common = 1;
    const auto end = [&](size_t k) -> const ExactRow& {
        return all[2 * k + (sum.a[k].sign() > 0 ? 1 : 0)];
    };
    const auto scale = [&](size_t k) {
        Int a = end(k).a[k];
        if (a.sign() < 0) a.negate();
        return a;
    };
    for (size_t k = 0; k < n; ++k)
        if (!sum.a[k].is_zero()) common = Int::lcm(common, scale(k));
    Int value = sum.c * common;
    for (size_t k = 0; k < n; ++k) {
        if (sum.a[k].is_zero()) continue;
        const Int term = sum.a[k] * end(k).c * common.divexact(scale(k));
        if (end(k).a[k].sign() > 0)
            value -= term;
        else
            value += term;
    }
    if (value.sign() > 0 || (value.is_zero() && !is_strict)) return std::nullopt;
    return out;
}

}  // namespace plv
