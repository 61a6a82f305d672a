#include "bound/points.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace plv {

Points::Points(const BoundNet& net) : net_(net), kernels_(bound_kernels()) {
    const auto depth = static_cast<size_t>(net.depth);
    z_.resize(depth + 1);
    a_.resize(depth);
    g_.resize(depth);
    int most = net.dim;
    for (const BoundLayer& layer : net.layers) {
        most = std::max(most, layer.rows);
        for (const BoundLayer::Block& block : layer.blocks) most = std::max(most, block.map.cols);
    }
    for (const Layer& layer : net.net.layers) {
        slope_.push_back(layer.slope);
        for (int i = 0; i < layer.units && !layer.is_max(); ++i)
            if (layer.one_piece[i]) slope_.back()[i] = 1.0;
    }
    all_.resize(static_cast<size_t>(most));
    std::iota(all_.begin(), all_.end(), 0);
}

void Points::resize(int count) {
    lanes_ = whole_lanes(count);
    const auto lanes = static_cast<size_t>(lanes_);
    s_.assign(static_cast<size_t>(std::max(net_.dim, 1)) * lanes, 0.0);  // never a null pointer
    evaluated_.clear();
    for (size_t l = 0; l < z_.size(); ++l) {
        z_[l].resize(static_cast<size_t>(net_.layers[l].rows) * lanes);
        if (l < a_.size()) a_[l].resize(static_cast<size_t>(net_.net.layers[l].units) * lanes);
    }
}

void Points::set(int lane, const double* s) {
    for (int k = 0; k < net_.dim; ++k) at(k, lane) = s[k];
}

void Points::get(int lane, double* s) const {
    for (int k = 0; k < net_.dim; ++k) s[k] = s_[static_cast<size_t>(k * lanes_ + lane)];
}

void Points::forward(const LinearMap& map, const double* from, double* to) const {
    if (map.dense)
        kernels_.multiply({map.w.data(), static_cast<size_t>(map.cols), 1}, all_.data(), map.rows,
                          all_.data(), map.cols, from, to, lanes_);
    else
        kernels_.gather(map.start.data(), map.col.data(), map.w.data(), map.by_length.data(),
                        map.rows, from, to, lanes_);
}

void Points::backward(const LinearMap& map, const double* from, double* to) const {
    if (map.dense)
        kernels_.multiply({map.w.data(), 1, static_cast<size_t>(map.cols)}, all_.data(), map.cols,
                          all_.data(), map.rows, from, to, lanes_);
    else
        kernels_.scatter(map.start.data(), map.col.data(), map.w.data(), all_.data(), map.rows,
                         from, to, lanes_);
}

void Points::evaluate() {
    if (s_ == evaluated_) return;
    evaluated_ = s_;
    const auto lanes = static_cast<size_t>(lanes_);
    for (int l = 0; l <= net_.depth; ++l) {
        const BoundLayer& form = net_.layers[l];
        AlignedVector<double>& z = z_[l];
        for (size_t r = 0; r < static_cast<size_t>(form.rows); ++r)
            std::fill_n(&z[r * lanes], lanes, form.bias[r]);
        if (!form.input.empty()) forward(form.input, s_.data(), z.data());
        for (const BoundLayer::Block& block : form.blocks)
            forward(block.map, a_[block.source].data(), z.data());
        if (l == net_.depth) break;
        const Layer& layer = net_.net.layers[l];
        AlignedVector<double>& a = a_[l];
        if (!layer.is_max()) {
            kernels_.rectify(z.data(), z.data(), slope_[l].data(), layer.units, a.data(), lanes_);
            continue;
        }
        for (int i = 0; i < layer.units; ++i) {
            double* out = &a[static_cast<size_t>(i) * lanes];
            std::fill_n(out, lanes, -std::numeric_limits<double>::infinity());
            for (int s = 0; s < layer.slots; ++s) {
                if (layer.entry(i, s) < 0) continue;
                const double* in = &z[static_cast<size_t>(layer.entry(i, s)) * lanes];
                for (size_t p = 0; p < lanes; ++p) out[p] = std::max(out[p], in[p]);
            }
        }
    }
}

void Points::differentiate(const AlignedVector<double>& weights, double leak) {
    const auto lanes = static_cast<size_t>(lanes_);
    input_.assign(static_cast<size_t>(net_.dim) * lanes, 0.0);
    for (size_t l = 0; l < g_.size(); ++l)
        g_[l].assign(static_cast<size_t>(net_.net.layers[l].units) * lanes, 0.0);
    for (int l = net_.depth; l >= 0; --l) {
        const BoundLayer& form = net_.layers[l];
        const double* h = weights.data();
        if (l < net_.depth) {
            const Layer& layer = net_.net.layers[l];
            h_.assign(static_cast<size_t>(form.rows) * lanes, 0.0);
            if (!layer.is_max()) {
                const double* slope = slope_[l].data();
                if (leak > 0.0) {
                    leaky_.assign(slope_[l].begin(), slope_[l].end());
                    for (double& v : leaky_) v = std::max(v, leak);
                    slope = leaky_.data();
                }
                kernels_.rectify(z_[l].data(), g_[l].data(), slope, layer.units, h_.data(), lanes_);
            }
            for (int i = 0; i < layer.units && layer.is_max(); ++i) {
                const double* g = &g_[l][static_cast<size_t>(i) * lanes];
                const double* out = &a_[l][static_cast<size_t>(i) * lanes];
                for (size_t p = 0; p < lanes; ++p)
                    for (int s = 0; s < layer.slots; ++s) {
                        if (layer.entry(i, s) < 0) continue;
                        const size_t e = static_cast<size_t>(layer.entry(i, s)) * lanes + p;
                        if (z_[l][e] != out[p]) continue;
                        h_[e] += g[p];
                        break;
                    }
            }
            h = h_.data();
        }
        for (const BoundLayer::Block& block : form.blocks)
            backward(block.map, h, g_[block.source].data());
        if (!form.input.empty()) backward(form.input, h, input_.data());
    }
}

}  // namespace plv
