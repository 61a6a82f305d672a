#include "bound/jacobian.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace plv {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kMostLanes = 128;
constexpr int kInputs = -1;  // in the place of a layer

// What a unit's tangent is replaced by where its gradient lies in [lo, hi]: shares of the two ends
// of what it may be, and the price per distance of these.
struct Share {
    double high, low, price;
};

Share share(double lo, double hi) {
    if (lo >= 0.0) return {1.0, 0.0, 0.0};
    if (hi <= 0.0) return {0.0, 1.0, 0.0};
    const double width = hi - lo;
    return {hi / width, -lo / width, -lo * (hi / width)};
}

}  // namespace

JacobianBounds::JacobianBounds(const BoundNet& net) : net_(net), kernels_(bound_kernels()) {
    const auto depth = static_cast<size_t>(net.depth);
    units_.resize(inputs());
    slots_.resize(inputs());
    live_.resize(depth);
    live_rows_.resize(depth);
    z_.resize(depth);
    a_.resize(depth);
    level_.assign(depth, 0);
    int most = net.dim;
    for (const BoundLayer& layer : net.layers) most = std::max(most, layer.rows);
    for (const Layer& layer : net.net.layers) most = std::max(most, layer.units);
    all_.resize(static_cast<size_t>(most));
    std::iota(all_.begin(), all_.end(), 0);
    for (size_t l = depth; l-- > 0;) {
        for (const BoundLayer::Block& block : net.layers[l].blocks)
            level_[block.source] = std::max(level_[block.source], level_[l] + 1);
        if (!net.layers[l].input.empty()) input_level_ = std::max(input_level_, level_[l] + 1);
    }
    sum_lo_.resize(inputs() + static_cast<size_t>(net.dim));
    sum_hi_.resize(sum_lo_.size());
}

GradientRanges JacobianBounds::unbounded() const {
    const size_t n = sum_lo_.size();
    return {std::vector<double>(n, -kInfinity), std::vector<double>(n, kInfinity)};
}

void JacobianBounds::set_cell(const CellView& cell) {
    for (int l = 0; l < net_.depth; ++l) {
        const Layer& layer = net_.net.layers[l];
        const double *lo = &cell.bounds.lo[net_.row(l, 0)], *hi = &cell.bounds.hi[net_.row(l, 0)];
        live_[l].clear();
        live_rows_[l].clear();
        for (int i = 0; i < layer.units; ++i) {
            const size_t u = net_.unit(l, i);
            Unit& unit = units_[u];
            int piece = cell.pieces[u];
            if (!layer.is_max()) {
                const double s = layer.slope[i];
                if (piece < 0) piece = layer.one_piece[i] ? 1 : Crown::known(lo[i], hi[i]);
                unit.open = piece < 0;
                unit.low = unit.high = piece == 0 ? s : 1.0;
                if (unit.open) unit.low = std::min(s, 1.0), unit.high = std::max(s, 1.0);
                if (unit.low != 0.0 || unit.high != 0.0) {
                    live_[l].push_back(i);
                    live_rows_[l].push_back(i);
                }
                continue;
            }
            live_[l].push_back(i);
            slots_[u].clear();
            double least = -kInfinity;
            for (int k = 0; k < layer.slots; ++k)
                if (const int e = layer.entry(i, k); e >= 0) least = std::max(least, lo[e]);
            for (int k = 0; k < layer.slots; ++k)
                if (const int e = layer.entry(i, k); e >= 0 && hi[e] >= least)
                    slots_[u].push_back(e);
            std::sort(slots_[u].begin(), slots_[u].end());
            slots_[u].erase(std::unique(slots_[u].begin(), slots_[u].end()), slots_[u].end());
            if (piece >= 0) slots_[u].assign(1, layer.entry(i, piece));
            unit.open = slots_[u].size() > 1;
            unit.row = unit.open ? -1 : slots_[u][0];
            live_rows_[l].insert(live_rows_[l].end(), slots_[u].begin(), slots_[u].end());
        }
        if (layer.is_max()) {
            std::vector<int>& rows = live_rows_[l];
            std::sort(rows.begin(), rows.end());
            rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
        }
    }
}

// ------------------------------------------------------------------------------- backwards

// Adds a row's gradient to those of what it reads.
void JacobianBounds::spread(const BoundLayer& form, int row, double lo, double hi) {
    const auto add = [&](const LinearMap& map, size_t first) {
        double *to_lo = &sum_lo_[first], *to_hi = &sum_hi_[first];
        if (!map.dense) {
            map.each(row, [&](int c, double w) {
                const double a = w * lo, b = w * hi;
                to_lo[c] += std::min(a, b);
                to_hi[c] += std::max(a, b);
            });
            return;
        }
        const double* w = &map.w[static_cast<size_t>(row) * static_cast<size_t>(map.cols)];
        for (int c = 0; c < map.cols; ++c) {
            const double a = w[c] * lo, b = w[c] * hi;
            to_lo[c] += a < b ? a : b;
            to_hi[c] += a < b ? b : a;
        }
    };
    for (const BoundLayer::Block& block : form.blocks)
        if (!block.map.empty()) add(block.map, net_.unit(block.source, 0));
    if (!form.input.empty()) add(form.input, inputs());
}

// Intersects the ranges with the sums.
void JacobianBounds::settle(size_t first, size_t count, GradientRanges& ranges) {
    for (size_t i = first; i < first + count; ++i) {
        double &lo = ranges.lo[i], &hi = ranges.hi[i];
        lo = std::max(lo, sum_lo_[i]);
        hi = std::min(hi, sum_hi_[i]);
        if (lo > hi) lo = hi = (lo + hi) / 2;  // by rounding
    }
}

void JacobianBounds::bound(const double* output, bool tight, GradientRanges& ranges) {
    std::fill(sum_lo_.begin(), sum_lo_.end(), 0.0);
    std::fill(sum_hi_.begin(), sum_hi_.end(), 0.0);
    const BoundLayer& last = net_.layers[net_.depth];
    for (int r = 0; r < last.rows; ++r)
        if (output[r] != 0.0) spread(last, r, output[r], output[r]);
    for (int l = net_.depth - 1; l >= 0; --l) {
        const Layer& layer = net_.net.layers[l];
        const BoundLayer& form = net_.layers[l];
        const size_t first = net_.unit(l, 0);
        settle(first, static_cast<size_t>(layer.units), ranges);
        if (tight && level_[l] > 1) bound_inputs_of(l, output, ranges);
        row_lo_.assign(static_cast<size_t>(form.rows), 0.0);
        row_hi_ = row_lo_;
        for (const int i : live_[l]) {
            const size_t u = first + static_cast<size_t>(i);
            const double lo = ranges.lo[u], hi = ranges.hi[u];
            const Unit& unit = units_[u];
            if (!layer.is_max()) {
                const double ends[] = {unit.low * lo, unit.low * hi, unit.high * lo,
                                       unit.high * hi};
                row_lo_[i] = *std::min_element(ends, ends + 4);
                row_hi_[i] = *std::max_element(ends, ends + 4);
            } else {
                for (const int e : slots_[u]) {
                    row_lo_[e] += unit.open ? std::min(lo, 0.0) : lo;
                    row_hi_[e] += unit.open ? std::max(hi, 0.0) : hi;
                }
            }
        }
        for (const int r : live_rows_[l])
            if (row_lo_[r] != 0.0 || row_hi_[r] != 0.0) spread(form, r, row_lo_[r], row_hi_[r]);
    }
    settle(inputs(), static_cast<size_t>(net_.dim), ranges);
    if (tight && input_level_ > 1) bound_inputs_of(kInputs, output, ranges);
}

// ------------------------------------------------------------------------------- forwards

// Bounds of the gradients in the activations of a layer, or in the input, one by one.
void JacobianBounds::bound_inputs_of(int layer, const double* output, GradientRanges& ranges) {
    const size_t first = layer < 0 ? inputs() : net_.unit(layer, 0);
    std::vector<int> wanted;
    if (layer < 0) {
        wanted.assign(all_.begin(), all_.begin() + net_.dim);
    } else {
        for (const int i : live_[layer]) wanted.push_back(i);
    }
    for (size_t at = 0; at < wanted.size(); at += kMostLanes / 2) {
        const size_t n = std::min(wanted.size() - at, static_cast<size_t>(kMostLanes / 2));
        lanes_ = whole_lanes(static_cast<int>(2 * n));
        const auto lanes = static_cast<size_t>(lanes_);
        AlignedVector<double>& start = layer < 0 ? input_ : a_[layer];
        const int size = layer < 0 ? net_.dim : net_.net.layers[layer].units;
        start.assign(static_cast<size_t>(size) * lanes, 0.0);
        for (size_t i = 0; i < n; ++i) {
            start[static_cast<size_t>(wanted[at + i]) * lanes + 2 * i] = 1.0;
            start[static_cast<size_t>(wanted[at + i]) * lanes + 2 * i + 1] = -1.0;
        }
        push(layer, output, ranges, nullptr);
        for (size_t i = 0; i < n; ++i) {
            const size_t u = first + static_cast<size_t>(wanted[at + i]);
            double &lo = ranges.lo[u], &hi = ranges.hi[u];
            hi = std::min(hi, total_[2 * i]);
            lo = std::max(lo, -total_[2 * i + 1]);
            if (lo > hi) lo = hi = (lo + hi) / 2;
        }
    }
}

double JacobianBounds::above(const double* output, const double* slope,
                             const GradientRanges& ranges, std::vector<double>& weight) {
    lanes_ = kLane;
    input_.assign(static_cast<size_t>(net_.dim) * kLane, 0.0);
    for (size_t k = 0; k < static_cast<size_t>(net_.dim); ++k) input_[k * kLane] = slope[k];
    push(kInputs, output, ranges, &weight);
    return total_[0];
}

// Pushes the tangents of a layer's activations, or of the input, to the outputs: total_ bounds
// output . outputs from above.
void JacobianBounds::push(int from, const double* output, const GradientRanges& ranges,
                          std::vector<double>* weight) {
    const auto lanes = static_cast<size_t>(lanes_);
    total_.assign(lanes, 0.0);
    reached_.assign(static_cast<size_t>(net_.depth), 0);
    if (from >= 0) reached_[from] = 1;
    const auto add = [&](const LinearMap& map, const std::vector<int>& rows,
                         const std::vector<int>& cols, int n_cols, const double* source,
                         double* to) {
        if (map.dense)
            kernels_.multiply({map.w.data(), static_cast<size_t>(map.cols), 1}, rows.data(),
                              static_cast<int>(rows.size()), cols.data(), n_cols, source, to,
                              lanes_);
        else
            kernels_.gather(map.start.data(), map.col.data(), map.w.data(), rows.data(),
                            static_cast<int>(rows.size()), source, to, lanes_);
    };
    for (int l = from + 1; l < net_.depth; ++l) {
        const BoundLayer& form = net_.layers[l];
        AlignedVector<double>& z = z_[l];
        const auto touch = [&] {
            if (reached_[l]) return;
            reached_[l] = 1;
            z.resize(static_cast<size_t>(form.rows) * lanes);
            for (const int r : live_rows_[l])
                std::fill_n(&z[static_cast<size_t>(r) * lanes], lanes, 0.0);
        };
        for (const BoundLayer::Block& block : form.blocks) {
            if (block.map.empty() || !reached_[block.source]) continue;
            touch();
            const std::vector<int>& cols = live_[block.source];
            add(block.map, live_rows_[l], cols, static_cast<int>(cols.size()),
                a_[block.source].data(), z.data());
        }
        if (from < 0 && !form.input.empty()) {
            touch();
            add(form.input, live_rows_[l], all_, net_.dim, input_.data(), z.data());
        }
        if (reached_[l]) bend(l, ranges, weight);
    }
    const BoundLayer& last = net_.layers[net_.depth];
    const auto finish = [&](const LinearMap& map, const double* source) {
        for (int r = 0; r < last.rows; ++r) {
            if (output[r] == 0.0) continue;
            map.each(r, [&](int c, double w) {
                const double factor = output[r] * w;
                const double* t = source + static_cast<size_t>(c) * lanes;
                for (size_t i = 0; i < lanes; ++i) total_[i] += factor * t[i];
            });
        }
    };
    for (const BoundLayer::Block& block : last.blocks)
        if (reached_[block.source]) finish(block.map, a_[block.source].data());
    if (from < 0 && !last.input.empty()) finish(last.input, input_.data());
}

// From the tangents of a layer's rows to those of its activations.
void JacobianBounds::bend(int layer, const GradientRanges& ranges, std::vector<double>* weight) {
    const auto lanes = static_cast<size_t>(lanes_);
    const Layer& from = net_.net.layers[layer];
    const AlignedVector<double>& z = z_[layer];
    AlignedVector<double>& a = a_[layer];
    a.assign(static_cast<size_t>(from.units) * lanes, 0.0);
    std::vector<double> least(lanes), most(lanes);
    for (const int i : live_[layer]) {
        const size_t u = net_.unit(layer, i);
        const Unit& unit = units_[u];
        double* out = &a[static_cast<size_t>(i) * lanes];
        if (!unit.open) {
            const int row = from.is_max() ? unit.row : i;
            const double* in = &z[static_cast<size_t>(row) * lanes];
            for (size_t k = 0; k < lanes; ++k) out[k] = unit.low * in[k];
            continue;
        }
        if (from.is_max()) {
            std::fill(least.begin(), least.end(), kInfinity);
            std::fill(most.begin(), most.end(), -kInfinity);
            for (const int e : slots_[u]) {
                const double* in = &z[static_cast<size_t>(e) * lanes];
                for (size_t k = 0; k < lanes; ++k) {
                    least[k] = in[k] < least[k] ? in[k] : least[k];
                    most[k] = in[k] > most[k] ? in[k] : most[k];
                }
            }
        } else {
            const double* in = &z[static_cast<size_t>(i) * lanes];
            for (size_t k = 0; k < lanes; ++k) {
                const double p = unit.low * in[k], q = unit.high * in[k];
                least[k] = p < q ? p : q;
                most[k] = p < q ? q : p;
            }
        }
        const double lo = ranges.lo[u], hi = ranges.hi[u];
        const Share part = share(lo, hi);
        for (size_t k = 0; k < lanes; ++k) {
            out[k] = part.high * most[k] + part.low * least[k];
            total_[k] += part.price * (most[k] - least[k]);
        }
        if (weight) (*weight)[u] += (most[0] - least[0]) * std::max(-lo, hi);
    }
}

}  // namespace plv
