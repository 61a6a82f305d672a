// Exact values of one case of a property: points, rows, and what is written into its proof.
#include <algorithm>
#include <cmath>

#include "base/contract.hpp"
#include "proof/writer.hpp"
#include "search/case.hpp"

namespace plv {

namespace {

Int lcm(const Int& a, const Int& b) { return a.divexact(Int::gcd(a, b)) * b; }

void put_zigzag(std::string& out, int e) {
    put_var(out, e < 0 ? 2 * static_cast<uint64_t>(-(e + 1)) + 1 : 2 * static_cast<uint64_t>(e));
}

}  // namespace

// ------------------------------------------------------------------------------- points

// x of free_[k] at a double in s: dyadic.
Rational CaseSearch::input_value(int k, double s) const {
    int ec = 0, es = 0;
    const Int c = Int::from_double_scaled(center_[k], ec);
    const Int m = Int::from_double_scaled(s, es);
    if (c.is_zero()) ec = 0;
    es = m.is_zero() ? 0 : es + exponent_[k];
    const int low = std::min({ec, es, 0});
    Int sum = c << static_cast<size_t>(ec - low);
    sum += m << static_cast<size_t>(es - low);
    const size_t twos = sum.is_zero() ? static_cast<size_t>(-low)
                                      : std::min(sum.trailing_zeros(), static_cast<size_t>(-low));
    return {sum >> twos, Int(1) << (static_cast<size_t>(-low) - twos)};
}

// Whether a point satisfies all goals but for rounding.
bool CaseSearch::holds_nearly(const double* s) const {
    const std::vector<double> y = crown_->values(s).back();
    for (const Goal& goal : goals_) {
        double v = goal.constant, size = std::fabs(goal.constant);
        for (size_t k = 0; k < y.size(); ++k) {
            v += goal.outputs[k] * y[k];
            size += std::fabs(goal.outputs[k] * y[k]);
        }
        for (int k = 0; k < dim_; ++k) v += goal.slope[k] * s[k];
        if (!(v <= 1e-9 * std::max(size, 1e-6))) return false;
    }
    return true;
}

bool CaseSearch::try_point(const double* s) {
    if (!holds_nearly(s)) return false;
    std::vector<Rational> x;
    for (int k = 0; k < dim_; ++k) {
        Rational value = input_value(k, s[k]);
        const Rational &lo = *spec_.lo[free_[k]], &hi = *spec_.hi[free_[k]];
        if (value.num * lo.den < lo.num * value.den) value = lo;
        if (hi.num * value.den < value.num * hi.den) value = hi;
        x.push_back(std::move(value));
    }
    return violated_at(x);
}

// Whether a point of the box, given by its free coordinates, violates the property; if so it is
// the result's witness.
bool CaseSearch::violated_at(const std::vector<Rational>& x) {
    Int den = common_;
    for (const Rational& v : x) den = lcm(den, v.den);
    std::vector<Int> whole;
    for (size_t i = 0; i < place_.size(); ++i) {
        if (place_[i] < 0) {
            whole.push_back(constant_[i] * den.divexact(common_));
            continue;
        }
        const Rational& v = x[static_cast<size_t>(place_[i])];
        whole.push_back(v.num * den.divexact(v.den));
        const Rational &lo = *spec_.lo[i], &hi = *spec_.hi[i];
        if (v.num * lo.den < lo.num * v.den || hi.num * v.den < v.num * hi.den) return false;
    }
    const std::vector<Int> y = outputs_at(whole, den);  // over den and the outputs' scale
    const Int& scale = scales_->total[depth_];
    for (const SpecConstraint& row : spec_.constraints) {
        Int sum;
        for (size_t k = 0; k < row.outputs.size(); ++k)
            sum.add_mul(row.output_terms[k], y[row.outputs[k]]);
        Int inputs;
        for (size_t k = 0; k < row.inputs.size(); ++k)
            inputs.add_mul(row.input_terms[k], whole[row.inputs[k]]);
        sum.add_mul(inputs, scale);
        sum *= row.bound.den;
        sum.sub_mul(row.bound.num * den, scale);
        if (sum.sign() > 0 || (row.strict && sum.is_zero())) return false;
    }
    result_.witness = std::move(whole);
    result_.den = std::move(den);
    return true;
}

// Outputs over total of the last layer times den.
std::vector<Int> CaseSearch::outputs_at(const std::vector<Int>& x, const Int& den) const {
    std::vector<std::vector<Int>> units;
    for (int l = 0;; ++l) {
        const ExactForm& form = net_->exact_form(l);
        std::vector<Int> z(static_cast<size_t>(form.rows));
        for (int r = 0; r < form.rows; ++r) {
            z[r].add_mul(form.bias[r], den);
            if (!form.blocks.empty() && form.blocks[0].source == kInput) {
                const ExactBlock& block = form.blocks[0];
                for (size_t k = block.first(r); k < block.last(r); ++k)
                    block.add_term(z[r], k, x[block.column(r, k)]);
                z[r] *= common_;
            }
        }
        scale_all(z, scales_->input[l]);
        for (size_t b = 0; b < form.blocks.size(); ++b) {
            const ExactBlock& block = form.blocks[b];
            if (block.source == kInput) continue;
            std::vector<Int> from = units[block.source];
            scale_all(from, scales_->block[l][b]);
            for (int r = 0; r < form.rows; ++r)
                for (size_t k = block.first(r); k < block.last(r); ++k)
                    if (!from[block.column(r, k)].is_zero())
                        block.add_term(z[r], k, from[block.column(r, k)]);
        }
        if (l == depth_) return z;
        const Layer& layer = net_->layers[l];
        std::vector<Int> a(static_cast<size_t>(layer.units));
        for (int i = 0; i < layer.units; ++i) {
            if (layer.is_max()) {
                int best = -1;
                for (int s = 0; s < layer.slots; ++s) {
                    const int e = layer.entry(i, s);
                    if (e >= 0 && (best < 0 || z[best] < z[e])) best = e;
                }
                a[i] = z[best];
            } else {
                a[i] = z[i];
                apply_piece(layer, i, z[i].sign() > 0, a[i]);
            }
        }
        units.push_back(std::move(a));
    }
}

// ------------------------------------------------------------------------------- rows

// out += weight times what the input and the bias contribute to a pre-activation, over t.
void CaseSearch::add_input(int layer, int row, const Int& weight, ExactRow& out) const {
    const ExactForm& form = net_->exact_form(layer);
    if (form.blocks.empty() || form.blocks[0].source != kInput) {
        out.c.add_mul(weight, form.bias[row]);
        return;
    }
    const ExactBlock& block = form.blocks[0];
    out.c.add_mul(weight * common_, form.bias[row]);
    for (size_t k = block.first(row); k < block.last(row); ++k) {
        if (block.is_zero(k)) continue;
        const int i = block.column(row, k);
        if (place_[i] < 0)
            block.add_term(out.c, k, weight * constant_[i]);
        else
            block.add_term(out.a[place_[i]], k, weight * common_);
    }
}

ExactRow CaseSearch::unit_row(int layer, int entry, int minus, const uint8_t* pattern) const {
    ExactRow out;
    out.a.resize(static_cast<size_t>(dim_));
    pull_back(*net_, *scales_, layer, entry, minus, pattern,
              [&](int l, int i, const Int& weight) { add_input(l, i, weight, out); });
    return out;
}

// scale * (bound - the constraint's left side), as a function of t.
ExactRow CaseSearch::goal_row(size_t goal, const uint8_t* pattern, Int& scale) const {
    const SpecConstraint& from = spec_.constraints[goal];
    const Int& total = scales_->total[depth_];
    scale = total * common_ * from.bound.den;
    ExactRow out;
    out.a.resize(static_cast<size_t>(dim_));
    const Int factor = common_ * from.bound.den;
    for (size_t k = 0; k < from.outputs.size(); ++k) {
        const ExactRow row = unit_row(depth_, static_cast<int>(from.outputs[k]), -1, pattern);
        const Int weight = from.output_terms[k] * factor;
        out.c.sub_mul(row.c, weight);
        for (int i = 0; i < dim_; ++i) out.a[i].sub_mul(row.a[i], weight);
    }
    for (size_t k = 0; k < from.inputs.size(); ++k) {
        const int at = place_[from.inputs[k]];
        if (at < 0)
            out.c.sub_mul(from.input_terms[k] * constant_[from.inputs[k]], total * from.bound.den);
        else
            out.a[at].sub_mul(from.input_terms[k], scale);
    }
    out.c.add_mul(from.bound.num * common_, total);
    return out;
}

// ------------------------------------------------------------------------------- the proof

void CaseSearch::put_rule(int goal) {
    ++result_.leaves;
    put_var(out_, 0);
    put_var(out_, goal >= 0);
    if (goal < 0) return;
    put_var(out_, static_cast<uint64_t>(goal));
    put_big(out_, 1);
}

void CaseSearch::put_dual(const std::vector<std::pair<int, double>>& mu,
                          std::vector<Listed> listed) {
    double most = 0.0;
    for (const auto& [goal, v] : mu) most = std::fmax(most, v);
    for (const Listed& v : listed) most = std::fmax(most, std::fabs(v.value));
    int e = 0;
    std::frexp(most, &e);
    e -= 44;
    std::vector<std::pair<int, Int>> goals;
    for (const auto& [goal, v] : mu) goals.emplace_back(goal, std::llrint(std::ldexp(v, -e)));
    std::stable_sort(listed.begin(), listed.end(),
                     [](const Listed& a, const Listed& b) { return a.number < b.number; });
    std::vector<std::pair<uint64_t, Int>> values;
    for (size_t i = 0; i < listed.size();) {
        const uint64_t at = listed[i].number;
        const bool open = listed[i].open;
        double sum = 0.0;
        for (; i < listed.size() && listed[i].number == at; ++i) sum += listed[i].value;
        Int v = std::llrint(std::ldexp(sum, -e));
        // Not listed, an open unit might be taken for a known one.
        if (open && v.is_zero()) v = 1;
        values.emplace_back(at, std::move(v));
    }
    put_var(out_, 1);
    put_zigzag(out_, e);
    put_body(goals, values);
}

void CaseSearch::put_exact(const std::vector<std::pair<int, Int>>& mu,
                           const std::vector<std::pair<uint64_t, Int>>& listed) {
    put_var(out_, 1);
    put_zigzag(out_, 0);
    put_body(mu, listed);
}

void CaseSearch::put_body(std::vector<std::pair<int, Int>> mu,
                          std::vector<std::pair<uint64_t, Int>> listed) {
    ++result_.leaves;
    std::erase_if(mu, [](const auto& v) { return v.second.sign() <= 0; });
    std::sort(mu.begin(), mu.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    put_var(out_, mu.size());
    for (const auto& [goal, v] : mu) {
        put_var(out_, static_cast<uint64_t>(goal));
        put_big(out_, v);
    }
    std::sort(listed.begin(), listed.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::pair<uint64_t, Int>> sums;
    for (auto& [at, v] : listed) {
        if (!sums.empty() && sums.back().first == at)
            sums.back().second += v;
        else
            sums.emplace_back(at, std::move(v));
    }
    std::erase_if(sums, [](const auto& v) { return v.second.is_zero(); });
    put_var(out_, sums.size());
    uint64_t last = 0;
    for (const auto& [at, v] : sums) {
        put_var(out_, at - last);
        put_big(out_, v);
        last = at;
    }
}

}  // namespace plv
