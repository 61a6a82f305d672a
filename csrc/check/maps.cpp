#include "check/maps.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace plv::check {

namespace {

constexpr double kFloor = 1e-150;
constexpr double kLargest = 1e150;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

Maps::Maps(const Net& net, const Domain& domain) : net_(net), dim_(domain.dim) {
    find_box(domain);
    lay_out(domain);
    find_static_entries(domain);
}

// --------------------------------------------------------------------------------- setting up

void Maps::find_box(const Domain& domain) {
    struct Bound {
        bool finite = false;
        Int num, den;
    };
    std::vector<Bound> ends[2] = {std::vector<Bound>(dim_), std::vector<Bound>(dim_)};
    const size_t width = dim_ + 1;
    for (size_t i = 0; i < domain.constraint_count; ++i) {
        size_t used = 0, k = 0;
        for (size_t c = 0; c < dim_; ++c)
            if (!domain.constraints.is_zero(i * width + c)) {
                ++used;
                k = c;
            }
        if (used != 1) continue;
        Int den = domain.constraints.at(i * width + k);
        Int num = domain.constraints.at(i * width + dim_);
        const bool upper = den.is_negative();  // a t + c >= 0
        if (upper)
            den.negate();
        else
            num.negate();
        Bound& old = ends[upper][k];
        if (old.finite) {
            const Int mine = num * old.den, other = old.num * den;
            if (upper ? mine >= other : mine <= other) continue;
        }
        old.finite = true;
        old.num = std::move(num);
        old.den = std::move(den);
    }
    for (const auto& side : ends)
        for (const Bound& end : side)
            if (end.finite) box_.den = lcm(box_.den, scale_of(end.den));
    for (size_t upper = 0; upper < 2; ++upper) {
        std::vector<Box::End>& side = upper ? box_.upper : box_.lower;
        side.resize(dim_);
        for (size_t k = 0; k < dim_; ++k) {
            const Bound& end = ends[upper][k];
            side[k].finite = end.finite;
            if (!end.finite) continue;
            side[k].num = end.num;
            quotient(box_.den, scale_of(end.den)).apply(side[k].num);
        }
    }
    // Local coordinates: the centre to some 20 bits below the width, the unit a power of two of at
    // least half the width. Nothing depends on how good they are.
    const Int den = box_.den.value();
    for (size_t k = 0; k < dim_; ++k) {
        const Box::End &lower = box_.lower[k], &upper = box_.upper[k];
        Int twice = 0;  // of the centre, over den
        long e = 0;
        if (lower.finite && upper.finite) {
            twice = lower.num + upper.num;
            const Int width_num = upper.num - lower.num;
            if (!width_num.is_zero())
                e = static_cast<long>(width_num.bit_length()) - static_cast<long>(den.bit_length());
        } else if (lower.finite || upper.finite) {
            twice = (lower.finite ? lower.num : upper.num) * Int(2);
        }
        const long q = e - 20;  // centre = round(twice / (2 den) / 2^q) 2^q
        Int num = twice, below = den * Int(2), rest;
        if (q < 0)
            num <<= static_cast<size_t>(-q);
        else
            below <<= static_cast<size_t>(q);
        Int rounded;
        Int::divmod(num, below, rounded, rest);
        centre_.push_back(rounded);
        centre_exp_.push_back(q);
        exp_.push_back(e);
        for (Box::End* end : {&box_.lower[k], &box_.upper[k]}) {
            if (!end->finite) continue;
            // (num / den - centre 2^q) 2^-e
            Int above = end->num, shifted = centre_[k] * den;
            if (q < 0)
                above <<= static_cast<size_t>(-q);
            else
                shifted <<= static_cast<size_t>(q);
            above -= shifted;
            end->local = Int::ratio_scaled(above, den, (q < 0 ? q : 0) - e);
            if (lower.finite && upper.finite)
                box_.reach = std::max(box_.reach, std::abs(end->local) * (1 + 0x1p-40));
        }
    }
}

void Maps::lay_out(const Domain& domain) {
    const size_t tensors = net_.nodes.size() + 1;
    is_static_.assign(tensors + 1, 1);
    segment_.assign(tensors + 1, 0);
    den_.resize(tensors + 1);
    exact_.resize(tensors + 1);
    to_make_.resize(tensors + 1);
    gather_.resize(net_.nodes.size());
    join_.resize(net_.nodes.size());
    source_den_.resize(net_.nodes.size());
    weights_.resize(net_.nodes.size());
    slopes_.resize(net_.nodes.size());
    layer_of_.assign(net_.nodes.size(), kNone);
    for (size_t t = 0; t < tensors; ++t) {
        base_.push_back(static_cast<uint32_t>(entries_));
        entries_ += net_.tensor_size(t);
    }
    base_.push_back(static_cast<uint32_t>(entries_));
    entries_ += domain.constraint_count;
    if (entries_ > size_t{1} << 31) throw std::invalid_argument("the network is too large");
    tensor_.resize(entries_);
    for (size_t t = 0; t <= tensors; ++t) {
        const size_t end = t < tensors ? base_[t + 1] : entries_;
        for (size_t i = base_[t]; i < end; ++i) tensor_[i] = static_cast<uint32_t>(t);
    }
    den_[0] = scale_of(domain.slice_scale);
    uint32_t units = 0;
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        const Node& node = net_.nodes[k];
        Scale common;
        for (const uint32_t s : node.sources) common = lcm(common, den_[s]);
        for (const uint32_t s : node.sources) {
            join_[k].push_back(quotient(common, den_[s]));
            is_static_[k + 1] = is_static_[k + 1] && is_static_[s];
            if (node.sources.size() > 1)
                for (uint32_t i = 0; i < net_.tensor_size(s); ++i)
                    gather_[k].push_back(base_[s] + i);
        }
        source_den_[k] = common.value();
        segment_[k + 1] = static_cast<uint32_t>(layers_.size());
        den_[k + 1] = common;
        if (node.is_linear()) {
            den_[k + 1] = {common.shift + node.den.shift, common.odd * node.den.odd};
            continue;
        }
        den_[k + 1].shift += node.slope_top;
        is_static_[k + 1] = 0;
        layer_of_[k] = static_cast<uint32_t>(layers_.size());
        segment_[k + 1] = static_cast<uint32_t>(layers_.size()) + 1;
        Layer layer;
        layer.node = k;
        layer.first = units;
        layer.count = node.size;
        layer.is_max = node.kind == Kind::max;
        units += node.size;
        if (layer.is_max) {
            layer.slots = node.taps;
            for (uint32_t w = 0; w < node.size; ++w)
                for (uint32_t s = 0; s < node.taps; ++s) {
                    const int64_t at = node.slot(w, s);
                    layer.inputs.push_back(at < 0 ? kNone : source(k, static_cast<uint32_t>(at)));
                }
        } else {
            layer.base = source(k, 0);
            for (uint32_t i = 0; i < node.size; ++i) {
                layer.single.push_back(node.has_one_piece(i));
                slopes_[k].push_back(Int::ratio_scaled(node.slope_num.at(i), Int(1),
                                                       -static_cast<long>(node.slope_shift[i])));
            }
        }
        layers_.push_back(std::move(layer));
    }
    epoch_.assign(layers_.size() + 1, 0);
    value_.assign((dim_ + 1) * entries_, 0.0);
    error_.assign(entries_, kInfinity);
    size_.assign(entries_, 0.0);
    tolerance_.assign(entries_, kInfinity);
    made_.assign(entries_, 0);
    wanted_.assign(entries_, 0);
    // Weights of the nodes that are computed in doubles: after the first layer, up to the last one.
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        const Node& node = net_.nodes[k];
        if (!node.is_linear() || is_static_[k + 1] || segment_[k + 1] >= layers_.size()) continue;
        weights_[k].resize(node.entries.size());
        const size_t width = node.width + size_t{1};
        for (size_t r = 0; r < node.rows; ++r)
            for (size_t j = 0; j < width; ++j) {
                const Scale& den = node.row_den[r];
                const double w = Int::ratio_scaled(node.entries.at(r * width + j), den.odd,
                                                   -static_cast<long>(den.shift));
                weights_[k][node.kind == Kind::affine ? j * node.rows + r : r * width + j] = w;
            }
    }
}

void Maps::find_static_entries(const Domain& domain) {
    const size_t width = dim_ + 1, tensors = net_.nodes.size() + 1;
    for (uint32_t i = 0; i < net_.input_size; ++i) {
        Int* out = room(base_[0] + i);
        if (domain.is_slice)
            for (size_t c = 0; c < width; ++c) out[c] = domain.slice_rows.at(i * width + c);
        else
            out[i] = 1;
        round_static(base_[0] + i);
    }
    for (uint32_t i = 0; i < domain.constraint_count; ++i) {
        const auto entry = static_cast<uint32_t>(base_[tensors] + i);
        Int* out = room(entry);
        for (size_t c = 0; c < width; ++c) out[c] = domain.constraints.at(i * width + c);
        round_static(entry);
    }
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        if (!is_static_[k + 1] || segment_[k + 1] >= layers_.size()) continue;
        for (uint32_t i = 0; i < net_.nodes[k].size; ++i) {
            make(base_[k + 1] + i);
            round_static(base_[k + 1] + i);
        }
    }
}

void Maps::round_static(uint32_t entry) {
    const Int* from = exact(entry);
    const Scale& d = den(entry);
    const long shift = static_cast<long>(d.shift);
    long low = 0;
    for (size_t k = 0; k < dim_; ++k)
        if (!from[k].is_zero()) low = std::min(low, centre_exp_[k]);
    Int constant = from[dim_] << static_cast<size_t>(-low);
    for (size_t k = 0; k < dim_; ++k) {
        row(k)[entry] = Int::ratio_scaled(from[k], d.odd, exp_[k] - shift);
        if (from[k].is_zero()) continue;
        constant += (from[k] * centre_[k]) << static_cast<size_t>(centre_exp_[k] - low);
    }
    row(dim_)[entry] = Int::ratio_scaled(constant, d.odd, low - shift);
    size_[entry] = 0;
    for (size_t c = 0; c <= dim_; ++c) size_[entry] += std::abs(row(c)[entry]);
    error_[entry] = 2 * kUnit * size_[entry];
    bound(entry, 0);
}

// ------------------------------------------------------------------------------------ doubles

// From the sum of error terms in error_ and the coefficients: all bounds of an entry.
void Maps::bound(uint32_t entry, size_t terms) {
    double size = 0;
    for (size_t c = 0; c <= dim_; ++c) size += std::abs(row(c)[entry]);
    size_[entry] = size;
    const double more = slack(terms + dim_);
    double error = error_[entry] * more + kFloor;
    if (!(size <= kLargest && error <= kLargest)) error = kInfinity;
    error_[entry] = error;
    tolerance_[entry] = (error + static_cast<double>(dim_ + 6) * kUnit * size) * more;
}

void Maps::enter(size_t layer, const int32_t* pieces) {
    ++epoch_[layer];
    pieces_ = pieces;
    uint32_t k = 0;
    if (layer > 0) {
        k = layers_[layer - 1].node;
        pass_units(k, pieces + layers_[layer - 1].first);
        ++k;
    }
    for (; k < layers_[layer].node; ++k) {
        if (is_static_[k + 1]) continue;
        if (net_.nodes[k].kind == Kind::affine)
            pass_dense(k);
        else
            pass_terms(k);
    }
}

void Maps::pass_units(uint32_t node, const int32_t* pieces) {
    const Layer& layer = layers_[layer_of_[node]];
    const uint32_t to = base_[node + 1], n = layer.count;
    if (layer.is_max) {
        for (uint32_t w = 0; w < n; ++w) {
            const uint32_t from =
                layer.inputs[static_cast<size_t>(w) * layer.slots + static_cast<size_t>(pieces[w])];
            for (size_t c = 0; c <= dim_; ++c) row(c)[to + w] = row(c)[from];
            error_[to + w] = error_[from];
            size_[to + w] = size_[from];
            tolerance_[to + w] = tolerance_[from];
        }
        return;
    }
    factor_.resize(n);
    const std::vector<double>& slope = slopes_[node];
    for (uint32_t i = 0; i < n; ++i)
        factor_[i] = layer.single[i] || pieces[i] != 0 ? 1.0 : slope[i];
    for (size_t c = 0; c <= dim_; ++c) {
        const double* from = row(c) + layer.base;
        double* out = row(c) + to;
        for (uint32_t i = 0; i < n; ++i) out[i] = factor_[i] == 0 ? 0 : factor_[i] * from[i];
    }
    const Node& from_node = net_.nodes[node];
    for (uint32_t i = 0; i < n; ++i) {
        const double f = std::abs(factor_[i]);
        const double e = error_[layer.base + i], s = size_[layer.base + i];
        if (layer.single[i] || pieces[i] != 0) {
            error_[to + i] = e;
            size_[to + i] = s;
            tolerance_[to + i] = tolerance_[layer.base + i];
        } else if (from_node.slope_num.is_zero(i)) {
            error_[to + i] = size_[to + i] = tolerance_[to + i] = 0;
        } else {
            error_[to + i] = f * ((1 + 2 * kUnit) * e + 4 * kUnit * s);
            if (!(s <= kLargest)) error_[to + i] = kInfinity;
            bound(to + i, 1);
        }
    }
}

void Maps::pass_dense(uint32_t k) {
    const Node& node = net_.nodes[k];
    const size_t n = node.rows;
    const uint32_t from = base_[node.sources[0]], to = base_[k + 1];
    active_.clear();
    for (uint32_t j = 0; j < node.width; ++j)
        if (!(error_[from + j] == 0 && size_[from + j] == 0)) active_.push_back(j);
    const double growth = static_cast<double>(active_.size() + 5) * kUnit;
    const double* weights = weights_[k].data();
    const double* bias = weights + static_cast<size_t>(node.width) * n;
    double* const error = &error_[to];
    for (size_t c = 0; c < dim_; ++c) std::fill_n(row(c) + to, n, 0.0);
    std::copy_n(bias, n, row(dim_) + to);
    for (size_t i = 0; i < n; ++i) error[i] = growth * std::abs(bias[i]);
    // Four columns at a time: a pass over the rows costs more than the arithmetic in it.
    constexpr size_t kBlock = 4;
    for (size_t a = 0; a < active_.size(); a += kBlock) {
        const size_t count = std::min(kBlock, active_.size() - a);
        const double* w[kBlock];
        double v[kBlock];
        for (size_t b = 0; b < kBlock; ++b) {
            // Missing columns are the first one again, times 0.
            const uint32_t j = active_[b < count ? a + b : a];
            w[b] = weights + static_cast<size_t>(j) * n;
            v[b] = b < count ? (1 + 2 * kUnit) * error_[from + j] + growth * size_[from + j] : 0.0;
        }
        for (size_t i = 0; i < n; ++i)
            error[i] += std::abs(w[0][i]) * v[0] + std::abs(w[1][i]) * v[1] +
                        std::abs(w[2][i]) * v[2] + std::abs(w[3][i]) * v[3];
        for (size_t c = 0; c <= dim_; ++c) {
            const double* x = row(c) + from;
            double* out = row(c) + to;
            double y[kBlock];
            for (size_t b = 0; b < kBlock; ++b) y[b] = b < count ? x[active_[a + b]] : 0.0;
            for (size_t i = 0; i < n; ++i)
                out[i] += w[0][i] * y[0] + w[1][i] * y[1] + w[2][i] * y[2] + w[3][i] * y[3];
        }
    }
    // As `bound`, column by column.
    double* const size = &size_[to];
    std::fill_n(size, n, 0.0);
    for (size_t c = 0; c <= dim_; ++c) {
        const double* out = row(c) + to;
        for (size_t i = 0; i < n; ++i) size[i] += std::abs(out[i]);
    }
    const double more = slack(active_.size() + dim_);
    const double rounding = static_cast<double>(dim_ + 6) * kUnit;
    double* const tolerance = &tolerance_[to];
    for (size_t i = 0; i < n; ++i) {
        const double e = error[i] * more + kFloor;
        error[i] = size[i] <= kLargest && e <= kLargest ? e : kInfinity;
        tolerance[i] = (error[i] + rounding * size[i]) * more;
    }
}

void Maps::pass_terms(uint32_t k) {
    const Node& node = net_.nodes[k];
    const std::vector<double>& weights = weights_[k];
    for (uint32_t i = 0; i < node.size; ++i) {
        const uint32_t to = base_[k + 1] + i;
        size_t terms = 0;
        node.each_term(i, [&](uint32_t, size_t) { ++terms; });
        const double growth = static_cast<double>(terms + 5) * kUnit;
        const double bias = weights[node.bias_of(i)];
        for (size_t c = 0; c < dim_; ++c) row(c)[to] = 0;
        row(dim_)[to] = bias;
        double error = growth * std::abs(bias);
        node.each_term(i, [&](uint32_t j, size_t at) {
            const uint32_t from = source(k, j);
            const double w = weights[at];
            if (error_[from] == 0 && size_[from] == 0) return;
            for (size_t c = 0; c <= dim_; ++c) row(c)[to] += w * row(c)[from];
            error += std::abs(w) * ((1 + 2 * kUnit) * error_[from] + growth * size_[from]);
        });
        error_[to] = error;
        bound(to, terms);
    }
}

double Maps::local(const Int& p, uint64_t depth, size_t k) const {
    const long low = std::min(-static_cast<long>(depth), centre_exp_[k]);
    Int num = p << static_cast<size_t>(-static_cast<long>(depth) - low);
    num -= centre_[k] << static_cast<size_t>(centre_exp_[k] - low);
    long e = 0;
    const double mantissa = num.to_double(e);
    e += low - exp_[k];
    return std::ldexp(mantissa, static_cast<int>(std::clamp(e, -5000L, 5000L)));
}

// ----------------------------------------------------------------------------------- integers

Int* Maps::room(uint32_t entry) {
    const uint32_t tensor = tensor_[entry];
    std::vector<Int>& all = exact_[tensor];
    if (all.empty()) {
        const size_t end = tensor + 1 < base_.size() ? base_[tensor + 1] : entries_;
        all.resize((end - base_[tensor]) * (dim_ + 1));
    }
    return &all[(entry - base_[tensor]) * (dim_ + 1)];
}

const Int* Maps::exact(uint32_t entry) {
    if (!is_known(entry)) want(entry);
    return room(entry);
}

bool Maps::is_zero(uint32_t entry) {
    const Int* coefficients = exact(entry);
    return std::all_of(coefficients, coefficients + dim_ + 1,
                       [](const Int& v) { return v.is_zero(); });
}

int32_t Maps::piece_of(uint32_t node, uint32_t unit) const {
    return pieces_[layers_[layer_of_[node]].first + unit];
}

// Collects what an entry needs from the top down, then makes it from the bottom up; a recursion
// would be as deep as the network.
void Maps::want(uint32_t entry) {
    size_t open = 0;
    const auto add = [&](uint32_t e) {
        if (is_known(e) || wanted_[e]) return;
        wanted_[e] = 1;
        to_make_[tensor_[e]].push_back(e);
        ++open;
    };
    add(entry);
    const uint32_t top = tensor_[entry];
    uint32_t tensor = top;
    for (; open > 0; --tensor) {
        const uint32_t k = tensor - 1;
        const Node& node = net_.nodes[k];
        open -= to_make_[tensor].size();
        for (const uint32_t e : to_make_[tensor]) {
            const uint32_t i = e - base_[tensor];
            if (node.is_linear()) {
                node.each_term(i, [&](uint32_t j, size_t at) {
                    if (!node.entries.is_zero(at)) add(source(k, j));
                });
            } else if (node.kind == Kind::max) {
                const auto piece = static_cast<uint32_t>(piece_of(k, i));
                add(source(k, static_cast<uint32_t>(node.slot(i, piece))));
            } else if (piece_of(k, i) != 0 || !node.slope_num.is_zero(i)) {
                add(source(k, i));
            }
        }
    }
    for (++tensor; tensor <= top; ++tensor) {
        for (const uint32_t e : to_make_[tensor]) {
            make(e);
            wanted_[e] = 0;
        }
        to_make_[tensor].clear();
    }
}

void Maps::make(uint32_t entry) {
    const uint32_t tensor = tensor_[entry], k = tensor - 1, i = entry - base_[tensor];
    const Node& node = net_.nodes[k];
    Int* out = room(entry);
    made_[entry] = epoch_[segment_[tensor]];
    for (size_t c = 0; c <= dim_; ++c) out[c] = 0;
    // The scale of a source to the common denominator of all.
    const auto joining = [&](uint32_t from) -> const Scale& {
        if (node.sources.size() == 1) return join_[k][0];
        const auto at = std::find(node.sources.begin(), node.sources.end(), tensor_[from]);
        return join_[k][static_cast<size_t>(at - node.sources.begin())];
    };
    if (node.is_linear()) {
        Int scaled;
        node.each_term(i, [&](uint32_t j, size_t at) {
            if (node.entries.is_zero(at)) return;
            const uint32_t from = source(k, j);
            const Int* x = room(from);
            const Scale& scale = joining(from);
            for (size_t c = 0; c <= dim_; ++c) {
                if (x[c].is_zero()) continue;
                if (scale.is_one()) {
                    node.entries.add_mul(out[c], x[c], at);
                } else {
                    scaled = x[c];
                    scale.apply(scaled);
                    node.entries.add_mul(out[c], scaled, at);
                }
            }
        });
        node.entries.add_mul(out[dim_], source_den_[k], node.bias_of(i));
        const Scale& part = node.part[node.row_of(i)];
        for (size_t c = 0; c <= dim_; ++c) part.apply(out[c]);
        return;
    }
    if (node.kind == Kind::max) {
        const auto piece = static_cast<uint32_t>(piece_of(k, i));
        const uint32_t from = source(k, static_cast<uint32_t>(node.slot(i, piece)));
        for (size_t c = 0; c <= dim_; ++c) {
            out[c] = room(from)[c];
            joining(from).apply(out[c]);
        }
        return;
    }
    const bool on = piece_of(k, i) != 0 || layers_[layer_of_[k]].single[i];
    if (!on && node.slope_num.is_zero(i)) return;
    const Int* x = room(source(k, i));
    for (size_t c = 0; c <= dim_; ++c) {
        if (on) {
            out[c] = x[c] << node.slope_top;
        } else {
            node.slope_num.add_mul(out[c], x[c], i);
            out[c] <<= node.slope_top - node.slope_shift[i];
        }
    }
}

}  // namespace plv::check
