#include "bound/crown.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace plv {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSure = 1e-9;
constexpr double kTie = 1 + 0x1p-10, kNear = 0x1p-20;  // as in docs/proof_format.md
constexpr size_t kMostRows = 16;  // that are bounded together, from below and above
}  // namespace

Crown::Crown(const BoundNet& net, StopToken& stop)
    : net_(net), stop_(stop), kernels_(bound_kernels()) {
    const auto depth = static_cast<size_t>(net.depth);
    for (auto* lines : {&under_, &over_, &under_lift_, &over_lift_}) lines->resize(depth);
    windows_.resize(depth);
    open_lines_.resize(depth);
    moving_.resize(depth);
    gaps_.resize(depth);
    live_.resize(depth);
    is_live_.resize(depth);
    reached_.resize(depth);
    live_rows_.resize(depth);
    columns_.resize(depth + 1);
    h_.resize(depth + 1);
    touched_.assign(depth, 0);
    size_t most = static_cast<size_t>(net.dim);
    for (size_t l = 0; l <= depth; ++l)
        most = std::max(most, static_cast<size_t>(net.layers[l].rows));
    for (size_t l = 0; l < depth; ++l) {
        const auto units = static_cast<size_t>(net.net.layers[l].units);
        if (net.net.layers[l].is_max()) {
            windows_[l].resize(units);
            continue;
        }
        for (auto* lines : {&under_, &over_, &under_lift_, &over_lift_})
            (*lines)[l].assign(units, 0.0);
        open_lines_[l].assign(units, 0);
        gaps_[l].assign(units, 0.0);
    }
    all_.resize(most + 1);
    std::iota(all_.begin(), all_.end(), 0);
    use(nullptr);
    dependence_.assign(net.rows * static_cast<size_t>(net.dim), 0.0);
}

void Crown::use(std::shared_ptr<const BoundLayers> layers) {
    condensed_ = std::move(layers);
    at_hand_ = condensed_ ? condensed_.get() : &net_;
    const auto dim = static_cast<size_t>(net_.dim);
    std::fill(touched_.begin(), touched_.end(), kNone);
    first_.assign(1, dim + 1);
    for (const std::vector<int>& units : at_hand_->units)
        first_.push_back(first_.back() + units.size());
    // Where nothing was condensed, layers read blocks of units beside the input.
    const size_t own = condensed_ ? dim + 1 : dim;
    for (std::vector<int>& columns : columns_) columns.assign(all_.begin(), all_.begin() + own);
}

// Of a row of a layer, which has to be there.
int Crown::place(int layer, int row) const {
    if (!condensed_ || layer == net_.depth) return row;
    const std::vector<int>& units = condensed_->units[layer];
    return static_cast<int>(std::lower_bound(units.begin(), units.end(), row) - units.begin());
}

int Crown::known(double lo, double hi) {
    const double sure = kSure * std::max({1e-3, std::fabs(lo), std::fabs(hi)});
    return lo > sure ? 1 : hi < -sure ? 0 : -1;
}

bool Crown::is_open(const CellView& cell, int layer, int unit) const {
    const Layer& from = net_.net.layers[layer];
    if (cell.pieces[net_.unit(layer, unit)] >= 0) return false;
    if (from.is_max()) {
        int slots = 0;
        for (int s = 0; s < from.slots; ++s) slots += from.entry(unit, s) >= 0;
        return slots > 1;
    }
    const size_t row = net_.row(layer, unit);
    return !from.one_piece[unit] && known(cell.bounds.lo[row], cell.bounds.hi[row]) < 0;
}

int Crown::leading_slot(const CellView& cell, int layer, int window) const {
    const Layer& from = net_.net.layers[layer];
    const double *lo = &cell.bounds.lo[net_.row(layer, 0)],
                 *hi = &cell.bounds.hi[net_.row(layer, 0)];
    int lead = -1;
    for (int s = 0; s < from.slots; ++s)
        if (const int e = from.entry(window, s);
            e >= 0 && (lead < 0 || lo[e] > lo[from.entry(window, lead)]))
            lead = s;
    for (int s = 0; s < from.slots; ++s)
        if (const int e = from.entry(window, s);
            e >= 0 && s != lead && hi[e] > lo[from.entry(window, lead)])
            return -1;
    return lead;
}

double Crown::gap(const CellView& cell, int layer, int unit) const {
    const Layer& from = net_.net.layers[layer];
    if (from.is_max()) {  // by how much the largest slot varies
        double least = -kInfinity, most = -kInfinity;
        for (int s = 0; s < from.slots; ++s) {
            if (from.entry(unit, s) < 0) continue;
            const size_t row = net_.row(layer, from.entry(unit, s));
            least = std::max(least, cell.bounds.lo[row]);
            most = std::max(most, cell.bounds.hi[row]);
        }
        return most - least;
    }
    const size_t row = net_.row(layer, unit);
    const double lo = cell.bounds.lo[row], hi = cell.bounds.hi[row];
    return hi > 0.0 && lo < 0.0 ? -lo * hi / (hi - lo) : 0.0;
}

// ------------------------------------------------------------------------------- lines

void Crown::set_lines(const CellView& cell) {
    for (int l = 0; l < net_.depth; ++l) layer_lines(cell, l);
}

void Crown::move_lines(const Points& at) {
    for (int l = 0; l < net_.depth; ++l)
        for (const int j : moving_[l]) {
            const int unit = at_hand_->units[l][j];
            const double s = net_.net.layers[l].slope[unit];
            (s > 1.0 ? over_ : under_)[l][j] = at.value(l, unit, 0) > 0.0 ? 1.0 : s;
        }
}

void Crown::layer_lines(const CellView& cell, int layer) {
    const Layer& from = net_.net.layers[layer];
    const auto l = static_cast<size_t>(layer);
    live_[l].clear();
    moving_[l].clear();
    if (from.is_max()) {
        window_lines(cell, layer);
        return;
    }
    const double *zlo = &cell.bounds.lo[net_.row(layer, 0)],
                 *zhi = &cell.bounds.hi[net_.row(layer, 0)];
    const int8_t* pieces = &cell.pieces[net_.unit(layer, 0)];
    const std::vector<int>& units = at_hand_->units[l];
    is_live_[l].resize(units.size());
    for (int j = 0; j < static_cast<int>(units.size()); ++j) {
        const int unit = units[j];
        double &under = under_[l][j], &over = over_[l][j];
        double &under_lift = under_lift_[l][j], &over_lift = over_lift_[l][j];
        under_lift = over_lift = 0.0;
        const double s = from.one_piece[unit] ? 1.0 : from.slope[unit];
        int piece = from.one_piece[unit] ? 1 : pieces[unit];
        if (piece < 0) piece = known(zlo[unit], zhi[unit]);
        open_lines_[l][j] = piece < 0;
        gaps_[l][j] = 0.0;
        if (piece >= 0) {
            under = over = piece ? 1.0 : s;
        } else {
            // The chord, and the line through zero that is nearer.
            const double lo = std::min(zlo[unit], 0.0), hi = std::max(zhi[unit], 0.0);
            const double chord = hi > lo ? (hi - s * lo) / (hi - lo) : 1.0;
            const double lift = hi - chord * hi;
            const double line = hi > kTie * -lo ? 1.0 : s;
            under = line, over = chord, over_lift = lift;
            gaps_[l][j] = hi > lo ? -lo * hi / (hi - lo) : 0.0;
            if (s > 1.0) std::swap(under, over), std::swap(under_lift, over_lift);
        }
        const bool is_live = under != 0.0 || over != 0.0;
        is_live_[l][j] = is_live ? kLive : kDead;
        if (is_live) live_[l].push_back(j);
        if (is_live && piece < 0) moving_[l].push_back(j);
    }
    live_rows_[l] = live_[l];
    if (!condensed_) return;
    columns_[l + 1] = columns_[l];
    for (const int u : live_[l]) columns_[l + 1].push_back(static_cast<int>(first_[l]) + u);
}

void Crown::window_lines(const CellView& cell, int layer) {
    const Layer& from = net_.net.layers[layer];
    const auto l = static_cast<size_t>(layer);
    const double *zlo = &cell.bounds.lo[net_.row(layer, 0)],
                 *zhi = &cell.bounds.hi[net_.row(layer, 0)];
    live_rows_[l].clear();
    for (int j = 0; j < from.units; ++j) {
        Window& window = windows_[l][j];
        const int piece = cell.pieces[net_.unit(layer, j)];
        if (piece >= 0) {
            window = {from.entry(j, piece), from.entry(j, piece), 1.0, 0.0};
        } else {
            window = {-1, -1, 1.0, 0.0};
            for (int s = 0; s < from.slots; ++s) {
                const int e = from.entry(j, s);
                if (e < 0) continue;
                if (window.low < 0) window.low = e;
                const double lo = zlo[window.low], hi = zhi[window.low];
                const double size =
                    std::fabs(zlo[e]) + std::fabs(zhi[e]) + std::fabs(lo) + std::fabs(hi);
                if (zlo[e] + zhi[e] - (lo + hi) > kNear * size) window.low = e;
                if (window.high < 0 || zhi[e] > zhi[window.high]) window.high = e;
            }
            // The chord of what this slot and the others are at most, as in docs/proof_format.md.
            const double lo = zlo[window.high], hi = zhi[window.high];
            double least = lo;
            bool other = false;
            for (int s = 0; s < from.slots; ++s) {
                const int e = from.entry(j, s);
                if (e < 0 || (e == window.high && !other && (other = true))) continue;
                least = std::max(least, zhi[e]);
            }
            if (least > lo) {
                window.slope = (hi - least) / (hi - lo);
                window.lift = std::max(least - window.slope * lo, hi - window.slope * hi);
            }
        }
        live_[l].push_back(j);
        live_rows_[l].push_back(window.low);
        live_rows_[l].push_back(window.high);
    }
    std::sort(live_rows_[l].begin(), live_rows_[l].end());
    live_rows_[l].erase(std::unique(live_rows_[l].begin(), live_rows_[l].end()),
                        live_rows_[l].end());
}

// ------------------------------------------------------------------------------- substitution

// Room for so many forms in the pre-activations of a layer.
void Crown::start(int layer, int forms) {
    sizes_.clear();
    top_ = layer;
    forms_ = forms;
    lanes_ = whole_lanes(forms);
    for (int l = 0; l < net_.depth; ++l) forget(l);
    const auto lanes = static_cast<size_t>(lanes_), dim = static_cast<size_t>(net_.dim);
    if (const size_t most = first_[layer] * lanes; g_.size() < most) g_.resize(most);
    std::fill_n(g_.begin(), (condensed_ ? first_[layer] : dim + 1) * lanes, 0.0);
    input_ = g_.data();
    constant_ = input_ + dim * lanes;
    if (condensed_) std::fill_n(touched_.begin(), layer, kAll);
}

// The coefficients of a layer's activations, zero where nothing was added.
double* Crown::touch(int layer) {
    const auto l = static_cast<size_t>(layer);
    double* g = g_of(layer);
    if (touched_[l] == kAll) return g;
    for (const int u : live_[l])
        if (touched_[l] == kNone || is_live_[l][u] == kLive)
            std::fill_n(g + static_cast<size_t>(u * lanes_), lanes_, 0.0);
    forget(layer);
    touched_[l] = kAll;
    return g;
}

// Takes back the marks of units that were reached.
void Crown::forget(int layer) {
    if (touched_[layer] == kSome)
        for (const int u : reached_[layer])
            if (uint8_t& mark = is_live_[layer][u]; mark == kReached) mark = kLive;
    touched_[layer] = kNone;
}

// The same where only what one row of a sparse map reads was added.
double* Crown::touch(const BoundLayer::Block& block, int row) {
    const auto l = static_cast<size_t>(block.source), lanes = static_cast<size_t>(lanes_);
    if (net_.net.layers[l].is_max()) return touch(block.source);
    double* g = g_of(block.source);
    if (touched_[l] == kAll) return g;
    if (touched_[l] == kNone) reached_[l].clear();
    touched_[l] = kSome;
    uint8_t* live = is_live_[l].data();
    const int32_t* col = block.map.col.data();
    for (size_t k = block.map.start[row], end = block.map.start[row + 1]; k < end; ++k) {
        const int32_t u = col[k];
        if (live[u] != kLive) continue;
        live[u] = kReached;
        reached_[l].push_back(u);
        std::fill_n(g + static_cast<size_t>(u) * lanes, lanes, 0.0);
    }
    return g;
}

// Calls put(lanes of what a pre-activation reads, weight).
template <typename Put>
void Crown::push_row(int layer, int row, Put&& put) {
    const BoundLayer& form = at_hand_->layers[layer];
    const auto lanes = static_cast<size_t>(lanes_);
    const auto add = [&](const LinearMap& map, const std::vector<int>& columns, double* to) {
        const auto one = [&](int c, double w) { put(to + static_cast<size_t>(c) * lanes, w); };
        if (!map.dense) return map.each(row, one);
        const double* w = &map.w[static_cast<size_t>(row) * map.cols];
        for (const int c : columns) one(c, w[c]);
    };
    put(constant_, form.bias[row]);
    if (!form.input.empty()) add(form.input, columns_[layer], input_);
    for (const BoundLayer::Block& block : form.blocks)
        add(block.map, live_[block.source],
            block.map.dense ? touch(block.source) : touch(block, row));
}

// Adds weight times a pre-activation to one form.
void Crown::push_form(int layer, size_t lane, int row, double weight) {
    push_row(layer, row, [=](double* to, double w) { to[lane] += weight * w; });
}

// Replaces a layer's activations by lines in its pre-activations, and these by what they come from.
void Crown::descend(int layer) {
    const auto l = static_cast<size_t>(layer), lanes = static_cast<size_t>(lanes_);
    if (touched_[l] == kNone) return;
    const Layer& from = net_.net.layers[l];
    AlignedVector<double>& h = h_[l];
    h.resize(static_cast<size_t>(at_hand_->layers[l].rows) * lanes);
    if (!from.is_max()) {
        const LineView lines{under_[l].data(), over_[l].data(), under_lift_[l].data(),
                             over_lift_[l].data()};
        const std::vector<int>& units = touched_units(layer);
        kernels_.relax(lines, units.data(), static_cast<int>(units.size()), g_of(layer), h.data(),
                       constant_, lanes_);
    } else {
        for (const int r : live_rows_[l])
            std::fill_n(&h[static_cast<size_t>(r) * lanes], lanes, 0.0);
        for (const int j : live_[l]) {
            const Window& window = windows_[l][j];
            const double* g = g_of(layer) + static_cast<size_t>(j) * lanes;
            double* to = &h[static_cast<size_t>(window.low) * lanes];
            double* above = &h[static_cast<size_t>(window.high) * lanes];
            for (size_t i = 0; i < lanes; ++i) {
                if (g[i] > 0.0) {
                    to[i] += g[i];
                } else {
                    above[i] += window.slope * g[i];
                    constant_[i] += window.lift * g[i];
                }
            }
        }
    }
    push(layer);
}

void Crown::push(int layer) {
    const auto l = static_cast<size_t>(layer);
    const BoundLayer& form = at_hand_->layers[l];
    const double* h = h_[l].data();
    const std::vector<int>& rows = touched_rows(layer);
    const int count = static_cast<int>(rows.size());
    const auto add = [&](const LinearMap& map, const std::vector<int>& outs, int n, double* to) {
        if (map.dense)
            kernels_.multiply({map.w.data(), 1, static_cast<size_t>(map.cols)}, outs.data(), n,
                              rows.data(), count, h, to, lanes_);
        else
            kernels_.scatter(map.start.data(), map.col.data(), map.w.data(), rows.data(), count, h,
                             to, lanes_);
    };
    for (const BoundLayer::Block& block : form.blocks) {
        const std::vector<int>& outs = live_[block.source];
        double* to = g_of(block.source);
        if (block.map.dense)
            touch(block.source);
        else
            for (const int r : rows) touch(block, r);
        add(block.map, outs, static_cast<int>(outs.size()), to);
    }
    if (!form.input.empty())
        add(form.input, columns_[l], static_cast<int>(columns_[l].size()), input_);
    biased_.clear();
    for (const int r : rows)
        if (form.bias[r] != 0.0) biased_.push_back(r);
    if (!biased_.empty())
        kernels_.multiply({form.bias.data(), 0, 1}, all_.data(), 1, biased_.data(),
                          static_cast<int>(biased_.size()), h, constant_, lanes_);
}

bool Crown::intervals(const CellView& cell) {
    std::vector<std::vector<double>> lo(static_cast<size_t>(net_.depth)), hi(lo.size());
    for (int l = 0; l < net_.depth; ++l) {
        const BoundLayer& form = net_.layers[l];
        const Layer& from = net_.net.layers[l];
        double *zlo = &cell.bounds.lo[net_.row(l, 0)], *zhi = &cell.bounds.hi[net_.row(l, 0)];
        for (int r = 0; r < form.rows; ++r) {
            double least = form.bias[r], most = least;
            const auto add = [&](const LinearMap& map, const double* a, const double* b) {
                map.each(r, [&](int k, double w) {
                    least += w > 0.0 ? w * a[k] : w * b[k];
                    most += w > 0.0 ? w * b[k] : w * a[k];
                });
            };
            if (!form.input.empty()) add(form.input, cell.lo, cell.hi);
            for (const BoundLayer::Block& block : form.blocks)
                add(block.map, lo[block.source].data(), hi[block.source].data());
            zlo[r] = std::max(zlo[r], least);
            zhi[r] = std::min(zhi[r], most);
            const double gap = kSure * std::max({1e-3, std::fabs(zlo[r]), std::fabs(zhi[r])});
            if (zlo[r] > zhi[r] + gap) return false;
            if (zlo[r] > zhi[r]) zlo[r] = zhi[r] = (zlo[r] + zhi[r]) / 2;
        }
        lo[l].resize(static_cast<size_t>(from.units));
        hi[l].resize(lo[l].size());
        for (int j = 0; j < from.units; ++j) {
            double &least = lo[l][j], &most = hi[l][j];
            if (from.is_max()) {
                least = most = -kInfinity;
                for (int s = 0; s < from.slots; ++s)
                    if (const int e = from.entry(j, s); e >= 0)
                        least = std::max(least, zlo[e]), most = std::max(most, zhi[e]);
                continue;
            }
            const double slope = from.one_piece[j] ? 1.0 : from.slope[j];
            const auto at = [&](double z) { return z > 0.0 ? z : slope * z; };
            least = std::min(at(zlo[j]), at(zhi[j]));
            most = std::max(at(zlo[j]), at(zhi[j]));
            if (slope < 0.0 && zlo[j] < 0.0 && zhi[j] > 0.0) least = std::min(least, 0.0);
        }
    }
    return true;
}

bool Crown::tighten(const CellView& cell, const HalfSpaces* where) {
    for (int l = 0; l < net_.depth; ++l) {
        if (!bound_layer(cell, l, where)) return false;
        layer_lines(cell, l);
    }
    return true;
}

bool Crown::bound_layer(const CellView& cell, int layer, const HalfSpaces* where) {
    const Layer& from = net_.net.layers[layer];
    double *zlo = &cell.bounds.lo[net_.row(layer, 0)], *zhi = &cell.bounds.hi[net_.row(layer, 0)];
    open_.clear();
    if (!from.is_max()) {
        for (const int j : at_hand_->units[layer])
            if (!from.one_piece[j] && known(zlo[j], zhi[j]) < 0) open_.push_back(j);
    } else {
        // Slots of windows that are not fixed.
        for (int j = 0; j < from.units; ++j)
            for (int s = 0; s < from.slots && cell.pieces[net_.unit(layer, j)] < 0; ++s)
                if (from.entry(j, s) >= 0) open_.push_back(from.entry(j, s));
        std::sort(open_.begin(), open_.end());
        open_.erase(std::unique(open_.begin(), open_.end()), open_.end());
    }
    const auto dim = static_cast<size_t>(net_.dim);
    for (size_t at = 0; at < open_.size(); at += kMostRows) {
        if (stop_.poll()) throw Stopped{};
        const size_t n = std::min(kMostRows, open_.size() - at);
        start(layer, static_cast<int>(2 * n));
        for (size_t i = 0; i < n; ++i) {
            push_row(layer, place(layer, open_[at + i]), [=](double* to, double w) {
                to[2 * i] += w;
                to[2 * i + 1] -= w;
            });
        }
        for (int k = layer - 1; k >= 0; --k) descend(k);
        const auto lanes = static_cast<size_t>(lanes_);
        if (where != nullptr) raw_constant_.assign(constant_, constant_ + lanes);
        least_on(cell, static_cast<int>(2 * n));
        if (where != nullptr)
            kernels_.least_where(where->view(), input_, cell.lo, cell.hi, net_.dim,
                                 raw_constant_.data(), constant_, lanes_);
        for (size_t i = 0; i < n; ++i) {
            const auto row = static_cast<size_t>(open_[at + i]);
            double &lo = zlo[row], &hi = zhi[row];
            lo = std::max(lo, constant_[2 * i]);
            hi = std::min(hi, -constant_[2 * i + 1]);
            const double gap = kSure * std::max({1e-3, std::fabs(lo), std::fabs(hi)});
            if (lo > hi + gap) return false;
            if (lo > hi) lo = hi = (lo + hi) / 2;
            double* depends = dependence_.data() + net_.row(layer, static_cast<int>(row)) * dim;
            for (size_t k = 0; k < dim; ++k)
                depends[k] = (std::fabs(input_[k * lanes + 2 * i]) +
                              std::fabs(input_[k * lanes + 2 * i + 1])) *
                             (cell.hi[k] - cell.lo[k]);
        }
    }
    return true;
}

void Crown::below(int layer, const std::vector<LinearForm>& forms, const CellView& cell,
                  std::vector<LinearBound>& out) {
    start(layer, static_cast<int>(forms.size()));
    const auto dim = static_cast<size_t>(net_.dim), lanes = static_cast<size_t>(lanes_);
    start_constant_.assign(forms.size(), 0.0);
    start_slope_.assign(forms.size(), 0.0);
    h_[layer].assign(static_cast<size_t>(at_hand_->layers[layer].rows) * lanes, 0.0);
    for (size_t i = 0; i < forms.size(); ++i) {
        for (const auto& [at, weight] : forms[i].terms) {
            const int row = place(layer, at);
            push_form(layer, i, row, weight);
            h_[layer][static_cast<size_t>(row) * lanes + i] += weight;
        }
        constant_[i] += forms[i].constant;
        start_constant_[i] = std::fabs(forms[i].constant);
        for (size_t k = 0; forms[i].slope && k < dim; ++k) {
            input_[k * lanes + i] += forms[i].slope[k];
            start_slope_[i] += std::fabs(forms[i].slope[k]);
        }
    }
    for (int k = layer - 1; k >= 0; --k) descend(k);
    out.resize(forms.size());
    for (size_t i = 0; i < forms.size(); ++i) {
        out[i].constant = constant_[i];
        out[i].slope.resize(dim);
        for (size_t k = 0; k < dim; ++k) out[i].slope[k] = input_[k * lanes + i];
    }
    least_on(cell, forms_);
    for (size_t i = 0; i < forms.size(); ++i) {
        out[i].least = constant_[i];
        out[i].ball = ball_[i];
    }
}

// Adds the minima of the lanes' linear functions of the input.
void Crown::least_on(const CellView& cell, int count) {
    ball_.assign(static_cast<size_t>(lanes_), 0.0);
    if (cell.ball == nullptr) {
        kernels_.least(input_, cell.lo, cell.hi, net_.dim, constant_, lanes_);
        return;
    }
    point_.resize(static_cast<size_t>(net_.dim));
    for (int i = 0; i < count; ++i) {
        const BallLeast found = least_over(*cell.ball, input_ + i, static_cast<size_t>(lanes_),
                                           cell.lo, cell.hi, 1, point_.data(), 1);
        constant_[i] += found.value;
        ball_[i] = found.multiplier;
    }
}

double Crown::size(size_t i) {
    if (!sizes_.empty()) return sizes_[i];
    sizes_.assign(static_cast<size_t>(lanes_), 0.0);
    for (size_t k = 0; k < start_constant_.size(); ++k)
        sizes_[k] = start_constant_[k] + start_slope_[k];
    add_sizes();
    return sizes_[i];
}

void Crown::add_sizes() {
    const auto add = [&](int l, const std::vector<int>& rows, int count) {
        kernels_.add_sizes(at_hand_->layers[l].size.data(), rows.data(), count, h_[l].data(),
                           sizes_.data(), lanes_);
    };
    add(top_, all_, at_hand_->layers[top_].rows);
    for (int l = top_ - 1; l >= 0; --l) {
        if (touched_[l] == kNone) continue;
        const std::vector<int>&rows = touched_rows(l), &units = touched_units(l);
        add(l, rows, static_cast<int>(rows.size()));
        if (!net_.net.layers[l].is_max()) {
            const LineView lines{under_[l].data(), over_[l].data(), under_lift_[l].data(),
                                 over_lift_[l].data()};
            kernels_.add_lifts(lines, units.data(), static_cast<int>(units.size()), g_of(l),
                               sizes_.data(), lanes_);
            continue;
        }
        for (const int u : units) {
            const double* g = g_of(l) + static_cast<size_t>(u) * static_cast<size_t>(lanes_);
            const double lift = std::fabs(windows_[l][u].lift);
            for (int k = 0; k < lanes_ && lift != 0.0; ++k)
                if (!(g[k] > 0.0)) sizes_[static_cast<size_t>(k)] += std::fabs(g[k]) * lift;
        }
    }
}

void Crown::costs(const CellView& cell, std::vector<double>& out) {
    costs_.assign(static_cast<size_t>(lanes_), 0.0);
    for (int l = top_ - 1; l >= 0; --l) {
        if (touched_[l] == kNone) continue;
        const std::vector<int>& units = touched_units(l);
        if (!net_.net.layers[l].is_max()) {
            kernels_.add_sizes(gaps_[l].data(), units.data(), static_cast<int>(units.size()),
                               g_of(l), costs_.data(), lanes_);
            continue;
        }
        for (const int u : units) {
            if (!is_open(cell, l, u)) continue;
            const double* g = g_of(l) + static_cast<size_t>(u) * static_cast<size_t>(lanes_);
            const double most = gap(cell, l, u);
            for (int i = 0; i < forms_; ++i)
                costs_[static_cast<size_t>(i)] += std::fabs(g[i]) * most;
        }
    }
    out.assign(costs_.begin(), costs_.begin() + forms_);
}

double Crown::loss(const CellView& cell, const Multiplier& of, const Points& at) const {
    const Layer& from = net_.net.layers[of.layer];
    if (from.is_max()) {
        const Window& window = windows_[of.layer][of.unit];
        double most = -kInfinity;
        for (int s = 0; s < from.slots; ++s)
            if (const int e = from.entry(of.unit, s); e >= 0)
                most = std::max(most, at.value(of.layer, e, 0));
        const double line = of.g > 0.0
                                ? at.value(of.layer, window.low, 0)
                                : window.slope * at.value(of.layer, window.high, 0) + window.lift;
        return of.g * (most - line);
    }
    const size_t row = net_.row(of.layer, of.unit);
    const double z = at.value(of.layer, of.unit, 0), s = from.slope[of.unit];
    const double a = z > 0.0 ? z : s * z;
    if (!of.chord) return of.g * a - of.h * z;
    const double lo = std::min(cell.bounds.lo[row], 0.0), hi = std::max(cell.bounds.hi[row], 0.0);
    if (!(hi > lo)) return 0.0;
    const double chord = (hi - s * lo) / (hi - lo);
    return of.g * (a - (chord * z + hi - chord * hi));
}

void Crown::multipliers(size_t i, const CellView& cell, std::vector<Multiplier>& out) const {
    const auto lanes = static_cast<size_t>(lanes_);
    out.clear();
    for (int l = std::min(top_, net_.depth) - 1; l >= 0; --l) {
        if (touched_[l] == kNone) continue;
        const Layer& from = net_.net.layers[l];
        const double* g_at = g_of(l) + i;
        if (!from.is_max()) {
            const std::vector<int>& numbers = at_hand_->units[l];
            const double* h_at = h_[l].data() + i;
            for (const int u : touched_units(l)) {
                if (open_lines_[l][u] == 0) continue;
                const double g = g_at[static_cast<size_t>(u) * lanes];
                if (g == 0.0) continue;
                const int unit = numbers[u];
                const bool chord = (g > 0.0) == (from.slope[unit] > 1.0);
                out.push_back({l, unit, 0, h_at[static_cast<size_t>(u) * lanes], g, chord});
            }
            continue;
        }
        for (const int u : touched_units(l)) {
            const double g = g_at[static_cast<size_t>(u) * lanes];
            if (g == 0.0 || !is_open(cell, l, u)) continue;
            const Window& window = windows_[l][u];
            const double h = g > 0.0 ? g : g * window.slope;
            int slot = 0;
            while (from.entry(u, slot) != (g > 0.0 ? window.low : window.high)) ++slot;
            out.push_back({l, u, slot, h, g, true});
        }
    }
}

}  // namespace plv
