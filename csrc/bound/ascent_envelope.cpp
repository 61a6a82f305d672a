// Envelopes of units in an ascent: see EnvelopeView in kernels.hpp.
#include <algorithm>
#include <cmath>
#include <map>

#include "bound/ascent.hpp"

namespace plv {

namespace {
constexpr size_t kMostWeights = 1 << 15;  // of a layer: their shares stay in the cache
constexpr int kGrainBits = 10;            // of the largest weight of a window
}  // namespace

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
    out->scratch.assign(3 * static_cast<size_t>(net_.dim) * kLanes, 0.0);
    sheets_[layer].envelope = std::move(out);
}

// All shares equal, as in the chord, where none are known.
void Ascent::begin_envelope(Envelope& envelope, int j, int first, int last, double slope,
                            double chord, const uint16_t* from) {
    const auto count = static_cast<size_t>(last - first);
    std::fill_n(&envelope.use[static_cast<size_t>(j * kLanes + first)], count, 1.0);
    for (size_t e = envelope.start[j]; e < envelope.start[j + 1]; ++e) {
        const double share = from ? std::max(slope, from[envelope.first + e] / 256.0) : chord;
        std::fill_n(&envelope.share[e * kLanes + static_cast<size_t>(first)], count, share);
    }
}

EnvelopeView Ascent::view_of(Sheet& sheet, int layer) {
    Envelope& of = *sheet.envelope;
    return {of.share.data(),
            of.mean.data(),
            sheet.over_lift.data(),
            of.scratch.data(),
            of.use.data(),
            lo_.data(),
            hi_.data(),
            net_.net.layers[layer].slope.data(),
            net_.layers[layer].bias.data(),
            of.start.data(),
            of.col.data(),
            of.w.data(),
            net_.dim};
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

// ------------------------------------------------------------------------------- windows

// Where what the windows read are ReLUs with envelopes, one each.
void Ascent::make_hull(int layer) {
    const Layer& windows = net_.net.layers[layer];
    const BoundLayer& form = net_.layers[layer];
    if (form.blocks.size() != 1 || !form.input.empty() || windows.slots >= kMostPieces) return;
    const int below = form.blocks[0].source;
    if (!sheets_[below].envelope) return;
    auto out = std::make_unique<Hull>();
    out->pieces = windows.slots + 1;
    out->first = coefficients_;
    for (int j = 0; j < windows.units; ++j) {
        out->start.push_back(out->col.size());
        const size_t columns = out->col.size(), pieces = out->bias.size();
        if (!add_hull(*sheets_[below].envelope, layer, below, j, *out)) {
            out->col.resize(columns);
            out->bias.resize(pieces + static_cast<size_t>(out->pieces), 0.0);
        }
        double most = 0.0;
        const auto stride = static_cast<size_t>(out->pieces);
        out->w.resize(out->col.size() * stride);
        for (size_t k = columns * stride; k < out->w.size(); ++k)
            most = std::max(most, std::fabs(out->w[k]));
        out->grain.push_back(most > 0.0 ? std::ldexp(1.0, std::ilogb(most) - kGrainBits) : 1.0);
    }
    out->start.push_back(out->col.size());
    coefficients_ += out->col.size();
    for (auto* one : {&out->coefficient, &out->mean}) one->assign(out->col.size() * kLanes, 0.0);
    out->use.assign(static_cast<size_t>(windows.units) * kLanes, 0.0);
    sheets_[layer].hull = std::move(out);
}

// The pieces of a window: 0, and what its ReLUs read; false where it reads something else.
bool Ascent::add_hull(const Envelope& rows, int layer, int below, int window, Hull& out) const {
    const Layer &windows = net_.net.layers[layer], &units = net_.net.layers[below];
    const BoundLayer& form = net_.layers[layer];
    std::map<int, std::vector<double>> columns;
    std::vector<double> bias(static_cast<size_t>(out.pieces), 0.0);
    for (int s = 0; s < windows.slots; ++s) {
        const int e = windows.entry(window, s);
        if (e < 0) continue;
        int unit = -1, count = 0;
        form.blocks[0].map.each(e, [&](int c, double w) {
            count += w != 0.0;
            if (w == 1.0) unit = c;
        });
        if (count != 1 || unit < 0 || form.bias[e] != 0.0 || units.slope[unit] != 0.0) return false;
        bias[s] = net_.layers[below].bias[unit];
        for (size_t k = rows.start[unit]; k < rows.start[unit + 1]; ++k) {
            std::vector<double>& to = columns[rows.col[k]];
            to.resize(static_cast<size_t>(out.pieces), 0.0);
            to[static_cast<size_t>(s)] = rows.w[k];
        }
    }
    out.bias.insert(out.bias.end(), bias.begin(), bias.end());
    for (const auto& [column, w] : columns) {
        out.col.push_back(column);
        out.w.insert(out.w.end(), w.begin(), w.end());
    }
    return true;
}

void Ascent::begin_hull(Hull& hull, int window, int first, int last, const float* from) {
    const auto count = static_cast<size_t>(last - first), pieces = static_cast<size_t>(hull.pieces);
    std::fill_n(&hull.use[static_cast<size_t>(window * kLanes + first)], count, 1.0);
    for (size_t e = hull.start[window]; e < hull.start[window + 1]; ++e) {
        double c = 0.0;
        for (size_t p = 0; p < pieces && !from; ++p)
            c += hull.w[e * pieces + p] / static_cast<double>(pieces);
        if (from) c = from[hull.first + e];
        std::fill_n(&hull.coefficient[e * kLanes + static_cast<size_t>(first)], count, c);
    }
}

HullView Ascent::view_of(Sheet& sheet, const AlignedVector<double>& lo,
                         const AlignedVector<double>& hi) {
    Hull& of = *sheet.hull;
    return {of.coefficient.data(), of.mean.data(),  sheet.over_lift.data(),
            of.use.data(),         lo.data(),       hi.data(),
            of.grain.data(),       of.start.data(), of.col.data(),
            of.w.data(),           of.bias.data(),  of.pieces};
}

void Ascent::show_hull(const Sheet& sheet, int layer, int window, int lane) {
    HullCoefficients& out = shown_[lane].hulls.emplace_back();
    out.layer = layer;
    out.window = window;
    const Hull& of = *sheet.hull;
    const double grain = of.grain[window];
    for (size_t e = of.start[window]; e < of.start[window + 1]; ++e) {
        const double c = of.coefficient[e * kLanes + static_cast<size_t>(lane)];
        const double whole = std::nearbyint(c / grain);
        if (whole != 0.0) out.coefficients.emplace_back(of.col[e], whole * grain);
    }
}

}  // namespace plv
