#include "region/exact.hpp"

#include <algorithm>

#include "base/contract.hpp"
#include "geom/dimension.hpp"

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

namespace {

// Fraction-free elimination (Bareiss) of the rows (a | c d) to det I: the point is then in the last
// two columns.
template <int D>
void eliminate(const ExactLine<D>* const* lines, int count, ExactPoint<D>& out) {
    std::vector<std::array<Int, D + 2>> rows(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
        for (int k = 0; k < D; ++k) rows[i][k] = lines[i]->a[k];
        rows[i][D] = -lines[i]->c;
        rows[i][D + 1] = -lines[i]->d;
    }
    Int before = 1;
    for (int k = 0; k < D; ++k) {
        int pivot = k;
        while (pivot < count && rows[pivot][k].is_zero()) ++pivot;
        PLV_CHECK(pivot < count);
        std::swap(rows[k], rows[pivot]);
        const Int lead = rows[k][k];
        for (int i = 0; i < count; ++i) {
            if (i == k) continue;
            const Int f = rows[i][k];
            for (int j = 0; j < D + 2; ++j) {
                Int v = rows[i][j] * lead;
                v.sub_mul(f, rows[k][j]);
                rows[i][j] = v.divexact(before);
            }
        }
        before = lead;
    }
    out.den = before;
    for (int k = 0; k < D; ++k) {
        out.p[k] = rows[k][D];
        out.q[k] = rows[k][D + 1];
    }
}

}  // namespace

template <int D>
ExactPoint<D> intersect(const ExactLine<D>* const* lines, int count) {
    ExactPoint<D> out;
    const ExactLine<D>& u = *lines[0];
    if constexpr (D > 2) {
        eliminate<D>(lines, count, out);
    } else if constexpr (D == 1) {
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
    PLV_CHECK(count >= D && !out.den.is_zero());
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

// order[s] of each slot among the values, which may tie.
void rank_slots(const std::vector<std::vector<Int>>& values, const Layer& layer, int window,
                uint16_t* rank, std::vector<int>& slots) {
    const auto compare = [&](int a, int b) {
        for (const std::vector<Int>& level : values) {
            const auto order = level[layer.entry(window, a)] <=> level[layer.entry(window, b)];
            if (order != 0) return order < 0 ? -1 : 1;
        }
        return 0;
    };
    slots.clear();
    for (int s = 0; s < layer.slots; ++s)
        if (layer.entry(window, s) >= 0) slots.push_back(s);
    std::sort(slots.begin(), slots.end(), [&](int a, int b) { return compare(a, b) < 0; });
    uint16_t place = 0;
    for (size_t k = 0; k < slots.size(); ++k) {
        if (k > 0 && compare(slots[k - 1], slots[k]) != 0) ++place;
        rank[static_cast<size_t>(slots[k]) * static_cast<size_t>(layer.units)] = place;
    }
}

}  // namespace

template <int D>
ExactNet<D>::ExactNet(const Net& network, std::vector<ExactRows<D>>&& input_rows,
                      const std::vector<Int>& input_scales)
    : net(network), input(std::move(input_rows)), scales(network, input_scales) {
    rank_offset.push_back(0);
    for (const Layer& layer : net.layers)
        rank_offset.push_back(rank_offset.back() +
                              static_cast<size_t>(layer.slots) * static_cast<size_t>(layer.units));
}

template <int D>
bool ExactNet<D>::forward(const ExactGerm<D>& at, GermSigns& signs, std::vector<Int>* outputs,
                          StopToken* stop) const {
    const size_t levels = at.levels.size(), depth = net.layers.size();
    signs.unit.assign(static_cast<size_t>(net.unit_count), 0);
    signs.rank.assign(rank_offset.back(), 0);
    // Activations by layer and level, and which of them are not zero.
    std::vector<std::vector<std::vector<Int>>> activations(depth);
    std::vector<std::vector<int>> live(depth);
    std::vector<std::vector<Int>> now(levels);
    std::vector<int> slots;
    for (size_t l = 0; l <= depth; ++l) {
        if (l == depth && !outputs) return true;
        const ExactForm& form = net.exact_form(static_cast<int>(l));
        for (size_t v = 0; v < levels; ++v) {
            now[v].assign(static_cast<size_t>(form.rows), Int());
            for (int i = 0; i < form.rows; ++i) {
                const ExactLine<D>& row = input[l][i];
                Int& z = now[v][i];
                if (v == at.unit_level) z.add_mul(row.c, at.den);
                for (int k = 0; k < D; ++k)
                    if (!row.a[k].is_zero()) z.add_mul(row.a[k], at.levels[v][k]);
            }
            scale_all(now[v], scales.input[l]);
        }
        for (size_t b = 0; b < form.blocks.size(); ++b) {
            const ExactBlock& block = form.blocks[b];
            if (block.source == kInput) continue;
            const std::vector<int>& nonzero = live[block.source];
            for (size_t v = 0; v < levels; ++v) {
                const std::vector<Int>* from = &activations[block.source][v];
                std::vector<Int> scaled;
                if (!scales.block[l][b].is_one()) {
                    scaled = *from;
                    scale_all(scaled, scales.block[l][b]);
                    from = &scaled;
                }
                for (int i = 0; i < form.rows; ++i) {
                    if ((i & 15) == 0 && stop && stop->poll()) return false;
                    Int& z = now[v][i];
                    if (block.dense) {
                        const size_t first = block.first(i);
                        for (int j : nonzero)
                            block.add_term(z, first + static_cast<size_t>(j), (*from)[j]);
                    } else {
                        for (size_t k = block.first(i); k < block.last(i); ++k)
                            if (!(*from)[block.col[k]].is_zero())
                                block.add_term(z, k, (*from)[block.col[k]]);
                    }
                }
            }
        }
        if (l == depth) break;
        const Layer& layer = net.layers[l];
        auto& out = activations[l];
        if (layer.is_max()) {
            out.assign(levels, std::vector<Int>(static_cast<size_t>(layer.units)));
            uint16_t* rank = signs.rank.data() + rank_offset[l];
            for (int w = 0; w < layer.units; ++w) {
                rank_slots(now, layer, w, rank + w, slots);
                const int best = layer.entry(w, slots.back());
                for (size_t v = 0; v < levels; ++v) out[v][w] = now[v][best];
            }
        } else {
            int8_t* sign = signs.unit.data() + net.unit_offset[l];
            for (int i = 0; i < layer.units; ++i) {
                int s = 0;
                for (size_t v = 0; v < levels && s == 0; ++v) s = now[v][i].sign();
                sign[i] = static_cast<int8_t>(s);
                for (size_t v = 0; v < levels; ++v) apply_piece(layer, i, s > 0, now[v][i]);
            }
            out = now;
        }
        for (int i = 0; i < layer.units; ++i) {
            bool any = false;
            for (size_t v = 0; v < levels; ++v) any |= !out[v][i].is_zero();
            if (any) live[l].push_back(i);
        }
    }
    outputs->clear();
    for (std::vector<Int>& level : now)
        for (Int& z : level) outputs->push_back(std::move(z));
    return true;
}

template <int D>
ExactLine<D> ExactNet<D>::row(int layer, int entry, const uint8_t* pattern, int minus) const {
    ExactLine<D> out;
    pull_back(net, scales, layer, entry, minus, pattern, [&](int l, int i, const Int& weight) {
        out.c.add_mul(weight, input[l][i].c);
        for (int k = 0; k < D; ++k)
            if (!input[l][i].a[k].is_zero()) out.a[k].add_mul(weight, input[l][i].a[k]);
    });
    return out;
}

template <int D>
void ExactNet<D>::output_map(const uint8_t* pattern, ExactRows<D>& rows) const {
    rows.clear();
    for (int i = 0; i < net.output_size(); ++i)
        rows.push_back(row(static_cast<int>(net.layers.size()), i, pattern));
}

template <int D>
bool ExactNet<D>::output_ignores(int layer, int unit, const uint8_t* pattern) const {
    const int depth = static_cast<int>(net.layers.size());
    // What one more unit of the activation changes in the activations above, where anything.
    std::vector<std::vector<Int>> change(static_cast<size_t>(depth));
    change[layer].resize(static_cast<size_t>(net.layers[layer].units));
    change[layer][unit] = 1;
    std::vector<Int> z;
    for (int l = layer + 1; l <= depth; ++l) {
        const ExactForm& form = net.exact_form(l);
        z.clear();
        for (size_t b = 0; b < form.blocks.size(); ++b) {
            const ExactBlock& block = form.blocks[b];
            if (block.source == kInput || change[block.source].empty()) continue;
            std::vector<Int> from = change[block.source];
            scale_all(from, scales.block[l][b]);
            if (z.empty()) z.resize(static_cast<size_t>(form.rows));
            for (int i = 0; i < form.rows; ++i)
                for (size_t k = block.first(i); k < block.last(i); ++k)
                    if (!from[block.column(i, k)].is_zero())
                        block.add_term(z[i], k, from[block.column(i, k)]);
        }
        const auto nonzero = [](const std::vector<Int>& v) {
            return std::any_of(v.begin(), v.end(), [](const Int& x) { return !x.is_zero(); });
        };
        if (l == depth) return !nonzero(z);
        if (z.empty()) continue;
        const Layer& above = net.layers[l];
        std::vector<Int> out(static_cast<size_t>(above.units));
        for (int i = 0; i < above.units; ++i) {
            const int piece = net.piece(pattern, l, i);
            if (above.is_max()) {
                out[i] = z[above.entry(i, piece)];
            } else {
                out[i] = z[i];
                apply_piece(above, i, piece != 0, out[i]);
            }
        }
        if (nonzero(out)) change[l] = std::move(out);
    }
    return true;
}

template <int D>
void ExactNet<D>::pattern_of(const GermSigns& signs, uint8_t* pattern) const {
    for (size_t l = 0; l < net.layers.size(); ++l) {
        const Layer& layer = net.layers[l];
        const int number = static_cast<int>(l);
        for (int i = 0; i < layer.units; ++i) {
            int piece = 0;
            if (layer.is_max()) {
                const uint16_t* rank = signs.rank.data() + rank_offset[l] + i;
                int best = -1;
                for (int s = 0; s < layer.slots; ++s) {
                    if (layer.entry(i, s) < 0) continue;
                    const int here = rank[static_cast<size_t>(s) * layer.units];
                    if (here > best) best = here, piece = s;
                }
            } else {
                const int8_t sign = signs.unit[static_cast<size_t>(net.unit_offset[l] + i)];
                piece = sign > 0 && !layer.one_piece[i];
            }
            net.set_piece(pattern, number, i, piece);
        }
    }
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
    GermSigns signs;
    if (!net_.forward(ExactGerm<D>::of(entry.point), signs, outputs ? &entry.outputs : nullptr,
                      stop_))
        throw Stopped{};
    entry.rank = std::move(signs.rank);
    const size_t words = word_offset_.back();
    entry.signs.assign(2 * words + 1, 0);
    for (size_t l = 0; l < net_.net.layers.size(); ++l)
        for (int i = 0; i < net_.net.layers[l].units; ++i) {
            const int s = signs.unit[static_cast<size_t>(net_.net.unit_offset[l] + i)];
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
int PointTable<D>::window_sign(int32_t id, int layer, int window, int a, int b) {
    if (!evaluated(id)) evaluate(entries_[id], false);
    const size_t units = static_cast<size_t>(net_.net.layers[layer].units);
    const uint16_t* rank = entries_[id].rank.data() + net_.rank_offset[layer] + window;
    const int x = rank[static_cast<size_t>(a) * units], y = rank[static_cast<size_t>(b) * units];
    return (x > y) - (x < y);
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

#define PLV_INSTANTIATE(D)                                                            \
    template struct ExactPoint<D>;                                                    \
    template ExactPoint<D> intersect<D>(const ExactLine<D>* const* lines, int count); \
    template struct Frame<D>;                                                         \
    template struct ExactNet<D>;                                                      \
    template class PointTable<D>;
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
