// Envelopes of units in an ascent: see EnvelopeView in kernels.hpp.
#include <algorithm>
#include <cmath>

#include "bound/ascent.hpp"

namespace plv {

namespace {
constexpr size_t kMostWeights = 1 << 15;  // of a layer: their shares stay in the cache
}

// Where a proof can name what the units of a layer read, and that is the input alone.
void Ascent::make_envelope(int layer) {
    const BoundLayer& form = net_.layers[layer];
    const LinearMap& map = form.input;
    if (!net_.net.layers[layer].direct || !form.blocks.empty() || map.empty() ||
        map.w.size() > kMostWeights)
        return;
    auto out = std::make_unique<Envelope>();
    for (int r = 0; r < form.rows; ++r) {
        out->start.push_back(out->w.size());
        map.each(r, [&](int c, double w) {
            if (w == 0.0) return;
            out->col.push_back(c);
            out->w.push_back(w);
        });
    }
    out->start.push_back(out->w.size());
    out->first = shares_;
    shares_ += out->w.size();
    for (auto* one : {&out->share, &out->mean}) one->assign(out->w.size() * kLanes, 0.0);
    out->use.assign(static_cast<size_t>(form.rows) * kLanes, 0.0);
    sheets_[layer].envelope = std::move(out);
}

// All shares equal, as in the chord, where none are known.
void Ascent::begin_envelope(Envelope& envelope, int j, int first, int last, double slope,
                            double chord, const uint8_t* from) {
    const auto count = static_cast<size_t>(last - first);
    std::fill_n(&envelope.use[static_cast<size_t>(j * kLanes + first)], count, 1.0);
    for (size_t e = envelope.start[j]; e < envelope.start[j + 1]; ++e) {
        const double share = from ? std::max(slope, from[envelope.first + e] / 255.0) : chord;
        std::fill_n(&envelope.share[e * kLanes + static_cast<size_t>(first)], count, share);
    }
}

void Ascent::make_hull(int layer) {
    if (getenv("PLV_NOHULL")) return;
    const Layer& windows = net_.net.layers[layer];
    const BoundLayer& form = net_.layers[layer];
    if (form.blocks.size() != 1 || !form.input.empty()) return;
    const int below = form.blocks[0].source;
    const Layer& units = net_.net.layers[below];
    if (units.is_max() || !sheets_[below].envelope || windows.slots > 15) return;
    const Envelope& rows = *sheets_[below].envelope;
    auto out = std::make_unique<Hull>();
    out->pieces = windows.slots + 1;
    out->first = hulls_;
    for (int j = 0; j < windows.units; ++j) {
        out->start.push_back(out->col.size());
        std::vector<std::vector<double>> at(static_cast<size_t>(net_.dim));
        std::vector<double> bias(static_cast<size_t>(out->pieces), 0.0);
        bool there = true;
        for (int s = 0; s < windows.slots; ++s) {
            const int e = windows.entry(j, s);
            if (e < 0) continue;
            int unit = -1, count = 0;
            form.blocks[0].map.each(e, [&](int c, double w) {
                if (w == 0.0) return;
                ++count;
                if (w == 1.0) unit = c;
            });
            if (count != 1 || unit < 0 || form.bias[e] != 0.0 || units.slope[unit] != 0.0 ||
                units.one_piece[unit]) {
                there = false;
                break;
            }
            bias[static_cast<size_t>(s)] = net_.layers[below].bias[unit];
            for (size_t k = rows.start[unit]; k < rows.start[unit + 1]; ++k) {
                auto& to = at[static_cast<size_t>(rows.col[k])];
                to.resize(static_cast<size_t>(out->pieces), 0.0);
                to[static_cast<size_t>(s)] = rows.w[k];
            }
        }
        out->there.push_back(there);
        out->bias.insert(out->bias.end(), bias.begin(), bias.end());
        for (int c = 0; c < net_.dim && there; ++c) {
            if (at[static_cast<size_t>(c)].empty()) continue;
            out->col.push_back(c);
            const auto& w = at[static_cast<size_t>(c)];
            out->w.insert(out->w.end(), w.begin(), w.end());
        }
    }
    out->start.push_back(out->col.size());
    hulls_ += out->col.size();
    for (auto* one : {&out->coefficient, &out->mean}) one->assign(out->col.size() * kLanes, 0.0);
    out->use.assign(static_cast<size_t>(windows.units) * kLanes, 0.0);
    sheets_[layer].hull = std::move(out);
}

void Ascent::begin_hull(Sheet& sheet, const Layer& layer, int j, int first, int last,
                        const float* from) {
    Hull& hull = *sheet.hull;
    const auto count = static_cast<size_t>(last - first);
    std::fill_n(&hull.use[static_cast<size_t>(j * kLanes + first)], count, 1.0);
    for (size_t e = hull.start[j]; e < hull.start[j + 1]; ++e) {
        double c = 0.0;
        if (from) {
            c = from[hull.first + e];
        } else {
            for (int p = 0; p < layer.slots; ++p)
                c += hull.w[e * static_cast<size_t>(hull.pieces) + static_cast<size_t>(p)];
            c /= layer.slots + 1;
        }
        std::fill_n(&hull.coefficient[e * kLanes + static_cast<size_t>(first)], count, c);
    }
}

HullView Ascent::hull_view(Sheet& sheet) {
    Hull& of = *sheet.hull;
    return {of.coefficient.data(), of.mean.data(), sheet.over_lift.data(), of.use.data(),
            lo_.data(), hi_.data(), of.start.data(), of.col.data(), of.w.data(), of.bias.data(),
            of.pieces};
}

EnvelopeView Ascent::view_of(Sheet& sheet, int layer) {
    Envelope& of = *sheet.envelope;
    return {of.share.data(),
            of.mean.data(),
            sheet.over_lift.data(),
            of.use.data(),
            lo_.data(),
            hi_.data(),
            net_.net.layers[layer].slope.data(),
            net_.layers[layer].bias.data(),
            of.start.data(),
            of.col.data(),
            of.w.data()};
}

void Ascent::show_envelope(const Sheet& sheet, int layer, int unit, int lane) {
    EnvelopeShares& out = shown_[lane].envelopes.emplace_back();
    out.layer = layer;
    out.unit = unit;
    const Envelope& of = *sheet.envelope;
    for (size_t e = of.start[unit]; e < of.start[unit + 1]; ++e) {
        const auto share = static_cast<int>(
            std::nearbyint(256.0 * of.share[e * kLanes + static_cast<size_t>(lane)]));
        if (share > 0) out.shares.emplace_back(of.col[e], share);
    }
}

}  // namespace plv
