// Networks on cells where the pieces of most units are known.
#include <algorithm>
#include <cmath>

#include "bound/crown.hpp"

namespace plv {

namespace {

// Affine functions of the input and of units that stay, one after the other as the `input` of
// condensed layers has them, and what their rounding is relative to.
struct Rows {
    size_t lanes;
    AlignedVector<double> at;
    std::vector<double> size;
    double* operator[](int row) { return &at[static_cast<size_t>(row) * lanes]; }
};

// Units at hand: their slopes where they are known (else 0), and where they stay the columns.
struct Units {
    std::vector<double> slope;
    std::vector<int> column;  // or -1
    std::vector<int> known;   // with a slope that is not 0
    Rows pass;                // what these are
};

}  // namespace

std::shared_ptr<const BoundLayers> Crown::condense(const CellView& cell) const {
    const auto depth = static_cast<size_t>(net_.depth), dim = static_cast<size_t>(net_.dim);
    auto out = std::make_shared<BoundLayers>();
    std::vector<Units> sources(depth);
    size_t columns = dim + 1;
    std::vector<size_t> width;  // of each layer's rows
    for (size_t l = 0; l < depth; ++l) {
        const Layer& from = net_.net.layers[l];
        Units& units = sources[l];
        width.push_back(columns);
        out->units.emplace_back();
        units.slope.reserve(at_hand_->units[l].size());
        units.column.reserve(at_hand_->units[l].size());
        for (const int unit : at_hand_->units[l]) {
            const size_t row = net_.row(static_cast<int>(l), unit);
            // Units that were split stay: their rows are in use.
            const bool fixed = cell.pieces[net_.unit(static_cast<int>(l), unit)] >= 0;
            int piece = fixed ? -1 : known(cell.bounds.lo[row], cell.bounds.hi[row]);
            if (from.one_piece[unit]) piece = 1;
            units.slope.push_back(piece == 1 ? 1.0 : piece == 0 ? from.slope[unit] : 0.0);
            units.column.push_back(piece < 0 ? static_cast<int>(columns++) : -1);
            if (piece < 0) out->units[l].push_back(unit);
        }
    }
    width.push_back(columns);
    const auto lanes = static_cast<size_t>(whole_lanes(static_cast<int>(columns)));
    std::vector<int> wanted, kept;
    for (size_t l = 0; l <= depth; ++l) {
        const BoundLayer& form = at_hand_->layers[l];
        wanted.clear();
        kept.clear();
        for (int r = 0; r < form.rows; ++r) {
            const bool stays = l == depth || sources[l].column[r] >= 0;
            if (stays) kept.push_back(r);
            if (stays || sources[l].slope[r] != 0.0) wanted.push_back(r);
        }
        Rows rows{lanes, AlignedVector<double>(static_cast<size_t>(form.rows) * lanes, 0.0),
                  form.size};
        const auto add = [&](Units& from, int r, int c, double w) {
            if (from.column[c] >= 0)
                rows[r][from.column[c]] += w;
            else if (from.slope[c] != 0.0)
                rows.size[r] += std::fabs(w) * from.pass.size[c];
        };
        const auto add_dense = [&](Units& from, const double* w, size_t step) {
            const int count = static_cast<int>(from.column.size());
            for (const int r : wanted)
                for (int c = 0; c < count; ++c)
                    if (const double v = w[static_cast<size_t>(r) * step + c]; v != 0.0)
                        add(from, r, c, v);
            kernels_.multiply({w, step, 1}, wanted.data(), static_cast<int>(wanted.size()),
                              from.known.data(), static_cast<int>(from.known.size()),
                              from.pass.at.data(), rows.at.data(), static_cast<int>(lanes));
        };
        const size_t own = condensed_ ? dim + 1 : dim;
        for (const int r : wanted) {
            rows[r][dim] = form.bias[r];
            if (form.input.empty()) continue;
            if (form.input.dense)
                for (size_t k = 0; k < own; ++k)
                    rows[r][k] += form.input.w[static_cast<size_t>(r * form.input.cols) + k];
            else
                form.input.each(r, [&](int k, double w) { rows[r][k] += w; });
        }
        for (size_t source = 0; condensed_ && source < l; ++source)
            add_dense(sources[source], form.input.w.data() + first_[source],
                      static_cast<size_t>(form.input.cols));
        for (const BoundLayer::Block& block : form.blocks) {
            Units& from = sources[static_cast<size_t>(block.source)];
            if (block.map.dense) {
                add_dense(from, block.map.w.data(), static_cast<size_t>(block.map.cols));
                continue;
            }
            for (const int r : wanted)
                block.map.each(r, [&](int c, double w) {
                    add(from, r, c, w);
                    if (from.column[c] >= 0 || from.slope[c] == 0.0) return;
                    const double* pass = from.pass[c];
                    for (size_t k = 0; k < columns; ++k) rows[r][k] += w * pass[k];
                });
        }
        BoundLayer& to = out->layers.emplace_back();
        to.rows = to.input.rows = static_cast<int>(kept.size());
        to.input.cols = static_cast<int>(width[l]);
        to.bias.assign(kept.size(), 0.0);
        to.input.w.reserve(kept.size() * width[l]);
        for (const int r : kept) {
            to.input.w.insert(to.input.w.end(), rows[r], rows[r] + width[l]);
            to.size.push_back(rows.size[r]);
        }
        if (l == depth) break;
        Units& units = sources[l];
        for (const int r : wanted) {
            if (units.column[r] >= 0) continue;
            units.known.push_back(r);
            for (size_t k = 0; k < columns; ++k) rows[r][k] *= units.slope[r];
            rows.size[r] *= std::fabs(units.slope[r]);
        }
        units.pass = std::move(rows);
    }
    return out;
}

}  // namespace plv
