#include "net/rows.hpp"

namespace plv {

namespace {

std::vector<Int> input_scales(const Net& net) {
    std::vector<Int> out;
    for (int l = 0; l <= static_cast<int>(net.layers.size()); ++l)
        out.push_back(net.exact_form(l).scale);
    return out;
}

}  // namespace

PulledRows::PulledRows(const Net& net) : net_(net), scales_(net, input_scales(net)) {}

std::vector<Int> PulledRows::row(int layer, int entry, int minus, const uint8_t* pattern) const {
    std::vector<Int> out(static_cast<size_t>(net_.input_size) + 1);
    pull_back(net_, scales_, layer, entry, minus, pattern, [&](int l, int i, const Int& weight) {
        const ExactForm& form = net_.exact_form(l);
        out.back().add_mul(weight, form.bias[i]);
        if (form.blocks.empty() || form.blocks[0].source != kInput) return;
        const ExactBlock& block = form.blocks[0];
        for (size_t k = block.first(i); k < block.last(i); ++k)
            if (!block.is_zero(k)) block.add_term(out[block.column(i, k)], k, weight);
    });
    return out;
}

}  // namespace plv
