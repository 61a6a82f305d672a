#include "bound/layers.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace plv {

namespace {

constexpr size_t kDense = 4;  // dense where at least one entry of so many is not zero

// Entries of rows in the order of columns, as a map.
LinearMap from_entries(int rows, int cols, std::vector<size_t> start, std::vector<int32_t> col,
                       std::vector<double> w) {
    LinearMap out;
    out.rows = rows;
    out.cols = cols;
    const size_t all = static_cast<size_t>(rows) * static_cast<size_t>(cols);
    out.dense = col.size() * kDense >= all;
    if (!out.dense) {
        const auto length = [&](int r) { return start[r + 1] - start[r]; };
        out.by_length.resize(static_cast<size_t>(rows));
        std::iota(out.by_length.begin(), out.by_length.end(), 0);
        std::stable_sort(out.by_length.begin(), out.by_length.end(),
                         [&](int a, int b) { return length(a) < length(b); });
        out.start = std::move(start);
        out.col = std::move(col);
        out.w = std::move(w);
        return out;
    }
    out.w.assign(all, 0.0);
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r)
        for (size_t k = start[r]; k < start[r + 1]; ++k)
            out.w[r * static_cast<size_t>(cols) + static_cast<size_t>(col[k])] = w[k];
    return out;
}

LinearMap by_rows(const FloatForm& form, const FloatBlock& block) {
    std::vector<size_t> start(static_cast<size_t>(form.rows) + 1, 0);
    const auto stride = static_cast<size_t>(form.stride);
    const auto each = [&](auto visit) {
        for (int c = 0; c < block.cols; ++c) {
            if (block.dense) {
                for (int r = 0; r < form.rows; ++r)
                    if (const double v = block.w[static_cast<size_t>(c) * stride + r]; v != 0.0)
                        visit(r, c, v);
                continue;
            }
            for (size_t g = block.start[c]; g < block.start[c + 1]; ++g)
                for (int i = 0; i < kPad; ++i)
                    if (const double v = block.values[g * kPad + i]; v != 0.0)
                        visit(block.group[g] * kPad + i, c, v);
        }
    };
    each([&](int r, int, double) { ++start[static_cast<size_t>(r) + 1]; });
    for (size_t r = 1; r < start.size(); ++r) start[r] += start[r - 1];
    std::vector<size_t> next(start.begin(), start.end() - 1);
    std::vector<int32_t> col(start.back());
    std::vector<double> w(start.back());
    each([&](int r, int c, double v) {
        col[next[r]] = c;
        w[next[r]++] = v;
    });
    return from_entries(form.rows, block.cols, std::move(start), std::move(col), std::move(w));
}

}  // namespace

BoundNet::BoundNet(const Net& from, int dim, const std::vector<LocalInput>& inputs)
    : net(from), dim(dim), depth(static_cast<int>(from.layers.size())) {
    for (int l = 0; l <= depth; ++l) {
        const FloatForm& form = net.float_form(l);
        const ExactForm& exact = net.exact_form(l);
        BoundLayer layer;
        layer.rows = form.rows;
        for (const FloatBlock& block : form.blocks)
            layer.blocks.push_back({block.source, by_rows(form, block)});
        layer.bias.assign(form.bias.begin(), form.bias.begin() + form.rows);
        const bool reads = !exact.blocks.empty() && exact.blocks[0].source == kInput;
        std::vector<size_t> start{0};
        std::vector<int32_t> col;
        std::vector<double> w;
        for (int r = 0; r < form.rows; ++r) {
            double& bias = layer.bias[r];
            double size = std::fabs(bias);
            for (size_t k = reads ? exact.blocks[0].first(r) : 0,
                        end = reads ? exact.blocks[0].last(r) : 0;
                 k < end; ++k) {
                if (exact.blocks[0].is_zero(k)) continue;
                const LocalInput& at = inputs[exact.blocks[0].column(r, k)];
                const double v = Int::ratio(exact.blocks[0].weight(k), exact.scale);
                bias += v * at.center;
                size += std::fabs(v * at.center);
                if (at.place < 0) continue;
                col.push_back(at.place);
                w.push_back(std::ldexp(v, at.exponent));
                size += std::fabs(w.back());
            }
            start.push_back(col.size());
            layer.size.push_back(size);
        }
        if (!col.empty())
            layer.input =
                from_entries(form.rows, dim, std::move(start), std::move(col), std::move(w));
        layers.push_back(std::move(layer));
        if (l == depth) break;
        first_row.push_back(rows);
        units.emplace_back(static_cast<size_t>(net.layers[l].units));
        std::iota(units.back().begin(), units.back().end(), 0);
        rows += static_cast<size_t>(form.rows);
    }
}

}  // namespace plv
