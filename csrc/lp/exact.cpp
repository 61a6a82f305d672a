#include "lp/exact.hpp"

#include <algorithm>
#include <utility>

#include "base/contract.hpp"

namespace plv {

namespace {

// The dictionary of max t, row - t >= 0 for the rows with a `lift`, row >= 0 for the others, and
// t <= 1 if `bounded`, in integers over one positive denominator: a basic variable is (sum of
// entries * nonbasic variables + last entry) / den (Edmonds). Variables: x_0 .. x_(dim-1) and t,
// which are free, then the slack of every row and that of t <= 1.
//
// The pivots are those of the criss-cross method with the least index first (Terlaky), which ends
// whatever the degeneracy, from any start. The free variables enter the basis first and stay.
class Dictionary {
public:
    enum class End { optimal, infeasible, unbounded, stopped };

    Dictionary(int dim, const std::vector<const ExactRow*>& rows, const std::vector<uint8_t>& lift,
               bool bounded, StopToken* stop)
        : free_(dim + 1), slacks_(static_cast<int>(rows.size()) + bounded), stop_(stop) {
        table_.resize(static_cast<size_t>(slacks_) * static_cast<size_t>(free_ + 1));
        for (size_t r = 0; r < rows.size(); ++r) {
            const int i = static_cast<int>(r);
            for (int k = 0; k < dim; ++k) at(i, k) = rows[r]->a[k];
            if (lift[r]) at(i, dim) = -1;
            at(i, free_) = rows[r]->c;
        }
        if (bounded) {
            at(slacks_ - 1, dim) = -1;
            at(slacks_ - 1, free_) = 1;
        }
        for (int r = 0; r < slacks_; ++r) basic_.push_back(free_ + r);
        for (int k = 0; k < free_; ++k) nonbasic_.push_back(k);
        where_.resize(static_cast<size_t>(free_ + slacks_), -1);
        for (int r = 0; r < slacks_; ++r) where_[static_cast<size_t>(free_ + r)] = r;
    }

    // Ends early where t > 0 if `positive` is enough.
    End solve(const std::vector<int>& hint, bool positive) {
        for (int row : hint)
            if (!enter_free(free_ + row)) return End::stopped;
        for (int v = free_; v < free_ + slacks_; ++v)
            if (!enter_free(v)) return End::stopped;
        const int goal = where_[static_cast<size_t>(free_ - 1)];
        if (goal < 0)
            return End::unbounded;  // the one row with t goes on along a line in all others
        while (!(positive && done())) {
            int r = -1, s = -1;
            // The smallest variable that is primal or dual infeasible.
            int least = free_ + slacks_;
            for (int i = 0; i < slacks_; ++i)
                if (basic_[i] >= free_ && basic_[i] < least && at(i, free_).sign() < 0)
                    least = basic_[i], r = i;
            for (int k = 0; k < free_; ++k)
                if (nonbasic_[k] >= free_ && nonbasic_[k] < least && at(goal, k).sign() > 0)
                    least = nonbasic_[k], s = k, r = -1;
            if (r < 0 && s < 0) return End::optimal;
            int other = free_ + slacks_;
            if (s < 0) {
                for (int k = 0; k < free_; ++k)
                    if (nonbasic_[k] >= free_ && nonbasic_[k] < other && at(r, k).sign() > 0)
                        other = nonbasic_[k], s = k;
                if (s < 0) {
                    contradiction_ = r;
                    return End::infeasible;
                }
            } else {
                for (int i = 0; i < slacks_; ++i)
                    if (basic_[i] >= free_ && basic_[i] < other && at(i, s).sign() < 0)
                        other = basic_[i], r = i;
                if (r < 0) return End::unbounded;
            }
            if (!pivot(r, s)) return End::stopped;
        }
        return End::optimal;
    }

    // t and the point, over den().
    const Int& value() const { return at(where_[static_cast<size_t>(free_ - 1)], free_); }
    const Int& den() const { return den_; }
    std::vector<Int> point() const {
        std::vector<Int> out;
        for (int k = 0; k + 1 < free_; ++k) {
            const int r = where_[static_cast<size_t>(k)];
            out.push_back(r < 0 ? Int() : at(r, free_));
        }
        return out;
    }

    // Optimal: t = value - sum of y slack, so that sum of y row is the value times the sum of the
    // lifted y. Infeasible: slack + sum of y slacks is a negative constant.
    std::vector<std::pair<int, Int>> multipliers() const {
        std::vector<std::pair<int, Int>> found;
        const int r = contradiction_ < 0 ? where_[static_cast<size_t>(free_ - 1)] : contradiction_;
        for (int k = 0; k < free_; ++k)
            if (nonbasic_[k] >= free_ && !at(r, k).is_zero())
                found.emplace_back(nonbasic_[k] - free_, -at(r, k));
        if (contradiction_ >= 0) found.emplace_back(basic_[contradiction_] - free_, den_);
        std::sort(found.begin(), found.end(),
                  [](const auto& a, const auto& b) { return a.first < b.first; });
        return found;
    }

private:
    Int& at(int r, int k) { return table_[static_cast<size_t>(r) * (free_ + 1) + k]; }
    const Int& at(int r, int k) const { return table_[static_cast<size_t>(r) * (free_ + 1) + k]; }

    // A point at which all rows are positive, optimal or not.
    bool done() const {
        const int goal = where_[static_cast<size_t>(free_ - 1)];
        if (goal < 0 || at(goal, free_).sign() <= 0) return false;
        for (int r = 0; r < slacks_; ++r)
            if (basic_[r] >= free_ && at(r, free_).sign() < 0) return false;
        return true;
    }

    // Brings a free variable into the basis in exchange for a slack, where one depends on it.
    bool enter_free(int slack) {
        const int r = where_[static_cast<size_t>(slack)];
        if (r < 0) return true;
        for (int k = 0; k < free_; ++k)
            if (nonbasic_[k] < free_ && !at(r, k).is_zero()) return pivot(r, k);
        return true;
    }

    bool pivot(int r, int s) {
        if (stop_ && stop_->poll()) return false;
        const Int lead = at(r, s);
        for (int i = 0; i < slacks_; ++i) {
            if (i == r) continue;
            const Int f = at(i, s);
            for (int k = 0; k <= free_; ++k) {
                if (k == s) continue;
                Int& v = at(i, k);
                v *= lead;
                if (!f.is_zero()) v.sub_mul(f, at(r, k));
                if (!v.is_zero() && !den_.is_one()) v = v.divexact(den_);
            }
        }
        for (int k = 0; k <= free_; ++k)
            if (k != s) at(r, k).negate();
        at(r, s) = den_;
        den_ = lead;
        if (den_.sign() < 0) {
            den_.negate();
            for (Int& v : table_) v.negate();
        }
        std::swap(basic_[r], nonbasic_[s]);
        where_[static_cast<size_t>(basic_[r])] = r;
        where_[static_cast<size_t>(nonbasic_[s])] = -1;
        return true;
    }

    int free_, slacks_, contradiction_ = -1;
    StopToken* stop_;
    std::vector<Int> table_;
    Int den_ = 1;
    std::vector<int> basic_, nonbasic_;
    std::vector<int> where_;  // row of a basic variable, -1 of others
};

}  // namespace

bool ExactRow::is_constant() const {
    return std::all_of(a.begin(), a.end(), [](const Int& v) { return v.is_zero(); });
}

std::optional<StrictPoint> strict_point(int dim, const std::vector<const ExactRow*>& rows,
                                        const std::vector<int>& hint, StopToken* stop) {
    return mixed_point(dim, rows, std::vector<uint8_t>(rows.size(), 1), hint, stop);
}

std::optional<StrictPoint> mixed_point(int dim, const std::vector<const ExactRow*>& rows,
                                       const std::vector<uint8_t>& strict,
                                       const std::vector<int>& hint, StopToken* stop) {
    for (size_t r = 0; r < rows.size(); ++r)
        // A row without variables decides by itself, or says nothing.
        if (rows[r]->is_constant() && rows[r]->c.sign() < static_cast<int>(strict[r]))
            return StrictPoint{false, {}, 1, {{static_cast<int>(r), 1}}};
    Dictionary dictionary(dim, rows, strict, true, stop);
    const Dictionary::End end = dictionary.solve(hint, true);
    if (end == Dictionary::End::stopped) return std::nullopt;
    PLV_CHECK(end != Dictionary::End::unbounded);  // t <= 1
    StrictPoint out;
    out.found = end == Dictionary::End::optimal && dictionary.value().sign() > 0;
    if (out.found) {
        out.den = dictionary.den();
        out.x = dictionary.point();
    } else {
        out.multipliers = dictionary.multipliers();
    }
    return out;
}

std::optional<ExactMaximum> exact_maximum(int dim, const std::vector<const ExactRow*>& rows,
                                          const ExactRow& goal, StopToken* stop) {
    std::vector<const ExactRow*> all = rows;
    std::vector<uint8_t> lift(rows.size(), 0);
    all.push_back(&goal);
    lift.push_back(1);
    ExactMaximum out;
    for (const ExactRow* row : rows)
        if (row->is_constant() && row->c.sign() < 0) return out;
    Dictionary dictionary(dim, all, lift, false, stop);
    const Dictionary::End end = dictionary.solve({}, false);
    if (end == Dictionary::End::stopped) return std::nullopt;
    if (end != Dictionary::End::optimal) return out;
    out.point.found = true;
    out.point.den = dictionary.den();
    out.point.x = dictionary.point();
    out.value = dictionary.value();
    return out;
}

namespace {

// The value of a row at a point, times the point's denominator.
Int value_at(const ExactRow& row, const StrictPoint& at) {
    Int v = row.c * at.den;
    for (size_t k = 0; k < row.a.size(); ++k) v.add_mul(row.a[k], at.x[k]);
    return v;
}

}  // namespace

std::optional<Facets> find_facets(int dim, const std::vector<ExactRow>& rows, StopToken* stop) {
    Facets out;
    std::vector<const ExactRow*> kept;
    std::vector<int> number;
    for (size_t r = 0; r < rows.size(); ++r) {
        if (rows[r].is_constant() && rows[r].c.sign() >= 0) continue;
        kept.push_back(&rows[r]);
        number.push_back(static_cast<int>(r));
    }
    std::optional<StrictPoint> inside = strict_point(dim, kept, {}, stop);
    if (!inside) return std::nullopt;
    out.inside = std::move(*inside);
    if (!out.inside.found) return out;
    // A row makes a facet if the others leave room beyond it; what makes none is taken out, and
    // so are all but the first of rows that say the same.
    for (size_t r = kept.size(); r-- > 0;) {
        ExactRow opposite = *kept[r];
        opposite.c.negate();
        for (Int& v : opposite.a) v.negate();
        const ExactRow* const row = std::exchange(kept[r], &opposite);
        std::optional<StrictPoint> found = strict_point(dim, kept, {}, stop);
        if (!found) return std::nullopt;
        if (!found->found) {
            kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(r));
            number.erase(number.begin() + static_cast<std::ptrdiff_t>(r));
            continue;
        }
        kept[r] = row;
        // Between the two points the row is zero where the others are positive.
        const Int near = value_at(*row, out.inside) * found->den;
        const Int far = value_at(opposite, *found) * out.inside.den;
        StrictPoint on;
        on.found = true;
        on.den = (near + far) * out.inside.den * found->den;
        for (int k = 0; k < dim; ++k) {
            Int v = out.inside.x[k] * far * found->den;
            v.add_mul(found->x[k] * near, out.inside.den);
            on.x.push_back(std::move(v));
        }
        out.rows.push_back(number[r]);
        out.on.push_back(std::move(on));
    }
    std::reverse(out.rows.begin(), out.rows.end());
    std::reverse(out.on.begin(), out.on.end());
    return out;
}

}  // namespace plv
