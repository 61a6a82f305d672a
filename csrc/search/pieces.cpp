#include "search/pieces.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace plv {

namespace {
constexpr double kTie = 1e-9;  // of the largest value of a layer
}  // namespace

PieceMap::PieceMap(const BoundNet& net) : net_(net), kernels_(bound_kernels()) {
    const auto depth = static_cast<size_t>(net.depth);
    z_.resize(depth + 1);
    dz_.resize(depth + 1);
    a_.resize(depth);
    da_.resize(depth);
    back_.resize(depth);
    int most = std::max(net.dim, 1);
    for (size_t l = 0; l <= depth; ++l) {
        const BoundLayer& layer = net.layers[l];
        most = std::max(most, layer.rows);
        z_[l].resize(static_cast<size_t>(layer.rows));
        dz_[l].resize(static_cast<size_t>(layer.rows));
        if (l == depth) continue;
        const int units = net.net.layers[l].units;
        most = std::max(most, units);
        a_[l].resize(static_cast<size_t>(units));
        da_[l].resize(static_cast<size_t>(units));
        back_[l].resize(static_cast<size_t>(units) * kLane);
    }
    all_.resize(static_cast<size_t>(most));
    std::iota(all_.begin(), all_.end(), 0);
    input_.resize(static_cast<size_t>(most) * kLane);
}

void PieceMap::forward(const LinearMap& map, const double* from, double* to) const {
    if (map.empty()) return;
    if (!map.dense) {
        for (int r = 0; r < map.rows; ++r)
            for (size_t k = map.start[r]; k < map.start[r + 1]; ++k)
                to[r] += map.w[k] * from[map.col[k]];
        return;
    }
    const double* w = map.w.data();
    for (int r = 0; r < map.rows; ++r, w += map.cols) {
        double sum[8] = {};
        int c = 0;
        for (; c + 8 <= map.cols; c += 8)
            for (int t = 0; t < 8; ++t) sum[t] += w[c + t] * from[c + t];
        for (; c < map.cols; ++c) sum[0] += w[c] * from[c];
        to[r] += ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    }
}

void PieceMap::affine(int layer, const double* x, bool constant,
                      const std::vector<AlignedVector<double>>& from,
                      AlignedVector<double>& to) const {
    const BoundLayer& form = net_.layers[layer];
    if (constant)
        std::copy(form.bias.begin(), form.bias.end(), to.begin());
    else
        std::fill(to.begin(), to.end(), 0.0);
    forward(form.input, x, to.data());
    for (const BoundLayer::Block& block : form.blocks)
        forward(block.map, from[block.source].data(), to.data());
}

double PieceMap::through(const Layer& layer, int unit, int piece, const double* z) const {
    if (layer.is_max()) return z[layer.entry(unit, piece)];
    return piece || layer.one_piece[unit] ? z[unit] : layer.slope[unit] * z[unit];
}

void PieceMap::at(const double* x, Pieces& pieces) {
    pieces.resize(static_cast<size_t>(net_.net.unit_count));
    for (int l = 0; l <= net_.depth; ++l) {
        affine(l, x, true, a_, z_[l]);
        if (l == net_.depth) return;
        const Layer& layer = net_.net.layers[l];
        const double* z = z_[l].data();
        for (int i = 0; i < layer.units; ++i) {
            int32_t& piece = pieces[net_.unit(l, i)];
            if (layer.is_max()) {
                piece = -1;
                for (int s = 0; s < layer.slots; ++s)
                    if (layer.entry(i, s) >= 0 &&
                        (piece < 0 || z[layer.entry(i, s)] > z[layer.entry(i, piece)]))
                        piece = s;
            } else {
                piece = z[i] > 0.0 && !layer.one_piece[i];
            }
            a_[l][i] = through(layer, i, piece, z);
        }
    }
}

void PieceMap::evaluate(const double* x, const Pieces& pieces) {
    for (int l = 0; l <= net_.depth; ++l) {
        affine(l, x, true, a_, z_[l]);
        if (l == net_.depth) return;
        const Layer& layer = net_.net.layers[l];
        for (int i = 0; i < layer.units; ++i)
            a_[l][i] = through(layer, i, pieces[net_.unit(l, i)], z_[l].data());
    }
}

double PieceMap::scale(int layer) const {
    double out = 0.0;
    for (const double v : z_[layer]) out = std::max(out, std::fabs(v));
    return out;
}

void PieceMap::gradients(const std::vector<Entry>& entries, const Pieces& pieces, double* out) {
    const auto dim = static_cast<size_t>(net_.dim);
    for (size_t first = 0; first < entries.size(); first += kLane) {
        const size_t lanes = std::min(entries.size() - first, size_t{kLane});
        int top = 0;
        for (size_t k = 0; k < lanes; ++k) top = std::max(top, entries[first + k].layer);
        for (int l = 0; l < top; ++l) std::fill(back_[l].begin(), back_[l].end(), 0.0);
        std::fill_n(input_.begin(), dim * kLane, 0.0);
        for (int l = top; l >= 0; --l) {
            const BoundLayer& form = net_.layers[l];
            h_.assign(static_cast<size_t>(form.rows) * kLane, 0.0);
            if (l < top) {
                const Layer& layer = net_.net.layers[l];
                for (int i = 0; i < layer.units; ++i) {
                    const int piece = pieces[net_.unit(l, i)];
                    double factor = 1.0;
                    int row = i;
                    if (layer.is_max())
                        row = layer.entry(i, piece);
                    else if (!piece && !layer.one_piece[i])
                        factor = layer.slope[i];
                    if (factor == 0.0) continue;
                    for (size_t k = 0; k < kLane; ++k)
                        h_[static_cast<size_t>(row) * kLane + k] +=
                            factor * back_[l][static_cast<size_t>(i) * kLane + k];
                }
            }
            for (size_t k = 0; k < lanes; ++k) {
                const Entry& e = entries[first + k];
                if (e.layer != l) continue;
                h_[static_cast<size_t>(e.entry) * kLane + k] += 1.0;
                if (e.minus >= 0) h_[static_cast<size_t>(e.minus) * kLane + k] -= 1.0;
            }
            live_.clear();
            for (int r = 0; r < form.rows; ++r)
                for (size_t k = 0; k < kLane; ++k)
                    if (h_[static_cast<size_t>(r) * kLane + k] != 0.0) {
                        live_.push_back(r);
                        break;
                    }
            const auto backward = [&](const LinearMap& map, double* to) {
                const int rows = static_cast<int>(live_.size());
                if (map.empty() || rows == 0) return;
                if (map.dense)
                    kernels_.multiply({map.w.data(), 1, static_cast<size_t>(map.cols)}, all_.data(),
                                      map.cols, live_.data(), rows, h_.data(), to, kLane);
                else
                    kernels_.scatter(map.start.data(), map.col.data(), map.w.data(), live_.data(),
                                     rows, h_.data(), to, kLane);
            };
            for (const BoundLayer::Block& block : form.blocks)
                backward(block.map, back_[block.source].data());
            backward(form.input, input_.data());
        }
        for (size_t k = 0; k < lanes; ++k)
            for (size_t j = 0; j < dim; ++j) out[(first + k) * dim + j] = input_[j * kLane + k];
    }
}

void PieceMap::beyond(const double* x, const double* towards, const Facet& facet,
                      const std::vector<Facet>& held, const Pieces& pieces, Pieces& out) {
    out = pieces;
    const auto is_held = [&](int l, int i) {
        return std::any_of(held.begin(), held.end(),
                           [&](const Facet& f) { return f.of.layer == l && f.unit == i; });
    };
    for (int l = 0; l < net_.depth; ++l) {
        affine(l, x, true, a_, z_[l]);
        affine(l, towards, false, da_, dz_[l]);
        const Layer& layer = net_.net.layers[l];
        const double *z = z_[l].data(), *dz = dz_[l].data();
        const double tie = kTie * scale(l);
        for (int i = 0; i < layer.units; ++i) {
            int32_t& piece = out[net_.unit(l, i)];
            if (facet.of.layer == l && facet.unit == i) {
                piece = facet.piece;
            } else if (layer.is_max()) {
                const int32_t old = piece;
                double top = z[layer.entry(i, old)], steep = dz[layer.entry(i, old)];
                const bool keep = is_held(l, i);
                for (int s = 0; s < layer.slots; ++s) {
                    const int e = layer.entry(i, s);
                    if (e < 0 || s == old) continue;
                    const bool higher = z[e] > top + tie;
                    const bool steeper = !keep && z[e] >= top - tie && dz[e] > steep;
                    if (!higher && !steeper) continue;
                    top = higher ? z[e] : std::max(top, z[e]);
                    steep = dz[e];
                    piece = s;
                }
            } else if (!layer.one_piece[i]) {
                if (std::fabs(z[i]) > tie)
                    piece = z[i] > 0.0;
                else if (dz[i] != 0.0 && !is_held(l, i))
                    piece = dz[i] > 0.0;
            }
            a_[l][i] = through(layer, i, piece, z);
            da_[l][i] = through(layer, i, piece, dz);
        }
    }
}

}  // namespace plv
