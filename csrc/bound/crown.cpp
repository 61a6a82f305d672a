#include "bound/crown.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace plv {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSure = 1e-9;
constexpr double kTie = 1 + 0x1p-10;  // as in docs/proof_format.md
}  // namespace

// Rows that are being pulled back: coefficients of the activations of each layer (empty: none),
// of the input, and constants.
struct Crown::Batch {
    std::vector<std::vector<double>> units;
    std::vector<double> input, constant;
    double size = 0.0;  // of all terms of `input` and `constant`
};

Crown::Crown(const Net& net, int dim, std::vector<const double*> input)
    : net_(net), dim_(dim), depth_(static_cast<int>(net.layers.size())) {
    for (int l = 0; l <= depth_; ++l) {
        const FloatForm& from = net.float_form(l);
        Form form;
        form.rows = from.rows;
        const size_t stride = static_cast<size_t>(padded(from.rows));
        for (const FloatBlock& b : from.blocks) {
            Block block{b.source, b.cols,
                        std::vector<double>(static_cast<size_t>(from.rows) * b.cols)};
            const auto put = [&](int row, int col, double v) {
                if (row < from.rows) block.w[static_cast<size_t>(row) * b.cols + col] = v;
            };
            for (int c = 0; c < b.cols; ++c) {
                if (b.dense) {
                    for (int r = 0; r < from.rows; ++r) put(r, c, b.w[c * stride + r]);
                } else {
                    for (size_t g = b.start[c]; g < b.start[c + 1]; ++g)
                        for (int i = 0; i < kPad; ++i)
                            put(b.group[g] * kPad + i, c, b.values[g * kPad + i]);
                }
            }
            form.blocks.push_back(std::move(block));
        }
        for (int r = 0; r < from.rows; ++r) {
            for (int k = 0; k < dim; ++k)
                form.input.push_back(input[l][static_cast<size_t>(k) * stride + r]);
            form.bias.push_back(input[l][static_cast<size_t>(dim) * stride + r]);
            double size = std::fabs(form.bias.back());
            for (int k = 0; k < dim; ++k)
                size += std::fabs(input[l][static_cast<size_t>(k) * stride + r]);
            form.size.push_back(size);
        }
        forms_.push_back(std::move(form));
    }
}

Crown::Fixed Crown::nothing_fixed() const {
    Fixed out;
    for (const Layer& layer : net_.layers) out.emplace_back(static_cast<size_t>(layer.units), -1);
    return out;
}

LayerBounds Crown::no_bounds() const {
    LayerBounds out;
    for (int l = 0; l < depth_; ++l) {
        out.lo.emplace_back(static_cast<size_t>(forms_[l].rows), -kInfinity);
        out.hi.emplace_back(static_cast<size_t>(forms_[l].rows), kInfinity);
    }
    return out;
}

int Crown::known(double lo, double hi) {
    const double sure = kSure * std::max({1e-3, std::fabs(lo), std::fabs(hi)});
    return lo > sure ? 1 : hi < -sure ? 0 : -1;
}

// The range of an activation.
void Crown::unit_range(int l, int unit, const Fixed& fixed, const LayerBounds& bounds, double& lo,
                       double& hi) const {
    const Layer& layer = net_.layers[l];
    const auto& zl = bounds.lo[l];
    const auto& zh = bounds.hi[l];
    if (layer.is_max()) {
        lo = hi = -kInfinity;
        for (int s = 0; s < layer.slots; ++s) {
            const int e = layer.entry(unit, s);
            if (e < 0) continue;
            if (fixed[l][unit] == s) {
                lo = std::max(lo, zl[e]), hi = zh[e];
                return;
            }
            lo = std::max(lo, zl[e]), hi = std::max(hi, zh[e]);
        }
        return;
    }
    const double s = layer.one_piece[unit] ? 1.0 : layer.slope[unit];
    const int piece = layer.one_piece[unit] ? 1 : fixed[l][unit];
    const auto value = [&](double z) { return z > 0.0 || piece == 1 ? z : s * z; };
    const double a = value(zl[unit]), b = value(zh[unit]);
    lo = std::min(a, b), hi = std::max(a, b);
    if (zl[unit] < 0.0 && zh[unit] > 0.0 && piece < 0)
        lo = std::min(lo, 0.0), hi = std::max(hi, 0.0);
}

bool Crown::tighten(const double* lo, const double* hi, const Fixed& fixed,
                    LayerBounds& bounds) const {
    std::vector<std::vector<double>> ulo(static_cast<size_t>(depth_)), uhi = ulo;
    std::vector<double> a;
    for (int l = 0; l < depth_; ++l) {
        const Form& form = forms_[l];
        auto& zl = bounds.lo[l];
        auto& zh = bounds.hi[l];
        std::vector<int> open;
        for (int r = 0; r < form.rows; ++r) {
            double x = form.bias[r], y = form.bias[r];
            const auto add = [&](double w, double u, double v) {
                x += w > 0.0 ? w * u : w * v;
                y += w > 0.0 ? w * v : w * u;
            };
            for (int k = 0; k < dim_; ++k)
                add(form.input[static_cast<size_t>(r) * dim_ + k], lo[k], hi[k]);
            for (const Block& block : form.blocks)
                for (int c = 0; c < block.cols; ++c) {
                    const double w = block.w[static_cast<size_t>(r) * block.cols + c];
                    if (w != 0.0) add(w, ulo[block.source][c], uhi[block.source][c]);
                }
            zl[r] = std::max(zl[r], x), zh[r] = std::min(zh[r], y);
            if (l > 0 && (net_.layers[l].is_max() || known(zl[r], zh[r]) < 0)) open.push_back(r);
        }
        for (int sign : {1, -1}) {
            if (open.empty()) break;
            const size_t m = open.size();
            a.assign(m * static_cast<size_t>(form.rows), 0.0);
            for (size_t i = 0; i < m; ++i)
                a[i * static_cast<size_t>(form.rows) + static_cast<size_t>(open[i])] = sign;
            Batch batch;
            batch.units.resize(static_cast<size_t>(depth_));
            batch.input.assign(m * static_cast<size_t>(dim_), 0.0);
            batch.constant.assign(m, 0.0);
            push(l, a, m, batch);
            for (int k = l - 1; k >= 0; --k) pull(k, m, 1, fixed, bounds, batch, nullptr, nullptr);
            for (size_t i = 0; i < m; ++i) {
                double v = batch.constant[i];
                for (int k = 0; k < dim_; ++k) {
                    const double c = batch.input[i * static_cast<size_t>(dim_) + k];
                    v += c * (c > 0.0 ? lo[k] : hi[k]);
                }
                if (sign > 0)
                    zl[open[i]] = std::max(zl[open[i]], v);
                else
                    zh[open[i]] = std::min(zh[open[i]], -v);
            }
        }
        const Layer& layer = net_.layers[l];
        for (int i = 0; !layer.is_max() && i < layer.units; ++i) {
            if (fixed[l][i] == 1) zl[i] = std::max(zl[i], 0.0);
            if (fixed[l][i] == 0) zh[i] = std::min(zh[i], 0.0);
        }
        for (int r = 0; r < form.rows; ++r) {
            const double gap = kSure * std::max({1e-3, std::fabs(zl[r]), std::fabs(zh[r])});
            if (zl[r] > zh[r] + gap) return false;
            if (zl[r] > zh[r]) zl[r] = zh[r] = (zl[r] + zh[r]) / 2;
        }
        ulo[l].resize(static_cast<size_t>(layer.units));
        uhi[l].resize(static_cast<size_t>(layer.units));
        for (int i = 0; i < layer.units; ++i) unit_range(l, i, fixed, bounds, ulo[l][i], uhi[l][i]);
    }
    return true;
}

// Adds a . pre-activations of a layer, a being m rows, to what they come from.
void Crown::push(int layer, const std::vector<double>& a, size_t m, Batch& batch) const {
    const Form& form = forms_[layer];
    const auto rows = static_cast<size_t>(form.rows), d = static_cast<size_t>(dim_);
    const auto spread = [&](const std::vector<double>& w, size_t cols, std::vector<double>& to) {
        for (size_t i = 0; i < m; ++i)
            for (size_t r = 0; r < rows; ++r) {
                const double v = a[i * rows + r];
                if (v == 0.0) continue;
                const double* from = w.data() + r * cols;
                double* out = to.data() + i * cols;
                for (size_t c = 0; c < cols; ++c) out[c] += v * from[c];
            }
    };
    for (const Block& block : form.blocks) {
        auto& to = batch.units[block.source];
        const auto cols = static_cast<size_t>(block.cols);
        if (to.empty()) to.assign(m * cols, 0.0);
        spread(block.w, cols, to);
    }
    spread(form.input, d, batch.input);
    for (size_t i = 0; i < m; ++i)
        for (size_t r = 0; r < rows; ++r) {
            const double v = a[i * rows + r];
            if (v == 0.0) continue;
            batch.constant[i] += v * form.bias[r];
            batch.size += std::fabs(v) * form.size[r];
        }
}

// Replaces a layer's activations by linear functions of its pre-activations that are below
// (sign 1) where the coefficient is positive and above where it is negative.
void Crown::pull(int layer, size_t m, int sign, const Fixed& fixed, const LayerBounds& bounds,
                 Batch& batch, std::vector<LinearBound::Multiplier>* multipliers,
                 const Values* values) const {
    if (batch.units[layer].empty()) return;
    const std::vector<double> g = std::move(batch.units[layer]);
    batch.units[layer].clear();
    const Layer& from = net_.layers[layer];
    const auto units = static_cast<size_t>(from.units);
    const auto rows = static_cast<size_t>(forms_[layer].rows);
    std::vector<double> a(m * rows, 0.0);
    for (int j = 0; j < from.units; ++j) {
        const auto at = static_cast<size_t>(j);
        if (from.is_max()) {
            int best = -1, leader = -1;
            double top = -kInfinity;
            for (int s = 0; s < from.slots; ++s) {
                const int e = from.entry(j, s);
                if (e < 0) continue;
                if (fixed[layer][at] == s) leader = s;
                if (best < 0 || bounds.lo[layer][e] > bounds.lo[layer][from.entry(j, best)])
                    best = s;
                top = std::max(top, bounds.hi[layer][e]);
            }
            if (leader < 0) {
                bool leads = true;
                for (int s = 0; s < from.slots; ++s) {
                    const int e = from.entry(j, s);
                    if (e >= 0 && s != best &&
                        bounds.hi[layer][e] > bounds.lo[layer][from.entry(j, best)])
                        leads = false;
                }
                // A free window is listed with its multiplier even where one slot leads.
                for (size_t i = 0; i < m; ++i) {
                    const double v = g[i * units + at];
                    if (v == 0.0) continue;
                    if (sign * v > 0.0 || leads) {
                        const int e = from.entry(j, best);
                        a[i * rows + static_cast<size_t>(e)] += v;
                        if (multipliers) multipliers->push_back({layer, j, best, v, v, true});
                    } else {
                        batch.constant[i] += v * top;
                        batch.size += std::fabs(v * top);
                    }
                }
                continue;
            }
            const auto e = static_cast<size_t>(from.entry(j, leader));
            for (size_t i = 0; i < m; ++i) a[i * rows + e] += g[i * units + at];
            continue;
        }
        const double l = bounds.lo[layer][at], u = bounds.hi[layer][at];
        const double s = from.one_piece[at] ? 1.0 : from.slope[at];
        int piece = from.one_piece[at] ? 1 : fixed[layer][at];
        if (piece < 0) piece = known(l, u);
        if (piece >= 0) {
            const double slope = piece ? 1.0 : s;
            if (slope != 0.0)
                for (size_t i = 0; i < m; ++i) a[i * rows + at] = slope * g[i * units + at];
            continue;
        }
        // The chord, and the line through zero that is nearer.
        const double lo = std::min(l, 0.0), hi = std::max(u, 0.0);
        const double chord = hi > lo ? (hi - s * lo) / (hi - lo) : 1.0;
        const double lift = hi - chord * hi;
        const double line = (values ? (*values)[layer][at] > 0.0 : hi > kTie * -lo) ? 1.0 : s;
        const bool convex = s < 1.0;
        for (size_t i = 0; i < m; ++i) {
            const double v = g[i * units + at];
            if (v == 0.0) continue;
            const bool through_zero = (sign * v > 0.0) == convex;
            a[i * rows + at] = v * (through_zero ? line : chord);
            if (!through_zero) batch.constant[i] += v * lift, batch.size += std::fabs(v * lift);
            if (multipliers)
                multipliers->push_back({layer, j, 0, a[i * rows + at], v, !through_zero});
        }
    }
    push(layer, a, m, batch);
}

void Crown::below(int layer, const std::vector<double>& coefficients, const double* slope,
                  double constant, const double* lo, const double* hi, const Fixed& fixed,
                  const LayerBounds& bounds, LinearBound& out, const Values* at) const {
    Batch batch;
    batch.units.resize(static_cast<size_t>(depth_));
    batch.input.assign(slope, slope + dim_);
    batch.constant.assign(1, constant);
    out.multipliers.clear();
    push(layer, coefficients, 1, batch);
    for (int k = layer - 1; k >= 0; --k) pull(k, 1, 1, fixed, bounds, batch, &out.multipliers, at);
    out.size = batch.size + std::fabs(constant);
    for (int k = 0; k < dim_; ++k) out.size += std::fabs(slope[k]);
    out.slope = std::move(batch.input);
    out.constant = batch.constant[0];
    out.least = out.constant;
    for (int k = 0; k < dim_; ++k) out.least += out.slope[k] * (out.slope[k] > 0.0 ? lo[k] : hi[k]);
}

Crown::Values Crown::values(const double* s) const {
    Values out;
    std::vector<std::vector<double>> units;
    for (int l = 0;; ++l) {
        const Form& form = forms_[l];
        std::vector<double> z(form.bias);
        for (int r = 0; r < form.rows; ++r) {
            for (int k = 0; k < dim_; ++k)
                z[r] += form.input[static_cast<size_t>(r) * dim_ + k] * s[k];
            for (const Block& block : form.blocks)
                for (int c = 0; c < block.cols; ++c)
                    z[r] +=
                        block.w[static_cast<size_t>(r) * block.cols + c] * units[block.source][c];
        }
        out.push_back(std::move(z));
        if (l == depth_) return out;
        const std::vector<double>& at = out.back();
        const Layer& layer = net_.layers[l];
        std::vector<double> a(static_cast<size_t>(layer.units), -kInfinity);
        for (int i = 0; i < layer.units; ++i) {
            if (layer.is_max()) {
                for (int k = 0; k < layer.slots; ++k)
                    if (layer.entry(i, k) >= 0) a[i] = std::max(a[i], at[layer.entry(i, k)]);
            } else {
                a[i] = at[i] > 0.0 || layer.one_piece[i] ? at[i] : layer.slope[i] * at[i];
            }
        }
        units.push_back(std::move(a));
    }
}

double Crown::gap(int layer, int unit, double z, const LayerBounds& bounds) const {
    const double lo = std::min(bounds.lo[layer][unit], 0.0),
                 hi = std::max(bounds.hi[layer][unit], 0.0);
    if (!(hi > lo)) return 0.0;
    const double s = net_.layers[layer].slope[unit], chord = (hi - s * lo) / (hi - lo);
    z = std::clamp(z, lo, hi);
    return std::fabs(chord * (z - hi) + hi - (z > 0.0 ? z : s * z));
}

}  // namespace plv
