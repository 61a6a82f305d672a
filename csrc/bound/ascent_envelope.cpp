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
