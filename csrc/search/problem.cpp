// Points and rows of a case in exact arithmetic.
#include "search/problem.hpp"

#include <algorithm>
#include <cmath>

#include "base/contract.hpp"

namespace plv {

namespace {

// a <= b
bool at_most(const Rational& a, const Rational& b) { return a.num * b.den <= b.num * a.den; }

}  // namespace

// ------------------------------------------------------------------------------- the box

std::shared_ptr<const LocalBox> LocalBox::make(const Net& net, const SpecInputs& spec) {
    auto box = std::make_shared<LocalBox>();
    LocalBox& out = *box;
    const auto n = static_cast<size_t>(net.input_size);
    for (size_t i = 0; i < n; ++i) {
        if (!spec.lo[i] || !spec.hi[i]) return nullptr;
        const Rational &lo = *spec.lo[i], &hi = *spec.hi[i];
        PLV_EXPECT(at_most(lo, hi), "a box of the property is empty");
        const double a = Int::ratio(lo.num, lo.den), b = Int::ratio(hi.num, hi.den);
        if (!(std::fabs(a) < 0x1p300 && std::fabs(b) < 0x1p300)) return nullptr;
        LocalInput input;
        if (at_most(hi, lo)) {
            out.common = Int::lcm(out.common, lo.den);
            input.center = a;
        } else {
            std::frexp(std::max(b / 2 - a / 2, 0x1p-300), &input.exponent);
            const double unit = std::ldexp(1.0, input.exponent - 8);
            input.center = std::nearbyint((a / 2 + b / 2) / unit) * unit;
            input.place = out.dim++;
            out.free.push_back(static_cast<uint32_t>(i));
        }
        out.inputs.push_back(input);
    }
    for (size_t i = 0; i < n; ++i)
        out.constant.push_back(out.inputs[i].place >= 0
                                   ? Int()
                                   : spec.lo[i]->num * out.common.divexact(spec.lo[i]->den));
    // Ends that are not doubles are rounded; the search never believes them.
    for (const uint32_t i : out.free) {
        const LocalInput& at = out.inputs[i];
        for (const bool low : {true, false}) {
            const Rational& end = low ? *spec.lo[i] : *spec.hi[i];
            (low ? out.lo : out.hi)
                .push_back(std::ldexp(Int::ratio(end.num, end.den) - at.center, -at.exponent));
        }
    }
    if (spec.ball) out.make_ball(*spec.ball, spec);
    std::vector<Int> input_scales;
    for (int l = 0; l <= static_cast<int>(net.layers.size()); ++l) {
        const ExactForm& form = net.exact_form(l);
        const bool reads = !form.blocks.empty() && form.blocks[0].source == kInput;
        input_scales.push_back(reads ? form.scale * out.common : form.scale);
    }
    out.scales = std::make_unique<Scales>(net, input_scales);
    out.net = std::make_unique<BoundNet>(net, out.dim, out.inputs);
    uint64_t next = 0;
    for (const Layer& layer : net.layers) {
        out.first_slot.emplace_back();
        for (int i = 0; i < layer.units; ++i) {
            out.first_slot.back().push_back(next);
            if (!layer.is_max()) ++next;
            for (int s = 0; s < layer.slots; ++s) next += layer.entry(i, s) >= 0;
        }
    }
    return box;
}

void LocalBox::make_ball(const SpecBall& from, const SpecInputs& spec) {
    ball.norm = from.squares ? LocalBall::Norm::l2 : LocalBall::Norm::l1;
    ball.size = Int::ratio(from.size.num, from.size.den);
    for (size_t i = 0; i < inputs.size(); ++i) {
        const double center = Int::ratio(from.center[i].num, from.center[i].den);
        if (inputs[i].place < 0) {
            const double d = Int::ratio(spec.lo[i]->num, spec.lo[i]->den) - center;
            ball.size -= from.squares ? d * d : std::fabs(d);
            continue;
        }
        const int e = inputs[i].exponent;
        ball.center.push_back(std::ldexp(center - inputs[i].center, -e));
        ball.weight.push_back(std::ldexp(1.0, from.squares ? 2 * e : e));
    }
}

uint64_t LocalBox::number(const Net& net, int layer, int unit, int slot) const {
    uint64_t at = first_slot[layer][unit];
    for (int s = 0; s < slot; ++s) at += net.layers[layer].entry(unit, s) >= 0;
    return at;
}

double LocalBox::local(int k, const Rational& x) const {
    const LocalInput& at = inputs[free[k]];
    int e = 0;
    const Int c = Int::from_double_scaled(at.center, e);
    const auto up = static_cast<size_t>(std::max(-e, 0)),
               down = static_cast<size_t>(std::max(e, 0));
    return Int::ratio_scaled((x.num << up) - ((c * x.den) << down), x.den,
                             std::min(e, 0) - at.exponent);
}

Rational LocalBox::value(int k, double s) const {
    const LocalInput& at = inputs[free[k]];
    int ec = 0, es = 0;
    const Int c = Int::from_double_scaled(at.center, ec);
    const Int m = Int::from_double_scaled(s, es);
    if (c.is_zero()) ec = 0;
    es = m.is_zero() ? 0 : es + at.exponent;
    const int low = std::min({ec, es, 0});
    Int sum = c << static_cast<size_t>(ec - low);
    sum += m << static_cast<size_t>(es - low);
    const size_t twos = sum.is_zero() ? static_cast<size_t>(-low)
                                      : std::min(sum.trailing_zeros(), static_cast<size_t>(-low));
    return {sum >> twos, Int(1) << (static_cast<size_t>(-low) - twos)};
}

// ------------------------------------------------------------------------------- goals

CaseProblem::CaseProblem(std::shared_ptr<const Net> net, const SpecCase& spec,
                         std::shared_ptr<const LocalBox> box)
    : net_(std::move(net)), spec_(spec), box_(std::move(box)) {
    for (const SpecConstraint& from : spec_.constraints) {
        Goal goal;
        goal.strict = from.strict;
        goal.slope.assign(static_cast<size_t>(dim()), 0.0);
        goal.constant = -Int::ratio(from.bound.num, from.bound.den);
        for (size_t k = 0; k < from.outputs.size(); ++k)
            goal.outputs.emplace_back(static_cast<int>(from.outputs[k]),
                                      from.output_terms[k].to_double());
        for (size_t k = 0; k < from.inputs.size(); ++k) {
            const double a = from.input_terms[k].to_double();
            const LocalInput& at = box_->inputs[from.inputs[k]];
            goal.constant += a * at.center;
            if (at.place >= 0) goal.slope[at.place] += std::ldexp(a, at.exponent);
        }
        goals_.push_back(std::move(goal));
    }
}

bool CaseProblem::holds_nearly(const double* s, const double* outputs, double slack,
                               size_t step) const {
    for (const Goal& goal : goals_) {
        double v = goal.constant, size = std::fabs(goal.constant);
        for (const auto& [k, c] : goal.outputs) {
            v += c * outputs[static_cast<size_t>(k) * step];
            size += std::fabs(c * outputs[static_cast<size_t>(k) * step]);
        }
        for (int k = 0; k < dim(); ++k) v += goal.slope[k] * s[static_cast<size_t>(k) * step];
        if (!(v <= slack * std::max(size, 1e-6))) return false;
    }
    const LocalBall& ball = box_->ball;
    return !ball.is_there() || ball.at(s, step) <= ball.size + slack * std::fabs(ball.size);
}

std::optional<Witness> CaseProblem::violation_near(const double* s) const {
    std::vector<Rational> x;
    for (int k = 0; k < dim(); ++k) {
        Rational value = box_->value(k, s[k]);
        const Rational &lo = *inputs().lo[box_->free[k]], &hi = *inputs().hi[box_->free[k]];
        if (at_most(value, lo)) value = lo;
        if (at_most(hi, value)) value = hi;
        x.push_back(std::move(value));
    }
    return violation_at(x);
}

std::optional<Witness> CaseProblem::violation_at(const std::vector<Rational>& x) const {
    Int den = box_->common;
    for (const Rational& v : x) den = Int::lcm(den, v.den);
    std::vector<Int> whole;
    for (size_t i = 0; i < box_->inputs.size(); ++i) {
        const int place = box_->inputs[i].place;
        if (place < 0) {
            whole.push_back(box_->constant[i] * den.divexact(box_->common));
            continue;
        }
        const Rational& v = x[static_cast<size_t>(place)];
        whole.push_back(v.num * den.divexact(v.den));
        const Rational &lo = *inputs().lo[i], &hi = *inputs().hi[i];
        if (!at_most(lo, v) || !at_most(v, hi)) return std::nullopt;
    }
    if (inputs().ball && !in_ball(whole, den)) return std::nullopt;
    const std::vector<Int> y = outputs_at(whole, den);  // over den and the outputs' scale
    const Int& scale = box_->scales->total[depth()];
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
        if (sum.sign() > 0 || (row.strict && sum.is_zero())) return std::nullopt;
    }
    return Witness{std::move(whole), std::move(den)};
}

bool CaseProblem::in_ball(const std::vector<Int>& x, const Int& den) const {
    const SpecBall& ball = *inputs().ball;
    Int common = den;
    for (const Rational& c : ball.center) common = Int::lcm(common, c.den);
    Int sum;  // over common, or its square
    for (size_t i = 0; i < x.size(); ++i) {
        const Rational& c = ball.center[i];
        Int d = x[i] * common.divexact(den) - c.num * common.divexact(c.den);
        if (!ball.squares && d.sign() < 0) d.negate();
        sum += ball.squares ? d * d : d;
    }
    return sum * ball.size.den <= ball.size.num * (ball.squares ? common * common : common);
}

// Outputs over total of the last layer times den.
std::vector<Int> CaseProblem::outputs_at(const std::vector<Int>& x, const Int& den) const {
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
                z[r] *= box_->common;
            }
        }
        scale_all(z, box_->scales->input[l]);
        for (size_t b = 0; b < form.blocks.size(); ++b) {
            const ExactBlock& block = form.blocks[b];
            if (block.source == kInput) continue;
            std::vector<Int> from = units[block.source];
            scale_all(from, box_->scales->block[l][b]);
            for (int r = 0; r < form.rows; ++r)
                for (size_t k = block.first(r); k < block.last(r); ++k)
                    if (!from[block.column(r, k)].is_zero())
                        block.add_term(z[r], k, from[block.column(r, k)]);
        }
        if (l == depth()) return z;
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
void CaseProblem::add_input(int layer, int row, const Int& weight, ExactRow& out) const {
    const ExactForm& form = net_->exact_form(layer);
    if (form.blocks.empty() || form.blocks[0].source != kInput) {
        out.c.add_mul(weight, form.bias[row]);
        return;
    }
    const ExactBlock& block = form.blocks[0];
    out.c.add_mul(weight * box_->common, form.bias[row]);
    for (size_t k = block.first(row); k < block.last(row); ++k) {
        if (block.is_zero(k)) continue;
        const int i = block.column(row, k);
        if (box_->inputs[i].place < 0)
            block.add_term(out.c, k, weight * box_->constant[i]);
        else
            block.add_term(out.a[box_->inputs[i].place], k, weight * box_->common);
    }
}

ExactRow CaseProblem::unit_row(int layer, int entry, int minus, const uint8_t* pattern) const {
    ExactRow out;
    out.a.resize(static_cast<size_t>(dim()));
    pull_back(*net_, *box_->scales, layer, entry, minus, pattern,
              [&](int l, int i, const Int& weight) { add_input(l, i, weight, out); });
    return out;
}

// scale * (bound - the constraint's left side), as a function of t.
ExactRow CaseProblem::goal_row(size_t goal, const uint8_t* pattern, Int& scale) const {
    const SpecConstraint& from = spec_.constraints[goal];
    const Int& total = box_->scales->total[depth()];
    scale = total * box_->common * from.bound.den;
    ExactRow out;
    out.a.resize(static_cast<size_t>(dim()));
    const Int factor = box_->common * from.bound.den;
    for (size_t k = 0; k < from.outputs.size(); ++k) {
        const ExactRow row = unit_row(depth(), static_cast<int>(from.outputs[k]), -1, pattern);
        const Int weight = from.output_terms[k] * factor;
        out.c.sub_mul(row.c, weight);
        for (int i = 0; i < dim(); ++i) out.a[i].sub_mul(row.a[i], weight);
    }
    for (size_t k = 0; k < from.inputs.size(); ++k) {
        const int at = box_->inputs[from.inputs[k]].place;
        if (at < 0)
            out.c.sub_mul(from.input_terms[k] * box_->constant[from.inputs[k]],
                          total * from.bound.den);
        else
            out.a[at].sub_mul(from.input_terms[k], scale);
    }
    out.c.add_mul(from.bound.num * box_->common, total);
    return out;
}

void CaseProblem::add_goal(size_t goal, const Int& weight, std::vector<Int>& outputs) const {
    const SpecConstraint& from = spec_.constraints[goal];
    for (size_t k = 0; k < from.outputs.size(); ++k)
        outputs[from.outputs[k]].add_mul(from.output_terms[k], weight);
}

}  // namespace plv
