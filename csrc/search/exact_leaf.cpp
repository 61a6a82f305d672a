// The end of a branch: the network is affine on the node, and exact arithmetic decides.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/case.hpp"
#include "search/walls.hpp"

namespace plv {

namespace {

constexpr double kNone = 1e-9;        // a largest value that is rather not positive
constexpr size_t kBits = 256;         // of multipliers
constexpr double kInside = 1e-10;     // of the radius
constexpr double kClose = 1e-13;      // closer to the edge multipliers are tried, not points
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

// y over 2^kBits with sum over i of entry(c, i) y_i = target(c), all of them over 2^scale, up to
// what some refinements leave; `factors` are of the entries times 2^exponent(c).
template <typename Entry, typename Target, typename Exponent>
std::optional<std::vector<Int>> refine(const Factors& factors, size_t size, long scale, Entry entry,
                                       Target target, Exponent exponent) {
    std::vector<Int> y(size);
    for (int round = 0; round < kMostRefinements; ++round) {
        std::vector<double> rest;
        bool exact = true;
        for (size_t c = 0; c < size; ++c) {
            Int sum = target(c) << kBits;
            for (size_t i = 0; i < size; ++i) sum.sub_mul(y[i], entry(c, i));
            exact = exact && sum.is_zero();
            rest.push_back(
                Int::ratio_scaled(sum, 1, exponent(c) - static_cast<long>(kBits) - scale));
        }
        if (exact) break;
        factors.solve(rest);
        for (size_t i = 0; i < size; ++i) {
            if (!std::isfinite(rest[i])) return std::nullopt;
            int e = 0;
            const Int m = Int::from_double_scaled(rest[i], e);
            const long by = e + static_cast<long>(kBits);
            y[i] += by >= 0 ? m << static_cast<size_t>(by) : m >> static_cast<size_t>(-by);
        }
    }
    return y;
}

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
            // Of a window that is not fixed one slot is always the largest.
            for (int s = 0; s < net_.layers[l].slots && node.pieces[box_.net->unit(l, i)] < 0; ++s)
                if (const int e = net_.layers[l].entry(i, s);
                    e >= 0 &&
                    (piece < 0 ||
                     node.bounds->lo[box_.net->row(l, e)] >
                         node.bounds->lo[box_.net->row(l, net_.layers[l].entry(i, piece))]))
                    piece = s;
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
            all.push_back(side_row(n, static_cast<size_t>(k), end, low));
        }
    const size_t sides = all.size();
    std::vector<Wall> walls = walls_of(problem_, node.path, pattern.data());
    for (Wall& wall : walls) all.push_back(std::move(wall.row));
    const size_t first_goal = all.size();
    std::vector<uint8_t> strict(all.size(), 0);
    std::vector<Int> goal_scales;
    for (size_t g = 0; g < forms_.size(); ++g) {
        all.push_back(problem_.goal_row(g, pattern.data(), goal_scales.emplace_back()));
        strict.push_back(problem_.goals()[g].strict);
    }
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : all) rows.push_back(&row);
    std::optional<StrictPoint> found;
    if (ball_ == nullptr) {
        found = refute_near(node, all, strict);
        if (!found) found = mixed_point(dim_, rows, strict, {}, &stop_);
        if (!found) throw Stopped{};
    } else {
        found = refute_in_ball(node, all, strict);
        if (!found) return witness_ ? Answer::violated : Answer::unknown;
    }
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
        const auto at = static_cast<size_t>(r);
        if (at == all.size())  // the ball
            goals.emplace_back(static_cast<int>(forms_.size()), y);
        else if (at >= first_goal)
            goals.emplace_back(static_cast<int>(at - first_goal), y * goal_scales[at - first_goal]);
        else if (at >= sides)
            walls[at - sides].list(y, listed);
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
    const std::optional<std::vector<Int>> solved = refine(
        factors, size, most,
        [&](size_t c, size_t i) { return shifted(tight[i], all[first + tight[i]].a[loose[c]]); },
        [&](size_t c) { return -shifted(last, all[first + last].a[loose[c]]); },
        [&](size_t c) { return box_.inputs[box_.free[loose[c]]].exponent; });
    if (!solved) return std::nullopt;
    const std::vector<Int>& y = *solved;
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

// The same where a ball is there too: multipliers of the rows, and last of the ball, from the point
// of the rows and the box that is nearest to the center. None if the ball holds a point; if it
// violates the property it is the witness.
std::optional<StrictPoint> CaseSearch::refute_in_ball(const Node& node,
                                                      const std::vector<ExactRow>& all,
                                                      const std::vector<uint8_t>& strict) {
    const SpecBall& ball = *problem_.spec().ball;
    const auto n = static_cast<size_t>(dim_);
    const size_t first = 2 * n;
    std::vector<double> lo(n), hi(n), scale(n);
    std::vector<size_t> used(all.size() - first);
    std::iota(used.begin(), used.end(), first);
    for (size_t k = 0; k < n; ++k) {
        scale[k] = std::ldexp(1.0, box_.inputs[box_.free[k]].exponent);
        lo[k] = (node.lo[k] - ball_->center[k]) * scale[k];
        hi[k] = (node.hi[k] - ball_->center[k]) * scale[k];
        // The method wants the center in the box: an end that lies before it is a row.
        if (lo[k] > kInside * scale[k]) used.push_back(2 * k);
        if (hi[k] < -kInside * scale[k]) used.push_back(2 * k + 1);
        lo[k] = std::min(lo[k], 0.0);
        hi[k] = std::max(hi[k], 0.0);
    }
    const double radius = ball.squares ? std::sqrt(ball_->size) : ball_->size;
    // Rows a . d >= b in the distance from the center.
    std::vector<FloatRow> rows;
    const auto solve = [&](double margin) {
        nearest_.start(ball.squares ? Norm::l2 : Norm::l1, dim_, lo.data(), hi.data());
        for (size_t r = 0; r < used.size(); ++r) {
            if (rows.size() == r) rows.push_back(to_doubles(all[used[r]], box_));
            std::vector<double> a = rows[r].a;
            double b = -a[n];
            for (size_t k = 0; k < n; ++k) {
                b -= a[k] * ball_->center[k];
                a[k] /= scale[k];
            }
            nearest_.add_row(a.data(), b + margin);
        }
        return nearest_.solve(HUGE_VAL) == Nearest::End::optimal;
    };
    if (!solve(0.0)) {
        // The box alone holds no point, perhaps.
        if (auto found = refute_near(node, all, strict)) return found;
        std::vector<const ExactRow*> pointers;
        for (const ExactRow& row : all) pointers.push_back(&row);
        std::optional<StrictPoint> found = mixed_point(dim_, pointers, strict, {}, &stop_);
        if (!found) throw Stopped{};
        return found->found ? std::nullopt : found;
    }
    if (nearest_.distance() <= radius * (1.0 - kClose)) {
        // A little further inside, for the sake of rounding.
        for (const double margin : {kInside * radius, 1e-3 * kInside * radius, 0.0}) {
            if (margin > 0.0 && !solve(margin)) continue;
            std::vector<double> s(n);
            for (size_t k = 0; k < n; ++k) s[k] = ball_->center[k] + nearest_.point()[k] / scale[k];
            if ((witness_ = problem_.violation_near(s.data()))) break;
        }
        return std::nullopt;
    }
    const std::vector<int>& tight = nearest_.tight();
    StrictPoint out;
    std::vector<Int> y;
    long most = 0;
    for (const int r : tight) most = std::max(most, rows[static_cast<size_t>(r)].exponent);
    const auto row = [&](size_t i) -> const ExactRow& {
        return all[used[static_cast<size_t>(tight[i])]];
    };
    const auto shifted = [&](size_t i, const Int& v) {
        return v << static_cast<size_t>(most - rows[static_cast<size_t>(tight[i])].exponent);
    };
    if (ball.squares) {
        // Second order: the bound is not sensitive to errors of the multipliers.
        for (const double v : nearest_.multipliers()) {
            int e = 0;
            const Int m = Int::from_double_scaled(v, e);
            const long by = e + static_cast<long>(kBits);
            y.push_back(by >= 0 ? m << static_cast<size_t>(by) : m >> static_cast<size_t>(-by));
        }
    } else {
        std::vector<size_t> loose;
        std::vector<int> sign;
        for (size_t k = 0; k < n; ++k) {
            if (nearest_.place(static_cast<int>(k)) != Place::free) continue;
            loose.push_back(k);
            double w = 0.0;
            for (size_t i = 0; i < tight.size(); ++i)
                w += nearest_.multipliers()[i] * nearest_.row(tight[i])[k];
            sign.push_back(w > 0.0 ? 1 : -1);
        }
        if (loose.size() != tight.size()) return std::nullopt;
        std::vector<double> matrix;
        for (const size_t k : loose)
            for (const int r : tight) matrix.push_back(nearest_.row(r)[k]);
        auto solved = refine(
            Factors(std::move(matrix), loose.size()), loose.size(), most,
            [&](size_t c, size_t i) { return shifted(i, row(i).a[loose[c]]); },
            [&](size_t c) { return Int(sign[c]) << static_cast<size_t>(most); },
            [](size_t) { return 0; });
        if (!solved) return std::nullopt;
        y = std::move(*solved);
    }
    for (size_t i = 0; i < y.size(); ++i)
        if (y[i].sign() > 0)
            out.multipliers.emplace_back(static_cast<int>(used[static_cast<size_t>(tight[i])]),
                                         shifted(i, y[i]));
    std::sort(out.multipliers.begin(), out.multipliers.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    // Of d . d / 2, or of the sum of |d|.
    out.multipliers.emplace_back(static_cast<int>(all.size()),
                                 Int(1) << (kBits + static_cast<size_t>(most) - ball.squares));
    return out;
}

}  // namespace plv
