#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/contract.hpp"
#include "base/rounding.hpp"
#include "lp/simplex.hpp"
#include "region/halfspaces.hpp"

namespace plv {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Where the domain is unbounded the simplex method works in a box this large: points beyond it are
// left to exact arithmetic.
constexpr double kFar = 1024.0;

// The coordinate of a row that has exactly one, else -1.
int only_coordinate(const ExactRow& row) {
    int found = -1;
    for (size_t k = 0; k < row.a.size(); ++k) {
        if (row.a[k].is_zero()) continue;
        if (found >= 0) return -1;
        found = static_cast<int>(k);
    }
    return found;
}

// A rational bound of a coordinate.
struct Bound {
    Int num, den;  // den > 0
    bool operator<(const Bound& other) const { return num * other.den < other.num * den; }
};

// The row t_k - v or v - t_k for a double v.
ExactRow beyond(int dim, int k, double v, int sign) {
    ExactRow row;
    row.a.resize(static_cast<size_t>(dim));
    int e = 0;
    const Int m = Int::from_double_scaled(v, e);
    row.a[k] = e < 0 ? Int(1) << static_cast<size_t>(-e) : Int(1);
    row.c = e > 0 ? m << static_cast<size_t>(e) : m;
    if (sign > 0)
        row.c.negate();
    else
        row.a[k].negate();
    return row;
}

// Proven bounds of coordinates that no constraint bounds alone: guessed by the simplex method in a
// box around a point, proven exactly.
void bound_others(const std::vector<ExactRow>& constraints, const StrictPoint& inside,
                  std::vector<std::optional<Bound>>& low, std::vector<std::optional<Bound>>& high,
                  StopToken& stop) {
    const int dim = static_cast<int>(low.size());
    std::vector<double> x, lo, hi;
    for (int k = 0; k < dim; ++k) {
        x.push_back(Int::ratio(inside.x[k], inside.den));
        const double wide = 0x1p20 * std::max(1.0, std::fabs(x.back()));
        lo.push_back(low[k] ? Int::ratio(low[k]->num, low[k]->den) : x.back() - wide);
        hi.push_back(high[k] ? Int::ratio(high[k]->num, high[k]->den) : x.back() + wide);
    }
    Simplex simplex;
    simplex.start(dim, lo.data(), hi.data());
    std::vector<double> a(static_cast<size_t>(dim));
    for (const ExactRow& row : constraints) {
        if (row.is_constant()) continue;
        size_t bits = row.c.bit_length();
        for (const Int& v : row.a) bits = std::max(bits, v.bit_length());
        const Int unit = Int(1) << bits;
        for (int k = 0; k < dim; ++k) a[k] = Int::ratio(row.a[k], unit);
        const double c = Int::ratio(row.c, unit);
        if (simplex.at_vertex(a.data(), c) < 0 &&
            simplex.maximize(a.data(), c, 0.0) == Simplex::End::failed)
            return;
        simplex.add_row(a.data(), c);
    }
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : constraints) rows.push_back(&row);
    for (int k = 0; k < dim; ++k)
        for (int side : {-1, 1}) {
            std::optional<Bound>& bound = side < 0 ? low[k] : high[k];
            if (bound) continue;
            std::fill(a.begin(), a.end(), 0.0);
            a[k] = side;
            if (simplex.maximize(a.data(), 0.0, kInfinity) != Simplex::End::optimal) continue;
            const double at = side * simplex.value();
            const double guess = at + side * 0x1p-20 * std::max(std::fabs(at - x[k]), 0x1p-20);
            if (!(std::fabs(guess - x[k]) < 0x1p19 * std::max(1.0, std::fabs(x[k])))) continue;
            const ExactRow test = beyond(dim, k, guess, side);
            rows.push_back(&test);
            const std::optional<StrictPoint> found = strict_point(dim, rows, {}, &stop);
            rows.pop_back();
            if (!found) throw Stopped{};
            if (found->found) continue;
            Bound proven{-test.c, test.a[k]};
            if (proven.den.sign() < 0) proven.num.negate(), proven.den.negate();
            bound = proven;
        }
}

}  // namespace

double HalfspaceProblem::to_local(const ExactRow& row, const Int& scale, double* out) const {
    // The centre over one power of two.
    int bits = 0;
    std::vector<Int> m(static_cast<size_t>(dim));
    std::vector<int> e(static_cast<size_t>(dim));
    for (int k = 0; k < dim; ++k) {
        m[k] = Int::from_double_scaled(center[k], e[k]);
        if (m[k].is_zero()) e[k] = 0;
        bits = std::max(bits, -e[k]);
    }
    Int c = row.c << static_cast<size_t>(bits);
    double size = 0.0;
    for (int k = 0; k < dim; ++k) {
        if (!m[k].is_zero()) c.add_mul(row.a[k], m[k] << static_cast<size_t>(bits + e[k]));
        size += std::fabs(out[k] = Int::ratio_scaled(row.a[k], scale, exponent[k]));
    }
    size += std::fabs(out[dim] = Int::ratio_scaled(c, scale, -bits));
    return size <= 1e150 ? 4 * kRound * size + 1e-290 : kInfinity;
}

void HalfspaceProblem::to_local(const StrictPoint& point, double* s) const {
    const auto n = static_cast<size_t>(dim);
    std::vector<double> a(n + 1);
    for (size_t k = 0; k < n; ++k) {
        ExactRow row;
        row.a.resize(n);
        row.a[k] = point.den;
        row.c = -point.x[k];
        to_local(row, point.den, a.data());
        s[k] = -a[n] * std::ldexp(1.0, -exponent[k]);
    }
}

bool HalfspaceProblem::inside(const double* s, const ExactRow& row) const {
    // a . t + c times a power of two.
    Int sum = row.c;
    int scale = 0;  // sum is over 2^scale
    const auto add = [&](const Int& a, double v, int exponent_of) {
        if (v == 0.0 || a.is_zero()) return;
        int e = 0;
        const Int m = Int::from_double_scaled(v, e);
        e += exponent_of;
        if (-e > scale) sum <<= static_cast<size_t>(-e - scale), scale = -e;
        sum.add_mul(a, m << static_cast<size_t>(scale + e));
    };
    for (int k = 0; k < dim; ++k) {
        add(row.a[k], center[k], 0);
        add(row.a[k], s[k], exponent[k]);
    }
    return sum.sign() > 0;
}

ExactRow HalfspaceProblem::row(int layer, int entry, int minus, const uint8_t* pattern) const {
    ExactRow out;
    out.a.resize(static_cast<size_t>(dim));
    pull_back(*net, *scales, layer, entry, minus, pattern, [&](int l, int i, const Int& weight) {
        const ExactRow& from = input[l][i];
        out.c.add_mul(weight, from.c);
        for (int k = 0; k < dim; ++k)
            if (!from.a[k].is_zero()) out.a[k].add_mul(weight, from.a[k]);
    });
    return out;
}

std::shared_ptr<const HalfspaceProblem> HalfspaceProblem::build(std::shared_ptr<const Net> net,
                                                                const DomainSpec& spec,
                                                                StopToken& stop) {
    PLV_EXPECT(spec.ambient == net->input_size,
               "the domain lies in " + std::to_string(spec.ambient) +
                   " dimensions, the network has " + std::to_string(net->input_size) + " inputs");
    auto out = std::make_shared<HalfspaceProblem>();
    const int d = out->dim = spec.dim;
    const auto n = static_cast<size_t>(d);
    out->net = net;
    std::vector<const ExactRow*> rows;
    out->constraints = spec.constraints;
    for (const ExactRow& row : out->constraints)
        if (!row.is_constant())
            rows.push_back(&row);
        else if (row.c.sign() < 0)
            no_volume(true, d);
    const std::optional<StrictPoint> inside = strict_point(d, rows, {}, &stop);
    if (!inside) throw Stopped{};
    if (!inside->found) {
        Int value;
        for (const auto& [r, y] : inside->multipliers) value.add_mul(rows[r]->c, y);
        no_volume(value.sign() < 0, d);
    }

    std::vector<std::optional<Bound>> low(n), high(n);
    for (size_t i = 0; i < out->constraints.size(); ++i) {
        const ExactRow& row = out->constraints[i];
        const int k = only_coordinate(row);
        if (k < 0) {
            if (!row.is_constant()) out->others.push_back(static_cast<int>(i));
            continue;
        }
        if (row.a[k].sign() > 0) {
            const Bound bound{-row.c, row.a[k]};
            if (!low[k] || *low[k] < bound) low[k] = bound;
        } else {
            const Bound bound{row.c, -row.a[k]};
            if (!high[k] || bound < *high[k]) high[k] = bound;
        }
    }
    const auto alone_low = low, alone_high = high;
    if (!out->others.empty()) bound_others(out->constraints, *inside, low, high, stop);

    for (int k = 0; k < d; ++k) {
        const double x = Int::ratio(inside->x[k], inside->den);
        const double a = low[k] ? Int::ratio(low[k]->num, low[k]->den) : -kInfinity;
        const double b = high[k] ? Int::ratio(high[k]->num, high[k]->den) : kInfinity;
        const bool bounded = low[k] && high[k];
        if (!(std::fabs(x) < 0x1p500) || (low[k] && !(std::fabs(a) < 0x1p500)) ||
            (high[k] && !(std::fabs(b) < 0x1p500)))
            throw std::invalid_argument("the domain reaches beyond the range of double precision");
        double half = bounded ? b / 2 - a / 2 : 1.0;
        half = std::max(half, 0x1p-500);
        int e = 0;
        std::frexp(half, &e);
        out->exponent.push_back(e);
        // Few bits of the centre keep exact rows short.
        const double unit = std::ldexp(1.0, e - 8);
        out->center.push_back(std::nearbyint((bounded ? a / 2 + b / 2 : x) / unit) * unit);
    }
    const auto local = [&](const std::optional<Bound>& bound, int k) {
        // (num / den - center) / 2^e, to a relative error of 2^-52.
        ExactRow row;
        row.a.resize(n);
        row.a[k] = bound->den;
        row.c = -bound->num;
        std::vector<double> a(n + 1);
        out->to_local(row, bound->den, a.data());
        return -a[n] * std::ldexp(1.0, -out->exponent[k]);
    };
    const auto outward = [](double v, double sign) {
        return v + sign * (std::fabs(v) * 0x1p-50 + 1e-290);
    };
    for (int k = 0; k < d; ++k) {
        out->lo.push_back(low[k] ? outward(local(low[k], k), -1) : -kInfinity);
        out->hi.push_back(high[k] ? outward(local(high[k], k), 1) : kInfinity);
        out->plain_lo.push_back(alone_low[k] ? outward(local(alone_low[k], k), -1) : -kInfinity);
        out->plain_hi.push_back(alone_high[k] ? outward(local(alone_high[k], k), 1) : kInfinity);
        out->in_lo.push_back(alone_low[k] ? outward(local(alone_low[k], k), 1) : -kInfinity);
        out->in_hi.push_back(alone_high[k] ? outward(local(alone_high[k], k), -1) : kInfinity);
        out->box_lo.push_back(low[k] ? local(low[k], k)
                                     : (high[k] ? local(high[k], k) : 0.0) - kFar);
        out->box_hi.push_back(high[k] ? local(high[k], k)
                                      : (low[k] ? local(low[k], k) : 0.0) + kFar);
        out->reach = std::max(
            {out->reach, std::fabs(out->box_lo[k]) + 1e-9, std::fabs(out->box_hi[k]) + 1e-9});
    }

    std::vector<Int> input_scales;
    const int depth = static_cast<int>(net->layers.size());
    for (int l = 0; l <= depth; ++l) {
        const ExactForm& form = net->exact_form(l);
        std::vector<ExactRow> exact(static_cast<size_t>(form.rows));
        const bool reads = !form.blocks.empty() && form.blocks[0].source == kInput;
        input_scales.push_back(reads ? form.scale * spec.slice_scale : form.scale);
        const size_t stride = static_cast<size_t>(padded(form.rows));
        Input rounded;
        rounded.map.assign(stride * (n + 1), 0.0);
        rounded.error.assign(stride, 0.0);
        rounded.size.assign(stride, 0.0);
        std::vector<double> values(n + 1);
        for (int r = 0; r < form.rows; ++r) {
            ExactRow& row = exact[r];
            row.a.resize(n);
            row.c = form.bias[r];
            if (reads) {
                const ExactBlock& block = form.blocks[0];
                row.c *= spec.slice_scale;
                for (size_t k = block.first(r); k < block.last(r); ++k) {
                    if (block.is_zero(k)) continue;
                    const int i = block.column(r, k);
                    if (spec.is_slice) {
                        const Int* b = &spec.slice[static_cast<size_t>(i) * (n + 1)];
                        for (int c = 0; c < d; ++c) block.add_term(row.a[c], k, b[c]);
                        block.add_term(row.c, k, b[n]);
                    } else {
                        row.a[i] += block.weight(k);
                    }
                }
            }
            rounded.error[r] = out->to_local(row, input_scales.back(), values.data());
            for (size_t k = 0; k <= n; ++k) {
                rounded.map[k * stride + r] = values[k];
                rounded.size[r] += std::fabs(values[k]);
            }
        }
        out->rounded.push_back(std::move(rounded));
        out->input.push_back(std::move(exact));
    }
    out->scales = std::make_unique<Scales>(*net, input_scales);

    // A verified inner point: the one found above, rounded.
    std::vector<double> s(n);
    out->to_local(*inside, s.data());
    if (std::all_of(rows.begin(), rows.end(),
                    [&](const ExactRow* row) { return out->inside(s.data(), *row); }))
        out->start = std::move(s);
    return out;
}

}  // namespace plv
