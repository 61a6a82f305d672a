#include "region/exact.hpp"

#include <algorithm>

#include "base/contract.hpp"

namespace plv {

template <int D>
int ExactPoint<D>::sign_of(const ExactLine<D>& line) const {
    if (infinite) {
        Int lead = line.d * den;
        for (int k = 0; k < D; ++k) lead.add_mul(line.a[k], q[k]);
        if (!lead.is_zero()) return lead.sign();
    } else if (!line.d.is_zero()) {
        return line.d.sign();
    }
    Int v = line.c * den;
    for (int k = 0; k < D; ++k) v.add_mul(line.a[k], p[k]);
    return v.sign();
}

template <int D>
bool ExactPoint<D>::operator==(const ExactPoint& other) const {
    if (infinite != other.infinite) return false;
    for (int k = 0; k < D; ++k) {
        if (p[k] * other.den != other.p[k] * den) return false;
        if (infinite && q[k] * other.den != other.q[k] * den) return false;
    }
    return true;
}

template <int D>
uint64_t ExactPoint<D>::hash() const {
    const uint64_t inv = inverse_p61(den.mod_p61());
    uint64_t h = infinite ? 0x9e3779b97f4a7c15u : 0x2545f4914f6cdd1du;
    auto mix = [&](const Int& v) {
        h = (h ^ mul_p61(v.mod_p61(), inv)) * 0xff51afd7ed558ccdu, h ^= h >> 32;
    };
    for (int k = 0; k < D; ++k) mix(p[k]);
    if (infinite)
        for (int k = 0; k < D; ++k) mix(q[k]);
    return h;
}

template <int D>
ExactPoint<D> intersect(const ExactLine<D>* const* lines) {
    ExactPoint<D> out;
    const ExactLine<D>& u = *lines[0];
    if constexpr (D == 1) {
        out.den = u.a[0];
        out.p[0] = -u.c;
        out.q[0] = -u.d;
    } else {
        const ExactLine<D>& v = *lines[1];
        auto minor = [](const Int& a, const Int& b, const Int& c, const Int& d) {  // a d - b c
            Int x = a * d;
            x.sub_mul(b, c);
            return x;
        };
        out.den = minor(u.a[0], u.a[1], v.a[0], v.a[1]);
        out.p[0] = minor(u.a[1], u.c, v.a[1], v.c);
        out.p[1] = minor(u.c, u.a[0], v.c, v.a[0]);
        out.q[0] = minor(u.a[1], u.d, v.a[1], v.d);
        out.q[1] = minor(u.d, u.a[0], v.d, v.a[0]);
    }
    PLV_CHECK(!out.den.is_zero());
    if (out.den.sign() < 0) {
        out.den.negate();
        for (int k = 0; k < D; ++k) out.p[k].negate(), out.q[k].negate();
    }
    // Common powers of two are free to drop and keep dyadic points short.
    size_t twos = out.den.trailing_zeros();
    for (int k = 0; k < D; ++k) {
        if (!out.q[k].is_zero())
            out.infinite = true, twos = std::min(twos, out.q[k].trailing_zeros());
        if (!out.p[k].is_zero()) twos = std::min(twos, out.p[k].trailing_zeros());
    }
    if (twos > 0) {
        out.den >>= twos;
        for (int k = 0; k < D; ++k) out.p[k] >>= twos, out.q[k] >>= twos;
    }
    return out;
}

namespace {

// The centre as integers over 2^bits, with bits >= 0 and bits >= -min(exponent).
template <int D>
int frame_bits(const Frame<D>& frame, std::array<Int, D>& center) {
    int bits = 0;
    std::array<int, D> e{};
    for (int k = 0; k < D; ++k) {
        center[k] = Int::from_double_scaled(frame.center[k], e[k]);
        if (center[k].is_zero()) e[k] = 0;
        bits = std::max({bits, -e[k], -frame.exponent[k]});
    }
    for (int k = 0; k < D; ++k) center[k] <<= static_cast<size_t>(bits + e[k]);
    return bits;
}

}  // namespace

template <int D>
ExactLine<D> Frame<D>::to_local(const ExactLine<D>& in_t) const {
    std::array<Int, D> m;
    const int bits = frame_bits<D>(*this, m);
    ExactLine<D> out;
    out.c = in_t.c << static_cast<size_t>(bits);
    for (int k = 0; k < D; ++k) {
        out.a[k] = in_t.a[k] << static_cast<size_t>(bits + exponent[k]);
        out.c.add_mul(in_t.a[k], m[k]);
    }
    out.d = in_t.d << static_cast<size_t>(bits);
    return out;
}

template <int D>
ExactPoint<D> Frame<D>::to_user(const ExactPoint<D>& in_s) const {
    std::array<Int, D> m;
    const int bits = frame_bits<D>(*this, m);
    ExactPoint<D> out;
    out.infinite = in_s.infinite;
    out.den = in_s.den << static_cast<size_t>(bits);
    for (int k = 0; k < D; ++k) {
        out.p[k] = in_s.p[k] << static_cast<size_t>(bits + exponent[k]);
        out.p[k].add_mul(m[k], in_s.den);
        out.q[k] = in_s.q[k] << static_cast<size_t>(bits + exponent[k]);
    }
    Int g = out.den;
    for (int k = 0; k < D; ++k) g = Int::gcd(Int::gcd(g, out.p[k]), out.q[k]);
    if (!g.is_one()) {
        out.den = out.den.divexact(g);
        for (int k = 0; k < D; ++k)
            out.p[k] = out.p[k].divexact(g), out.q[k] = out.q[k].divexact(g);
    }
    return out;
}

namespace {

void poll(StopToken* stop) {
    if (stop && stop->poll()) throw Stopped{};
}

bool piece(const uint8_t* bits, int unit) { return bits[unit >> 3] >> (unit & 7) & 1; }

// v *= the factor of the unit's piece, over 2^slope_shift.
void apply_piece(const Layer& layer, int unit, bool on, Int& v) {
    if (on)
        v <<= layer.slope_shift;
    else if (layer.all_relu)
        v = Int();
    else
        v *= layer.slope_num[unit];
}

}  // namespace

template <int D>
bool ExactNet<D>::forward(const ExactGerm<D>& at, int8_t* signs, std::vector<Int>* outputs,
                          StopToken* stop) const {
    const size_t levels = at.levels.size();
    Int one = at.den;  // the number 1 at the scale of the current values, on its level
    std::vector<std::vector<Int>> now(levels), next(levels);
    const size_t depth = net.layers.size();
    for (size_t v = 0; v < levels; ++v) {
        now[v].resize(first.size());
        for (size_t i = 0; i < first.size(); ++i) {
            Int& z = now[v][i];
            if (v == at.unit_level) z.add_mul(first[i].c, at.den);
            for (int k = 0; k < D; ++k) z.add_mul(first[i].a[k], at.levels[v][k]);
        }
    }
    one *= first_scale;
    for (size_t l = 0; l < depth; ++l) {
        const Layer& layer = net.layers[l];
        std::vector<int> live;  // units with a nonzero activation
        live.reserve(static_cast<size_t>(layer.units));
        for (int i = 0; i < layer.units; ++i) {
            int s = 0;
            for (size_t v = 0; v < levels && s == 0; ++v) s = now[v][i].sign();
            *signs++ = static_cast<int8_t>(s);
            bool any = false;
            for (size_t v = 0; v < levels; ++v) {
                apply_piece(layer, i, s > 0, now[v][i]);
                any |= !now[v][i].is_zero();
            }
            if (any) live.push_back(i);
        }
        one <<= layer.slope_shift;
        const bool last_layer = l + 1 == depth;
        if (last_layer && !outputs) return true;
        const ExactAffine& w = last_layer ? net.output_exact : net.layers[l + 1].exact;
        for (size_t v = 0; v < levels; ++v) next[v].resize(static_cast<size_t>(w.rows));
        for (int i = 0; i < w.rows; ++i) {
            if ((i & 15) == 0 && stop && stop->poll()) return false;
            for (size_t v = 0; v < levels; ++v) {
                Int z;
                if (v == at.unit_level) z.add_mul(w.bias[i], one);
                for (int j : live) w.add_term(z, i, j, now[v][j]);
                next[v][i] = std::move(z);
            }
        }
        one *= w.scale;
        std::swap(now, next);
    }
    if (outputs) {
        outputs->clear();
        for (std::vector<Int>& level : now)
            for (Int& z : level) outputs->push_back(std::move(z));
    }
    return true;
}

template <int D>
ExactLine<D> ExactNet<D>::row(int layer, int unit, const uint8_t* bits, int minus) const {
    ExactLine<D> out;
    if (layer == 0) {
        out = first[unit];
        if (minus >= 0) {
            for (int k = 0; k < D; ++k) out.a[k] -= first[minus].a[k];
            out.c -= first[minus].c;
        }
        return out;
    }
    auto affine = [&](int l) -> const ExactAffine& {
        return l == static_cast<int>(net.layers.size()) ? net.output_exact : net.layers[l].exact;
    };
    const ExactAffine& top = affine(layer);
    std::vector<Int> g(static_cast<size_t>(top.cols)), below;
    Int constant = top.bias[unit];
    if (minus >= 0) constant -= top.bias[minus];
    for (int j = 0; j < top.cols; ++j) {
        g[j] = top.weight(unit, j);
        if (minus >= 0) g[j] -= top.weight(minus, j);
    }
    for (int l = layer - 1; l >= 0; --l) {
        const Layer& units = net.layers[l];
        const int offset = net.unit_offset[l];
        for (int j = 0; j < units.units; ++j)
            if (!g[j].is_zero()) apply_piece(units, j, piece(bits, offset + j), g[j]);
        constant <<= units.slope_shift;
        if (l == 0) break;
        const ExactAffine& w = units.exact;
        below.assign(static_cast<size_t>(w.cols), Int());
        constant *= w.scale;
        for (int j = 0; j < w.rows; ++j) {
            if (g[j].is_zero()) continue;
            constant.add_mul(g[j], w.bias[j]);
            for (int i = 0; i < w.cols; ++i) w.add_term(below[i], j, i, g[j]);
        }
        std::swap(g, below);
    }
    out.c = constant * first_scale;
    for (size_t j = 0; j < first.size(); ++j) {
        if (g[j].is_zero()) continue;
        out.c.add_mul(g[j], first[j].c);
        for (int k = 0; k < D; ++k) out.a[k].add_mul(g[j], first[j].a[k]);
    }
    return out;
}

template <int D>
Int ExactNet<D>::output_map(const uint8_t* bits, ExactRows<D>& rows) const {
    const int depth = static_cast<int>(net.layers.size());
    rows.clear();
    for (int i = 0; i < net.output_size(); ++i) rows.push_back(row(depth, i, bits));
    if (depth == 0) return first_scale;
    Int scale = first_scale * net.output_exact.scale;
    for (int l = 0; l < depth; ++l) {
        scale <<= net.layers[l].slope_shift;
        if (l > 0) scale *= net.layers[l].exact.scale;
    }
    return scale;
}

template <int D>
bool ExactNet<D>::output_ignores(int layer, int unit, const uint8_t* bits) const {
    const int depth = static_cast<int>(net.layers.size());
    std::vector<Int> v, next;
    for (int l = layer + 1; l <= depth; ++l) {
        const ExactAffine& w = l == depth ? net.output_exact : net.layers[l].exact;
        next.assign(static_cast<size_t>(w.rows), Int());
        bool any = false;
        for (int i = 0; i < w.rows; ++i) {
            if (l < depth && net.layers[l].all_relu && !piece(bits, net.unit_offset[l] + i))
                continue;
            if (l == layer + 1)
                next[i] = w.weight(i, unit);
            else
                for (int j = 0; j < w.cols; ++j)
                    if (!v[j].is_zero()) w.add_term(next[i], i, j, v[j]);
            if (l < depth && !next[i].is_zero())
                apply_piece(net.layers[l], i, piece(bits, net.unit_offset[l] + i), next[i]);
            any |= !next[i].is_zero();
        }
        if (!any) return true;
        std::swap(v, next);
    }
    return false;
}

template <int D>
int32_t PointTable<D>::intern(const ExactPoint<D>& point) {
    const uint64_t h = point.hash();
    for (auto [it, end] = index_.equal_range(h); it != end; ++it)
        if (entries_[it->second].point == point) return it->second;
    const auto id = static_cast<int32_t>(entries_.size());
    entries_.push_back({point, {}, {}});
    index_.emplace(h, id);
    return id;
}

template <int D>
PointTable<D>::PointTable(const ExactNet<D>& net, StopToken* stop) : net_(net), stop_(stop) {
    word_offset_.push_back(0);
    for (const Layer& layer : net.net.layers)
        word_offset_.push_back(word_offset_.back() + static_cast<size_t>(layer.units + 63) / 64);
}

template <int D>
void PointTable<D>::evaluate(Entry& entry, bool outputs) {
    poll(stop_);
    ++passes_;
    std::vector<int8_t> signs(static_cast<size_t>(net_.net.unit_count));
    if (!net_.forward(ExactGerm<D>::of(entry.point), signs.data(),
                      outputs ? &entry.outputs : nullptr, stop_))
        throw Stopped{};
    const size_t words = word_offset_.back();
    entry.signs.assign(2 * words + 1, 0);
    for (size_t l = 0; l < net_.net.layers.size(); ++l)
        for (int i = 0; i < net_.net.layers[l].units; ++i) {
            const int s = signs[static_cast<size_t>(net_.net.unit_offset[l] + i)];
            if (s == 0) continue;
            const size_t at = word_offset_[l] + static_cast<size_t>(i >> 6) + (s > 0 ? 0 : words);
            entry.signs[at] |= uint64_t{1} << (i & 63);
        }
}

template <int D>
int PointTable<D>::sign(int32_t id, int layer, int unit) {
    if (!evaluated(id)) evaluate(entries_[id], false);
    const auto on = [&](const uint64_t* bits) {
        return static_cast<int>(bits[unit >> 6] >> (unit & 63) & 1);
    };
    return on(positive(id, layer)) - on(negative(id, layer));
}

template <int D>
int PointTable<D>::output_sign(int32_t id, int i, int j) {
    Entry& entry = entries_[id];
    if (entry.outputs.empty()) evaluate(entry, true);
    const size_t n = static_cast<size_t>(net_.net.output_size());
    for (size_t at = 0; at < entry.outputs.size(); at += n) {
        const auto order = entry.outputs[at + i] <=> entry.outputs[at + j];
        if (order != 0) return order > 0 ? 1 : -1;
    }
    return 0;
}

template <int D>
void PointTable<D>::keep(const std::vector<int32_t>& ids) {
    std::vector<Entry> kept;
    kept.reserve(ids.size());
    for (int32_t id : ids) kept.push_back(std::move(entries_[id]));
    entries_ = std::move(kept);
    index_.clear();
    for (size_t k = 0; k < entries_.size(); ++k)
        index_.emplace(entries_[k].point.hash(), static_cast<int32_t>(k));
}

#define PLV_INSTANTIATE(D)                                                 \
    template struct ExactPoint<D>;                                         \
    template ExactPoint<D> intersect<D>(const ExactLine<D>* const* lines); \
    template struct Frame<D>;                                              \
    template struct ExactNet<D>;                                           \
    template class PointTable<D>;
PLV_INSTANTIATE(1)
PLV_INSTANTIATE(2)

}  // namespace plv
