// What a walk over cells of half-spaces hands out: regions, and the nodes of a proof.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/contract.hpp"
#include "proof/writer.hpp"
#include "region/halfspace_walker.hpp"

namespace plv {

namespace {

void put_multiplier(std::string& out, const Int& y, int exponent) {
    put_big(out, y);
    put_var(out, exponent < 0 ? 2 * static_cast<uint64_t>(-(exponent + 1)) + 1
                              : 2 * static_cast<uint64_t>(exponent));
}

}  // namespace

void HalfspaceWalker::put_fix(int l, int unit, int piece) {
    if (!nodes_) return;
    std::string& out = *nodes_;
    put_var(out, 2);
    put_var(out, static_cast<uint64_t>(net_.unit_offset[l] + unit));
    put_var(out, static_cast<uint64_t>(piece));
    put_multiplier(out, certificate_.y0, 0);
    put_var(out, certificate_.terms.size());
    for (const Certificate::Term& term : certificate_.terms) {
        put_var(out, term.path);
        put_multiplier(out, term.y, term.exponent);
    }
}

void HalfspaceWalker::put_window_certificate() {
    std::string& out = *nodes_;
    std::vector<Certificate::Term> slots{{0, window_slot_, certificate_.y0, 0}}, others;
    for (const Certificate::Term& term : certificate_.terms)
        (term.slot >= 0 ? slots : others).push_back(term);
    std::sort(slots.begin(), slots.end(),
              [](const auto& a, const auto& b) { return a.slot < b.slot; });
    put_var(out, slots.size());
    for (const Certificate::Term& term : slots) {
        put_var(out, static_cast<uint64_t>(term.slot));
        put_multiplier(out, term.y, term.exponent);
    }
    put_var(out, others.size());
    for (const Certificate::Term& term : others) {
        put_var(out, term.path);
        put_multiplier(out, term.y, term.exponent);
    }
}

// A witness: a point of the cell with few bits.
void HalfspaceWalker::put_leaf(int k) {
    std::vector<Int> t(static_cast<size_t>(dim_));
    int shift = 0;  // t over 2^shift
    const uint64_t alive = cells_[k]->alive;
    if (alive) {
        const double* s = points_[std::countr_zero(alive)].data();
        for (int bits : {8, 14, 20, 30, 40, 60}) {
            for (int i = 0; i < dim_; ++i)
                point_[i] =
                    bits == 60 ? s[i] : std::ldexp(std::nearbyint(std::ldexp(s[i], bits)), -bits);
            if (verify_point(k, point_.data())) break;
        }
        std::vector<std::pair<Int, int>> parts;
        for (int i = 0; i < dim_; ++i) {
            int ec = 0, es = 0;
            const Int c = Int::from_double_scaled(problem_.center[i], ec);
            const Int m = Int::from_double_scaled(point_[i], es);
            if (c.is_zero()) ec = 0;
            es = m.is_zero() ? 0 : es + problem_.exponent[i];
            const int low = std::min({ec, es, 0});
            Int sum = c << static_cast<size_t>(ec - low);
            sum += m << static_cast<size_t>(es - low);
            shift = std::max(shift, -low);
            parts.emplace_back(std::move(sum), low);
        }
        for (int i = 0; i < dim_; ++i)
            t[i] = parts[i].first << static_cast<size_t>(shift + parts[i].second);
    } else {
        const StrictPoint inside = solve_exactly(k, nullptr);
        PLV_CHECK(inside.found);
        for (shift = 32;; shift *= 2) {
            for (int i = 0; i < dim_; ++i) {
                Int rest;
                Int::divmod(inside.x[i] << static_cast<size_t>(shift), inside.den, t[i], rest);
            }
            bool good = true;
            const auto positive = [&](const ExactRow& row) {
                Int v = row.c << static_cast<size_t>(shift);
                for (int i = 0; i < dim_; ++i) v.add_mul(row.a[i], t[i]);
                return v.sign() > 0;
            };
            for (size_t i = 0; i < problem_.constraints.size() && good; ++i)
                good = problem_.constraints[i].is_constant() || positive(problem_.constraints[i]);
            for (size_t r = 0; r < cells_[k]->rows && good; ++r) good = positive(exact_row(r));
            if (good) break;
        }
    }
    size_t twos = static_cast<size_t>(shift);
    for (const Int& v : t)
        if (!v.is_zero()) twos = std::min(twos, v.trailing_zeros());
    put_var(*nodes_, 0);
    put_var(*nodes_, static_cast<uint64_t>(shift) - twos);
    for (const Int& v : t) put_big(*nodes_, v >> twos);
}

void HalfspaceWalker::emit(int k) {
    ++batch_.count;
    batch_.patterns.insert(batch_.patterns.end(), pattern_.begin(), pattern_.end());
    if (const uint64_t alive = cells_[k]->alive) {
        const double* s = points_[std::countr_zero(alive)].data();
        for (int i = 0; i < dim_; ++i)
            batch_.points.push_back(problem_.center[i] + std::ldexp(s[i], problem_.exponent[i]));
    } else {
        const StrictPoint inside = solve_exactly(k, nullptr);
        PLV_CHECK(inside.found);
        for (int i = 0; i < dim_; ++i) batch_.points.push_back(Int::ratio(inside.x[i], inside.den));
    }
    make_map(depth_);
    const Level& outputs = levels_[depth_];
    for (int r = 0; r < net_.output_size(); ++r) {
        const double* row = outputs.rows.data() + static_cast<size_t>(r) * width_;
        double c = row[dim_];
        for (int i = 0; i < dim_; ++i) {
            const double a = std::ldexp(row[i], -problem_.exponent[i]);
            batch_.jacobian.push_back(a);
            c -= a * problem_.center[i];
        }
        batch_.offset.push_back(c);
    }
    if (batch_.count >= sink_.batch) flush();
}

}  // namespace plv
