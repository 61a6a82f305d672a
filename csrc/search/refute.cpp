#include "search/refute.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

namespace {

constexpr double kNone = 1e-9;  // a largest value that is rather not positive

}  // namespace

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

// Where a sum of rows is 0 at its largest on the box: a strict row that is a side of it, and that
// the sum is largest at, takes the side's place.
template <typename End>
static bool use_strict_side(const std::vector<ExactRow>& all, const std::vector<uint8_t>& strict,
                            size_t first, const ExactRow& sum, End end, StrictPoint& out) {
    for (size_t r = first; r < all.size(); ++r) {
        if (!strict[r]) continue;
        const ExactRow& row = all[r];
        size_t at = row.a.size(), terms = 0;
        for (size_t k = 0; k < row.a.size(); ++k)
            if (!row.a[k].is_zero()) at = k, ++terms;
        if (terms != 1 || sum.a[at].is_zero() || sum.a[at].sign() == row.a[at].sign()) continue;
        const ExactRow& side = end(at);
        if (row.c * side.a[at] != side.c * row.a[at]) continue;
        Int by = sum.a[at], size = row.a[at];
        if (by.sign() < 0) by.negate();
        if (size.sign() < 0) size.negate();
        for (auto& [index, y] : out.multipliers) y = y * size;
        const auto place =
            std::lower_bound(out.multipliers.begin(), out.multipliers.end(), static_cast<int>(r),
                             [](const auto& a, int b) { return a.first < b; });
        if (place != out.multipliers.end() && place->first == static_cast<int>(r))
            place->second += by;
        else
            out.multipliers.insert(place, {static_cast<int>(r), by});
        return true;
    }
    return false;
}

// The last row is nowhere more than 0 on the box and the rows before, where the simplex method
// stands.
static std::optional<StrictPoint> contradiction_at(const LocalBox& box,
                                                   const std::vector<ExactRow>& all,
                                                   const std::vector<uint8_t>& strict,
                                                   const std::vector<FloatRow>& rows,
                                                   const Simplex& simplex) {
    const auto n = static_cast<size_t>(box.dim);
    const size_t first = 2 * n;
    const size_t last = rows.size() - 1;
    std::vector<uint8_t> held(n, 0);
    std::vector<size_t> tight, loose;
    for (const int r : simplex.tight()) {
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
        [&](size_t c) { return box.inputs[box.free[loose[c]]].exponent; });
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
    add(last, shifted(last, Int(1) << kRefinedBits));
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
    if (value.sign() > 0) return std::nullopt;
    if (value.is_zero() && !is_strict && !use_strict_side(all, strict, first, sum, end, out))
        return std::nullopt;
    return out;
}

std::optional<StrictPoint> refute_near(const LocalBox& box, const std::vector<double>& lo,
                                       const std::vector<double>& hi,
                                       const std::vector<ExactRow>& all,
                                       const std::vector<uint8_t>& strict, Simplex& simplex,
                                       StopToken& stop) {
    const auto n = static_cast<size_t>(box.dim);
    const size_t first = 2 * n;
    std::vector<FloatRow> rows;
    simplex.start(box.dim, lo.data(), hi.data());
    for (size_t r = first; r < all.size(); ++r) {
        if (stop.poll()) throw Stopped{};
        const double* a = rows.emplace_back(to_doubles(all[r], box)).a.data();
        if (simplex.at_vertex(a, a[n]) < 0.0) {
            if (simplex.maximize(a, a[n], kNone) == Simplex::End::failed) return std::nullopt;
            if (simplex.value() <= kNone) {
                auto found = contradiction_at(box, all, strict, rows, simplex);
                // Rows before may leave a face only, on which a later one is what contradicts.
                if (found || simplex.value() < -kNone) return found;
            }
        }
        simplex.add_row(a, a[n]);
    }
    return std::nullopt;
}

}  // namespace plv
