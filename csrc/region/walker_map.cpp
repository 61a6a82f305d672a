// Maps of the levels: how the affine functions of one layer follow from those below, and the bound
// of their rounding errors (docs/developer.md derives it).
#include <algorithm>
#include <limits>

#include "region/walker.hpp"

namespace plv {

namespace {

// Values of windows are compared in groups of this many.
constexpr size_t kGroup = 128;

}  // namespace

template <int D>
typename Walker<D>::Level Walker<D>::make_level(int l) const {
    Level level;
    level.layer = l < depth_ ? &net_.layers[l] : nullptr;
    level.weights = &net_.float_form(l);
    const FloatForm& form = *level.weights;
    level.rows = form.rows;
    level.stride = form.stride;
    level.blocks = level.stride / kPad;
    level.norm = zeros_.data();
    const auto stride = static_cast<size_t>(level.stride);
    level.map.assign(NC * stride, 0.0);
    level.base.assign(stride, 0.0);
    const auto& input = problem_.input[l];
    const bool below_bends = l > 0 && !net_.layers[l - 1].is_max();
    if (form.blocks.empty()) {
        level.origin = Origin::fixed;
        level.map = input.map;
        level.base = input.error;
        level.map_valid = true;
    } else if (!form.copies.empty()) {
        level.origin = Origin::copied;
        const Layer& source = net_.layers[form.blocks[0].source];
        level.included = Bits(source.units);
        level.identity = source.units == form.rows;
        level.nonnegative = !source.is_max() && source.all_relu;
        for (int r = 0; r < form.rows; ++r) level.identity &= form.copies[r] == r;
    } else {
        const bool chain = form.blocks.size() == 1 && form.blocks[0].dense && below_bends &&
                           form.blocks[0].source == l - 1 && input.map.empty();
        level.origin = chain ? Origin::chain : Origin::general;
        level.norm = form.row_norm.data();
        // At most terms + cap columns reach a row between two fresh starts.
        int widest = 0;
        for (const FloatBlock& block : form.blocks) widest = std::max(widest, block.cols);
        level.update_cap = 4 * widest + 32;
        const double additions = form.terms + level.update_cap;
        level.rounding = ((chain ? 4.0 : 8.0) * additions + (chain ? 16.0 : 64.0)) * kRound * kUp;
        level.start.assign(NC * stride, 0.0);
        if (input.map.empty())
            std::copy(form.bias.begin(), form.bias.end(), level.start.end() - level.stride);
        else
            level.start = input.map;
        for (int r = 0; r < level.rows; ++r) {
            double size = 0.0;
            for (int c = 0; c < NC; ++c) size += std::fabs(level.start[c * stride + r]);
            level.base[r] = level.rounding * size * kUp;
            if (!input.map.empty()) level.base[r] += input.error[r] * kUp;
            level.max_base = std::max(level.max_base, size);
            level.max_norm = std::max(level.max_norm, form.row_norm[r]);
        }
        if (chain) level.included = Bits(form.blocks[0].cols);
        for (const FloatBlock& block : form.blocks) {
            if (chain) break;
            const auto wide = static_cast<size_t>(padded(block.cols));
            level.blocks_in.emplace_back();
            level.blocks_in.back().rows.assign(NC * wide, 0.0);
            level.blocks_in.back().mass.assign(wide, 0.0);
            if (!block.dense) level.row_stamp.assign(1 + stride, 0.0);
            const Layer& source = net_.layers[block.source];
            if (source.is_max())
                level.blocks_in.back().value.assign(static_cast<size_t>(source.units), 0);
            else
                level.blocks_in.back().on = Bits(source.units);
        }
    }
    if (level.is_max()) {
        const Layer& layer = *level.layer;
        const auto wide = static_cast<size_t>(padded(layer.units));
        level.value.assign(wide, 0);
        level.led = level.nonnegative && form.blocks[0].source == l - 1;
        level.first_slot.assign(wide, 0);
        level.table.assign(wide * static_cast<size_t>(layer.slots), 0);
        level.row_error.assign(stride, 0.0);
        for (int w = 0; w < layer.units; ++w) {
            while (layer.entry(w, level.first_slot[w]) < 0) ++level.first_slot[w];
            for (int k = 0; k < layer.slots; ++k) {
                const int entry = layer.entry(w, k);
                level.table[static_cast<size_t>(k) * wide + static_cast<size_t>(w)] =
                    entry >= 0 ? entry : layer.entry(w, level.first_slot[w]);
            }
        }
        if (level.led) {
            level.raw.assign(level.table.size(), net_.float_form(l - 1).stride);
            level.swings.assign(wide / kPad, 0);
            level.opens.assign(wide / kPad, 0);
            for (int k = 0; k < layer.slots; ++k)
                for (int w = 0; w < layer.units; ++w)
                    if (layer.entry(w, k) >= 0)
                        level.raw[static_cast<size_t>(k) * wide + static_cast<size_t>(w)] =
                            form.copies[layer.entry(w, k)];
        }
        for (int r = 0; r < level.rows; ++r) level.row_error[r] = level.base[r];
    } else {
        level.on = level.real = level.positive = level.negative = level.crossing = level.ever_on =
            level.ever_off = Bits(level.rows);
        for (int i = 0; level.layer && i < level.rows; ++i)
            level.real.put(i, !level.layer->one_piece[i]);
    }
    // below windows over its ReLUs
    if (l + 1 < depth_ && level.layer->all_relu && net_.layers[l + 1].is_max() && !level.is_max()) {
        const FloatForm& above = net_.float_form(l + 1);
        if (!above.copies.empty() && above.blocks[0].source == l)
            level.low = level.high = AlignedVector<double>(stride + 1, -kFar);
    }
    return level;
}

template <int D>
void Walker<D>::forget_map(int l) {
    if (levels_[l].origin == Origin::chain || levels_[l].origin == Origin::copied)
        levels_[l].map_valid = false;
}

template <int D>
void Walker<D>::prepare_map(int l) {
    Level& s = levels_[l];
    switch (s.origin) {
        case Origin::fixed:
            return;
        case Origin::chain:
            prepare_chain(l);
            break;
        case Origin::copied:
            prepare_copies(l);
            break;
        case Origin::general:
            prepare_general(l);
            break;
    }
    if (s.is_max() && s.origin != Origin::copied)
        for (int r = 0; r < s.rows; ++r) s.row_error[r] = row_error(l, r);
}

// The row errors that follow from the norm `mass` of what is multiplied, E included.
template <int D>
void Walker<D>::bound_from(Level& s, double mass, double size, int columns) {
    s.error_scale = mass;
    s.error_extra = 1e-290 * (1.0 + columns * size);
    if (!(s.max_norm * size + s.max_base <= kHuge)) {  // bounds every row of the map; also NaN
        s.error_scale = 0.0;
        s.error_extra = std::numeric_limits<double>::infinity();
    }
}

template <int D>
void Walker<D>::prepare_chain(int l) {
    Level& s = levels_[l];
    const Level& below = levels_[l - 1];
    const Layer& units = net_.layers[l - 1];
    columns_.shrink(0);
    coefficients_.shrink(0);
    auto add_column = [&](int j, double factor) {
        columns_.push(j);
        double* to = coefficients_.grow(NC);
        for (int c = 0; c < NC; ++c)
            to[c] = factor * below.map[static_cast<size_t>(c) * below.stride + j];
    };
    const size_t words = below.on.words();
    if (s.map_valid) {
        for (size_t k = 0; k < words; ++k)
            for_each_bit(s.included.word(k) ^ below.on.word(k), static_cast<int>(64 * k),
                         [&](int j) {
                             const double gap = units.all_relu ? 1.0 : units.gap[j];
                             add_column(j, below.on.get(j) ? gap : -gap);
                         });
        const int flips = static_cast<int>(columns_.size());
        if (s.updates + flips > s.update_cap) {
            s.map_valid = false;
            columns_.shrink(0);
            coefficients_.shrink(0);
        } else {
            s.updates += flips;
        }
    }
    if (!s.map_valid) {
        s.map_valid = true;
        s.updates = 0;
        s.map = s.start;
        if (units.all_relu) {
            for (size_t k = 0; k < words; ++k)
                for_each_bit(below.on.word(k), static_cast<int>(64 * k),
                             [&](int j) { add_column(j, 1.0); });
        } else {
            for (int j = 0; j < below.rows; ++j) {
                const double factor = below.on.get(j) ? 1.0 : units.slope[j];
                if (factor != 0.0) add_column(j, factor);
            }
        }
        // e = || f (E + K S) || over the units that may be on somewhere in this cell of the layer
        // below.
        if (!options_.unchecked) {
            for (size_t k = 0; k < words; ++k)
                list_masks_[0].word(k) =
                    units.all_relu ? ~(below.positive.word(k) | below.crossing.word(k)) : 0;
            const double sum = kernels_.mass(below.map.data(), below.stride, below.blocks,
                                             below.error(), s.rounding, list_masks_[0].bytes());
            const double up = (1.0 + (below.rows + 64) * 0x1p-50) * kUp;
            // The floor stands for squares that underflow: below 1e-150 nothing is decided in
            // floating point.
            const double mass = std::sqrt(sum + below.rows * 1e-300) * units.max_slope * up;
            bound_from(s, mass, mass / s.rounding, below.rows);
        }
    }
    if (columns_.size() > 0)
        kernels_.accumulate(s.map.data(), s.stride, s.weights->blocks[0].w.data(), columns_.data(),
                            coefficients_.data(), static_cast<int>(columns_.size()));
    s.included = below.on;
    s.all_stamp = ++s.map_stamp;
}

template <int D>
typename Walker<D>::Source Walker<D>::source(int l, int unit) const {
    const Level& s = levels_[l];
    if (!s.is_max()) return {l, unit, s.on.get(unit) ? 1.0 : s.layer->slope[unit]};
    const int32_t row = s.value[unit];
    if (row < 0) return {l, 0, 0.0};
    return {s.led ? l - 1 : l, row, 1.0};
}

// Row r of a level whose rows are activations.
template <int D>
void Walker<D>::copy_row(int l, int r) {
    Level& s = levels_[l];
    const Source row = source(s.weights->blocks[0].source, s.weights->copies[r]);
    const Level& holder = levels_[row.level];
    double size = 0.0;
    for (int c = 0; c < NC; ++c) {
        const double v = holder.map[static_cast<size_t>(c) * holder.stride + row.row];
        size += std::fabs(v);
        s.map[static_cast<size_t>(c) * s.stride + r] = row.factor == 0.0 ? 0.0 : row.factor * v;
    }
    double error = 0.0;
    if (row.factor == 1.0)
        error = row_error(row.level, row.row);
    else if (row.factor != 0.0)
        error =
            std::fabs(row.factor) * (row_error(row.level, row.row) + 0x1p-50 * size) * kUp + 1e-290;
    s.base[r] = error;
    if (s.is_max()) s.row_error[r] = error;
}

// Rows that are activations: copied with their errors, so that a unit that is off leaves rows that
// are surely zero.
template <int D>
void Walker<D>::prepare_copies(int l) {
    Level& s = levels_[l];
    const Level& from = levels_[s.weights->blocks[0].source];
    if (s.led) {
        // rows of open windows follow when it is entered
    } else if (s.identity && !from.is_max() && s.map_valid) {
        for (size_t k = 0; k < from.on.words(); ++k)
            for_each_bit(s.included.word(k) ^ from.on.word(k), static_cast<int>(64 * k),
                         [&](int j) { copy_row(l, j); });
    } else {
        for (int r = 0; r < s.rows; ++r) copy_row(l, r);
    }
    s.map_valid = true;
    // Which rows of windows over ReLUs are zero is part of their value; other copies count as new.
    if (s.is_max() && s.nonnegative) {
        s.map_stamp = from.map_stamp;
        s.all_stamp = from.all_stamp;
    } else {
        s.all_stamp = ++s.map_stamp;
    }
    if (!from.is_max()) s.included = from.on;
}

// Brings the activations of block b that the map stands for up to date: the columns of those that
// changed go to columns_ and coefficients_. False if there are more than the map takes before a
// fresh start.
template <int D>
bool Walker<D>::update_block(Level& s, size_t b, bool fresh) {
    const int m = s.weights->blocks[b].source;
    const Level& from = levels_[m];
    typename Level::Included& in = s.blocks_in[b];
    const size_t stride = in.mass.size();
    columns_.shrink(0);
    coefficients_.shrink(0);
    const auto renew = [&](int j, bool was_on) {
        const Source row = source(m, j);
        if (row.factor == 0.0 && (fresh || !was_on)) {  // the zero row before and now, exactly
            in.mass[j] = 0.0;
            return;
        }
        const Level& holder = levels_[row.level];
        const double* value = holder.map.data() + row.row;
        double* had = in.rows.data() + j;
        double size = 0.0, error = 0.0;
        columns_.push(j);
        double* to = coefficients_.grow(NC);
        for (int c = 0; c < NC; ++c, value += holder.stride, had += stride) {
            const double now = row.factor == 0.0 ? 0.0 : row.factor * *value;
            size += std::fabs(now);
            to[c] = now - *had;
            *had = now;
        }
        if (row.factor != 0.0)
            error = std::fabs(row.factor) * row_error(row.level, row.row) +
                    (s.rounding + 0x1p-51) * size;
        in.mass[j] = error * error;
    };
    const int units = net_.layers[m].units;
    const bool moved = in.map_stamp != from.map_stamp;
    if (fresh || in.map_stamp < from.all_stamp) {
        for (int j = 0; j < units; ++j) renew(j, true);
    } else if (from.is_max()) {
        // Windows over ReLUs move with the ReLUs' rows.
        const bool copied = from.nonnegative && !from.led;
        const Level& rows = from.nonnegative ? levels_[from.weights->blocks[0].source] : from;
        const auto wide = static_cast<size_t>(units);
        const int32_t *had = in.value.data(), *has = from.value.data();
        changed_.resize(wide);
        size_t n = 0;
        // Without branches on what changed: it is hard to predict.
        if (moved) {
            const double* stamp = rows.row_stamp.data() + 1;  // that of no row is 0
            for (size_t j = 0; j < wide; ++j) {
                const int32_t row = copied && has[j] >= 0 ? from.weights->copies[has[j]] : has[j];
                changed_[n] = static_cast<int>(j);
                n += (had[j] != has[j]) | (stamp[row] > in.map_stamp);
            }
        } else {
            for (size_t k = 0; k < wide; k += kGroup) {
                const size_t end = std::min(k + kGroup, wide);
                if (std::equal(had + k, had + end, has + k)) continue;
                for (size_t j = k; j < end; ++j) {
                    changed_[n] = static_cast<int>(j);
                    n += had[j] != has[j];
                }
            }
        }
        for (size_t i = 0; i < n; ++i) renew(changed_[i], had[changed_[i]] >= 0);
    } else if (moved) {
        const bool all_relu = from.layer->all_relu;
        for (int j = 0; j < units; ++j) {
            const bool on = from.on.get(j), was_on = in.on.get(j);
            if (on != was_on || ((on || !all_relu) && from.row_stamp[1 + j] > in.map_stamp))
                renew(j, true);
        }
    } else {
        for (size_t k = 0; k < in.on.words(); ++k)
            for_each_bit(in.on.word(k) ^ from.on.word(k), static_cast<int>(64 * k),
                         [&](int j) { renew(j, true); });
    }
    if (from.is_max())
        std::copy_n(from.value.begin(), in.value.size(), in.value.begin());
    else
        in.on = from.on;
    in.stamp = from.stamp;
    in.map_stamp = from.map_stamp;
    // A fresh start counts its columns as terms, not as updates.
    if (fresh) return true;
    s.updates += static_cast<int>(columns_.size());
    return s.updates <= s.update_cap;
}

template <int D>
void Walker<D>::prepare_general(int l) {
    Level& s = levels_[l];
    const std::vector<FloatBlock>& blocks = s.weights->blocks;
    bool fresh = !s.map_valid;
    const double stamp = s.map_stamp + 1;
    for (size_t b = 0; b < blocks.size(); ++b) {
        if (fresh && b == 0) {
            s.map = s.start;
            s.updates = 0;
            s.peak = 0.0;
            s.map_valid = true;
            s.map_stamp = s.all_stamp = stamp;
            for (typename Level::Included& in : s.blocks_in)
                std::fill(in.rows.begin(), in.rows.end(), 0.0);
        }
        const FloatBlock& block = blocks[b];
        if (!fresh && s.blocks_in[b].stamp == levels_[block.source].stamp) continue;
        if (!update_block(s, b, fresh)) {
            fresh = true;
            b = static_cast<size_t>(-1);  // the first block is next
            continue;
        }
        const int changed = static_cast<int>(columns_.size());
        if (changed == 0) continue;
        s.map_stamp = stamp;
        if (block.dense) {
            kernels_.accumulate(s.map.data(), s.stride, block.w.data(), columns_.data(),
                                coefficients_.data(), changed);
            s.all_stamp = stamp;
            continue;
        }
        for (int i = 0; i < changed; ++i) {
            const auto j = static_cast<size_t>(columns_[static_cast<size_t>(i)]);
            const size_t at = block.start[j];
            kernels_.accumulate_groups(s.map.data(), s.stride, s.row_stamp.data() + 1, stamp,
                                       block.group.data() + at, block.values.data() + at * kPad,
                                       static_cast<int>(block.start[j + 1] - at),
                                       coefficients_.data() + static_cast<size_t>(i) * NC);
        }
    }
    double parts[kPad] = {};
    int columns = 0;
    for (const typename Level::Included& in : s.blocks_in) {
        for (size_t j = 0; j < in.mass.size(); j += kPad)
            for (size_t i = 0; i < kPad; ++i) parts[i] += in.mass[j + i];
        columns += static_cast<int>(in.mass.size());
    }
    double sum = 0.0;
    for (double part : parts) sum += part;
    sum = (sum + columns * 1e-300) * (1.0 + (columns + 64) * 0x1p-50);
    const double now = std::sqrt(sum) * kUp;
    if (!(now <= s.peak)) s.peak = now;
    bound_from(s, (now + s.peak) * kUp, s.peak / s.rounding * kUp, columns);
}

// Bound of the error of the rounded difference of two outputs.
template <int D>
double Walker<D>::difference_error(int i, int j, const double* row) const {
    double error = row_error(depth_, i) + row_error(depth_, j);
    for (int c = 0; c < NC; ++c) error += 0x1p-52 * std::fabs(row[c]);
    return error * kUp;
}

#define PLV_INSTANTIATE(D)                                                 \
    template typename Walker<D>::Level Walker<D>::make_level(int l) const; \
    template void Walker<D>::prepare_map(int l);                           \
    template void Walker<D>::forget_map(int l);                            \
    template void Walker<D>::copy_row(int l, int row);                     \
    template double Walker<D>::difference_error(int i, int j, const double* row) const;
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
