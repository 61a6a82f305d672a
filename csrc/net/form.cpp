#include "net/form.hpp"

#include <algorithm>
#include <cmath>

namespace plv {

FloatForm rounded(const ExactForm& form) {
    FloatForm out;
    out.rows = form.rows;
    out.stride = padded(form.rows);
    out.bias.assign(out.stride, 0.0);
    out.row_norm.assign(out.stride, 0.0);
    const size_t shift = form.scale.trailing_zeros();
    const Int odd = form.scale >> shift;
    const bool dyadic = odd.is_one() && shift < 960;
    const double unit = dyadic ? std::ldexp(1.0, -static_cast<int>(shift)) : 0.0;
    const auto value = [&](const Int& q) { return q.is_zero() ? 0.0 : Int::ratio(q, form.scale); };
    const auto weight = [&](const ExactBlock& block, size_t k) {
        constexpr int64_t exact = int64_t{1} << 53;
        if (dyadic && block.small && block.w64[k] >= -exact && block.w64[k] <= exact)
            return static_cast<double>(block.w64[k]) * unit;  // without rounding, the common case
        return value(block.weight(k));
    };
    std::vector<int> terms(static_cast<size_t>(form.rows), 0);
    for (const ExactBlock& block : form.blocks) {
        if (block.source == kInput) continue;
        FloatBlock to;
        to.source = block.source;
        to.cols = block.cols;
        to.dense = block.dense;
        if (block.dense) {
            to.w.assign(static_cast<size_t>(out.stride) * block.cols, 0.0);
        } else {
            to.start.assign(static_cast<size_t>(block.cols) + 1, 0);
            std::vector<int> last(static_cast<size_t>(block.cols), -1);
            for (int r = 0; r < form.rows; ++r)
                for (size_t k = block.first(r); k < block.last(r); ++k) {
                    const auto c = static_cast<size_t>(block.col[k]);
                    to.start[c + 1] += last[c] != r / kPad;
                    last[c] = r / kPad;
                }
            for (int c = 0; c < block.cols; ++c) to.start[c + 1] += to.start[c];
            to.group.assign(to.start.back(), -1);
            to.values.assign(to.start.back() * kPad, 0.0);
        }
        std::vector<size_t> next(to.start.begin(), to.start.end());  // group of each column
        std::vector<double> sums(static_cast<size_t>(form.rows), 0.0);
        const auto take = [&](int r, int c, size_t k) {
            const double v = weight(block, k);
            sums[r] += v * v;
            terms[r] += !block.is_zero(k);
            if (block.dense) {
                to.w[static_cast<size_t>(c) * out.stride + r] = v;
            } else {
                size_t& g = next[c];
                if (to.group[g] >= 0 && to.group[g] != r / kPad) ++g;
                to.group[g] = r / kPad;
                to.values[g * kPad + static_cast<size_t>(r % kPad)] = v;
            }
        };
        for (int first = 0; first < form.rows; first += kPad) {  // lines of memory at a time
            const int last = std::min(first + kPad, form.rows);
            if (block.dense) {
                for (int c = 0; c < block.cols; ++c)
                    for (int r = first; r < last; ++r) take(r, c, block.first(r) + c);
            } else {
                for (int r = first; r < last; ++r)
                    for (size_t k = block.first(r); k < block.last(r); ++k)
                        take(r, block.col[k], k);
            }
        }
        for (int r = 0; r < form.rows; ++r) out.row_norm[r] += sums[r];
        out.blocks.push_back(std::move(to));
    }
    for (int r = 0; r < form.rows; ++r) {
        out.bias[r] = value(form.bias[r]);
        out.terms = std::max(out.terms, terms[r]);
        // sqrt(sum) has relative error at most (terms / 2 + 4) u, and squares below 1e-300 may have
        // been lost.
        out.row_norm[r] =
            std::sqrt(out.row_norm[r] + terms[r] * 1e-300) * (1.0 + (terms[r] + 16) * 0x1p-52);
    }
    if (form.blocks.size() == 1 && form.blocks[0].source != kInput && !form.blocks[0].dense) {
        const ExactBlock& block = form.blocks[0];
        out.copies.resize(static_cast<size_t>(form.rows));
        for (int r = 0; r < form.rows && !out.copies.empty(); ++r) {
            const size_t k = block.first(r);
            if (block.last(r) == k + 1 && form.bias[r].is_zero() && block.weight(k) == form.scale)
                out.copies[r] = block.col[k];
            else
                out.copies.clear();
        }
    }
    return out;
}

}  // namespace plv
