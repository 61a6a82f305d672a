// What comes out of an ascent: bounds, multipliers that show them, where to go on, losses.
#include <algorithm>
#include <cmath>
#include <limits>

#include "bound/ascent.hpp"

namespace plv {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kUnset = -2e30F;  // as where an ascent begins
constexpr double kSure = 1e-9;    // of the terms of a sum, as there
}  // namespace

double Ascent::size(int lane) const {
    double sum = 0.0;
    for (size_t g = 0; g < goals_.size(); ++g) {
        double one = std::fabs(goals_[g].constant);
        for (int k = 0; k < net_.dim && goals_[g].slope; ++k) one += std::fabs(goals_[g].slope[k]);
        sum += weight_[lane][g] * one;
    }
    for (const int r : out_rows_)
        sum +=
            std::fabs(out_h_[static_cast<size_t>(r) * kLanes + lane]) * net_.layers[top_].size[r];
    for (int l = 0; l < top_; ++l) {
        const Sheet& sheet = sheets_[l];
        if (!sheet.touched) continue;
        for (const int r : sheet.rows)
            sum +=
                std::fabs(sheet.h[static_cast<size_t>(r) * kLanes + lane]) * net_.layers[l].size[r];
        for (const int u : sheet.live) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            const double g = sheet.g[at];
            const bool lifted = g <= 0.0 || !net_.net.layers[l].is_max();
            if (lifted)
                sum += std::fabs(g * (g > 0.0 ? sheet.under_lift[at] : sheet.over_lift[at]));
            if (g < 0.0 && sheet.envelope && sheet.envelope->use[at] > 0.0)
                sum += std::fabs(g) * net_.layers[l].size[u];
            if (g < 0.0 && sheet.hull && sheet.hull->use[at] > 0.0)
                for (size_t e = sheet.hull->start[u]; e < sheet.hull->start[u + 1]; ++e) {
                    const size_t i = static_cast<size_t>(sheet.hull->col[e]) * kLanes + lane;
                    sum += std::fabs(g * sheet.hull->coefficient[e * kLanes + lane]) *
                           std::max(std::fabs(lo_[i]), std::fabs(hi_[i]));
                }
        }
    }
    return sum;
}

double Ascent::last(int lane) {
    show(lane);
    return constant_[lane] - kSure * size(lane);
}

void Ascent::show(int lane) {
    Shown& out = shown_[lane];
    out.open.clear();
    out.envelopes.clear();
    out.hulls.clear();
    out.splits = split_[lane];
    out.goals = weight_[lane];
    out.ball = ball_ != nullptr ? ball_multiplier_[lane] : 0.0;
    for (int l = top_ - 1; l >= 0; --l) {
        const Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        for (const int u : sheet.live) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            const double g = sheet.g[at];
            if (g == 0.0) continue;
            if (!layer.is_max()) {
                if (g < 0.0 && sheet.envelope && sheet.envelope->use[at] > 0.0)
                    show_envelope(sheet, l, u, lane);
                else if (sheet.open[at] != 0.0)
                    out.open.push_back(
                        {l, u, 0, g * (g > 0.0 ? sheet.under[at] : sheet.over[at]), g, false});
                continue;
            }
            if (sheet.fixed[at]) continue;
            if (g < 0.0 && sheet.hull && sheet.hull->use[at] > 0.0) {
                show_hull(sheet, l, u, lane);
                continue;
            }
            for (int s = 0; s < layer.slots; ++s) {
                const size_t own = static_cast<size_t>((u * layer.slots + s) * kLanes + lane);
                const double part = g > 0.0 ? sheet.under[own] : sheet.over[own];
                if (layer.entry(u, s) >= 0 && part != 0.0)
                    out.open.push_back({l, u, s, g * part, g, true});
            }
        }
    }
}

void Ascent::store(int lane, Climb& to) const {
    to.slopes.assign(static_cast<size_t>(net_.net.unit_count), kUnset);
    to.pulls.assign(static_cast<size_t>(net_.net.unit_count), 0.0F);
    to.splits = split_[lane];
    to.goals = exponent_[lane];
    to.shares.clear();
    to.levels.clear();
    to.envelopes.clear();
    to.hulls.clear();
    for (int l = 0; l < top_; ++l) {
        const Sheet& sheet = sheets_[l];
        for (const int u : sheet.moving)
            if (sheet.touched)
                to.pulls[net_.unit(l, u)] =
                    static_cast<float>(sheet.g[static_cast<size_t>(u) * kLanes + lane]);
        if (net_.net.layers[l].is_max()) {
            for (size_t at = static_cast<size_t>(lane); at < sheet.under.size(); at += kLanes)
                to.shares.push_back(static_cast<float>(sheet.under[at]));
            for (size_t at = static_cast<size_t>(lane); at < sheet.level.size(); at += kLanes)
                to.levels.push_back(static_cast<float>(sheet.level[at]));
            if (sheet.hull)
                for (size_t at = static_cast<size_t>(lane); at < sheet.hull->coefficient.size();
                     at += kLanes)
                    to.hulls.push_back(static_cast<float>(sheet.hull->coefficient[at]));
            continue;
        }
        for (const int u : sheet.moving) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            if (sheet.open[at] != 0.0)
                to.slopes[net_.unit(l, u)] = static_cast<float>(
                    net_.net.layers[l].slope[u] > 1.0 ? sheet.over[at] : sheet.under[at]);
        }
        if (sheet.envelope)
            for (size_t at = static_cast<size_t>(lane); at < sheet.envelope->share.size();
                 at += kLanes)
                to.envelopes.push_back(
                    static_cast<uint16_t>(std::lrint(256.0 * sheet.envelope->share[at])));
    }
}

void Ascent::point(int lane, double* s) const {
    for (int k = 0; k < net_.dim; ++k) s[k] = point_[static_cast<size_t>(k) * kLanes + lane];
}

void Ascent::losses(int lane, std::vector<Loss>& out) const {
    out.clear();
    for (int l = 0; l < top_; ++l) {
        const Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        for (const int u : layer.is_max() ? sheet.live : sheet.moving) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            Loss loss{0.0, l, u};
            const double g = sheet.g[at];
            if (!layer.is_max()) {
                if (sheet.open[at] == 0.0) continue;
                const double z = sheet.mean_z[at], a = sheet.mean_a[at], s = layer.slope[u];
                const double first = std::fabs(g * (a - z)), second = std::fabs(g * (a - s * z));
                const bool chord = (g < 0.0) == (s < 1.0);
                loss.loss = chord ? first + second : z > 0.0 ? first : second;
            } else {
                if (sheet.fixed[at]) continue;
                const double a = sheet.mean_a[at];
                double most = -kInfinity, sum = 0.0;
                int pieces = 0;
                for (int s = 0; s < layer.slots; ++s) {
                    const int e = layer.entry(u, s);
                    if (e < 0) continue;
                    const double z = sheet.mean_z[static_cast<size_t>(e) * kLanes + lane];
                    most = std::max(most, z);
                    // Slots that are never the largest have no piece.
                    const size_t own = static_cast<size_t>((u * layer.slots + s) * kLanes + lane);
                    if (sheet.under[own] > 0.0) sum += std::fabs(a - z), ++pieces;
                }
                loss.loss = std::fabs(g) * (g < 0.0 ? sum / pieces : std::fabs(most - a));
                if (sheet.open[at] == 0.0) loss.loss = -1.0;
            }
            if (!sheet.touched && loss.loss > 0.0) loss.loss = 0.0;
            out.push_back(loss);
        }
    }
}

}  // namespace plv
