#include "net/scales.hpp"

namespace plv {

void scale_all(std::vector<Int>& values, const Int& factor) {
    if (factor.is_one()) return;
    for (Int& v : values)
        if (!v.is_zero()) v *= factor;
}

void apply_piece(const Layer& layer, int unit, bool on, Int& v) {
    if (on)
        v <<= layer.slope_shift;
    else if (layer.all_relu)
        v = Int();
    else
        v *= layer.slope_num[unit];
}

Scales::Scales(const Net& net, const std::vector<Int>& input_scales) {
    const size_t depth = net.layers.size();
    std::vector<Int> scale;  // of the activations of each layer
    for (size_t l = 0; l <= depth; ++l) {
        const ExactForm& form = net.exact_form(static_cast<int>(l));
        Int common = input_scales[l];
        for (const ExactBlock& b : form.blocks)
            if (b.source != kInput) common = Int::lcm(common, form.scale * scale[b.source]);
        input.push_back(common.divexact(input_scales[l]));
        block.emplace_back();
        for (const ExactBlock& b : form.blocks)
            block[l].push_back(b.source == kInput ? Int()
                                                  : common.divexact(form.scale * scale[b.source]));
        if (l < depth) scale.push_back(common << net.layers[l].slope_shift);
        total.push_back(std::move(common));
    }
}

void pull_back(const Net& net, const Scales& scales, int layer, int entry, int minus,
               const uint8_t* pattern,
               const std::function<void(int l, int i, const Int& weight)>& visit) {
    // Gradients in the pre-activations of each layer, empty until something flows there.
    std::vector<std::vector<Int>> flow(static_cast<size_t>(layer) + 1);
    flow[layer].resize(static_cast<size_t>(net.exact_form(layer).rows));
    flow[layer][entry] = 1;
    if (minus >= 0) flow[layer][minus] -= Int(1);
    std::vector<Int> below;
    for (int l = layer; l >= 0; --l) {
        std::vector<Int>& g = flow[l];
        if (g.empty()) continue;
        const ExactForm& form = net.exact_form(l);
        const Int& factor = scales.input[l];
        for (int i = 0; i < form.rows; ++i)
            if (!g[i].is_zero()) visit(l, i, factor.is_one() ? g[i] : g[i] * factor);
        for (size_t b = 0; b < form.blocks.size(); ++b) {
            const ExactBlock& block = form.blocks[b];
            if (block.source == kInput) continue;
            below.assign(static_cast<size_t>(block.cols), Int());
            for (int i = 0; i < form.rows; ++i) {
                if (g[i].is_zero()) continue;
                for (size_t k = block.first(i); k < block.last(i); ++k)
                    block.add_term(below[block.column(i, k)], k, g[i]);
            }
            scale_all(below, scales.block[l][b]);
            const Layer& source = net.layers[block.source];
            std::vector<Int>& to = flow[block.source];
            if (to.empty()) to.resize(static_cast<size_t>(source.exact.rows));
            for (int j = 0; j < block.cols; ++j) {
                if (below[j].is_zero()) continue;
                const int piece = net.piece(pattern, block.source, j);
                if (source.is_max()) {
                    to[source.entry(j, piece)] += below[j];
                } else {
                    apply_piece(source, j, piece != 0, below[j]);
                    to[j] += below[j];
                }
            }
        }
        g.clear();
    }
}

}  // namespace plv
