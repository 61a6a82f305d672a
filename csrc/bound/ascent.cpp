#include "bound/ascent.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace plv {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSure = 1e-9;  // of the terms of a sum: rounding them and multipliers is far less
constexpr float kUnset = -2e30F;
constexpr double kFirstRate = 0.9, kSecondRate = 0.999;  // as in Adam
constexpr double kSlopeStep = 0.2, kSplitStep = 0.2, kGoalStep = 0.3, kShareStep = 1.0,
                 kDecay = 0.97;
constexpr double kLater = -4.0;  // exponent of the slots that do not begin with the largest share
constexpr double kMean = 0.1;    // weight of the newest value in means
}  // namespace

Ascent::Ascent(const BoundNet& net, std::vector<LinearForm> goals, StopToken& stop)
    : net_(net), goals_(std::move(goals)), stop_(stop), kernels_(bound_kernels()) {
    sheets_.resize(static_cast<size_t>(net.depth));
    scale_.resize(sheets_.size());
    int most = net.dim;
    for (int l = 0; l <= net.depth; ++l) most = std::max(most, net.layers[l].rows);
    for (int l = 0; l < net.depth; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& from = net.net.layers[l];
        const size_t units = static_cast<size_t>(from.units) * kLanes,
                     rows = static_cast<size_t>(net.layers[l].rows) * kLanes;
        most = std::max(most, from.units);
        for (auto* one : {&sheet.g, &sheet.a}) one->assign(units, 0.0);
        for (auto* one : {&sheet.h, &sheet.z}) one->assign(rows, 0.0);
        if (from.is_max()) {
            sheet.windows.resize(units);
            for (auto* one : {&sheet.share, &sheet.exponent})
                one->assign(units * static_cast<size_t>(from.slots), 0.0);
            continue;
        }
        for (auto* one : {&sheet.under, &sheet.over, &sheet.under_lift, &sheet.over_lift,
                          &sheet.open, &sheet.first, &sheet.second, &sheet.mean_z, &sheet.mean_a})
            one->assign(units, 0.0);
    }
    all_.resize(static_cast<size_t>(most));
    std::iota(all_.begin(), all_.end(), 0);
    const auto dim = static_cast<size_t>(std::max(net.dim, 1)) * kLanes;
    for (auto* one : {&lo_, &hi_, &input_, &point_}) one->assign(dim, 0.0);
    const auto outputs = static_cast<size_t>(net.layers.back().rows) * kLanes;
    out_h_.assign(outputs, 0.0);
    out_z_.assign(outputs, 0.0);
    for (const LinearForm& goal : goals_) {
        double most_of = std::fabs(goal.constant);
        for (const auto& [row, weight] : goal.terms) {
            out_rows_.push_back(row);
            most_of = std::max(most_of, std::fabs(weight));
        }
        for (int k = 0; k < net.dim && goal.slope; ++k)
            most_of = std::max(most_of, std::fabs(goal.slope[k]));
        goal_scale_.push_back(most_of > 0.0 ? 1.0 / most_of : 1.0);
    }
    std::sort(out_rows_.begin(), out_rows_.end());
    out_rows_.erase(std::unique(out_rows_.begin(), out_rows_.end()), out_rows_.end());
    for (auto* one : {&weight_, &exponent_, &goal_first_, &goal_second_, &split_, &split_first_,
                      &split_second_})
        one->resize(kLanes);
    least_.assign(kLanes, -kInfinity);
    refuted_.assign(kLanes, 0);
    shown_.resize(kLanes);
}

int Ascent::rows_of(const Layer& layer, const FixedUnit& fixed) {
    if (!layer.is_max()) return 1;
    int count = 0;
    for (int s = 0; s < layer.slots; ++s)
        count += s != fixed.piece && layer.entry(fixed.unit, s) >= 0;
    return count;
}

// ------------------------------------------------------------------------------- lanes

void Ascent::load(int lane, const CellView& cell, const std::vector<FixedUnit>& path,
                  const Climb& from) {
    const auto at = static_cast<size_t>(lane);
    if (lane == 0) splits_.clear();
    loaded_ = lane + 1;
    prepared_ = false;
    ball_ = cell.ball;
    least_[at] = -kInfinity;
    refuted_[at] = 0;
    for (int k = 0; k < net_.dim; ++k) {
        lo_[static_cast<size_t>(k) * kLanes + at] = cell.lo[k];
        hi_[static_cast<size_t>(k) * kLanes + at] = cell.hi[k];
    }
    exponent_[at] = from.goals;
    exponent_[at].resize(goals_.size(), 0.0);
    for (auto* one : {&goal_first_, &goal_second_}) (*one)[at].assign(goals_.size(), 0.0);
    weight_[at].resize(goals_.size());
    int rows = 0;
    for (const FixedUnit& fixed : path) {
        const Layer& layer = net_.net.layers[fixed.layer];
        if (!layer.is_max()) {
            splits_.push_back(
                {fixed.layer, -1, fixed.unit, fixed.piece ? 1.0 : -1.0, lane, rows++});
            continue;
        }
        for (int s = 0; s < layer.slots; ++s) {
            const int row = layer.entry(fixed.unit, s);
            if (row < 0 || s == fixed.piece) continue;
            const int top = layer.entry(fixed.unit, fixed.piece);
            splits_.push_back({fixed.layer, top, row, 1.0, lane, rows++});
        }
    }
    split_[at] = from.splits;
    split_[at].resize(static_cast<size_t>(rows), 0.0);
    for (auto* one : {&split_first_, &split_second_})
        (*one)[at].assign(static_cast<size_t>(rows), 0.0);
    lines_of(lane, cell, from);
}

void Ascent::lines_of(int lane, const CellView& cell, const Climb& from) {
    for (int l = 0; l < net_.depth; ++l) {
        const Layer& layer = net_.net.layers[l];
        Sheet& sheet = sheets_[l];
        const double *zlo = &cell.bounds.lo[net_.row(l, 0)], *zhi = &cell.bounds.hi[net_.row(l, 0)];
        const size_t first = net_.unit(l, 0);
        const int8_t* pieces = cell.pieces + first;
        for (int j = 0; j < layer.units; ++j) {
            const size_t at = static_cast<size_t>(j * kLanes + lane);
            if (layer.is_max()) {
                window_of(lane, l, j, pieces[j], zlo, zhi, from);
                continue;
            }
            const double s = layer.one_piece[j] ? 1.0 : layer.slope[j];
            int piece = layer.one_piece[j] ? 1 : pieces[j];
            if (piece < 0) piece = Crown::known(zlo[j], zhi[j]);
            sheet.under_lift[at] = sheet.over_lift[at] = sheet.open[at] = 0.0;
            if (piece >= 0) {
                sheet.under[at] = sheet.over[at] = piece ? 1.0 : s;
                continue;
            }
            const double lo = std::min(zlo[j], 0.0), hi = std::max(zhi[j], 0.0);
            const double chord = hi > lo ? (hi - s * lo) / (hi - lo) : 1.0;
            const float set = from.slopes.empty() ? kUnset : from.slopes[first + j];
            const double line = set > kUnset
                                    ? std::clamp<double>(set, std::min(s, 1.0), std::max(s, 1.0))
                                : hi > -lo ? 1.0
                                           : s;
            auto &moves = s > 1.0 ? sheet.over : sheet.under,
                 &stays = s > 1.0 ? sheet.under : sheet.over;
            moves[at] = line;
            stays[at] = chord;
            (s > 1.0 ? sheet.under_lift : sheet.over_lift)[at] = hi - chord * hi;
            sheet.open[at] = 1.0;
        }
    }
}

// Above an open window lies the chord of the slot that may be the largest, over the largest that
// the others may be; below it any mean of the slots.
void Ascent::window_of(int lane, int l, int j, int piece, const double* zlo, const double* zhi,
                       const Climb& from) {
    const Layer& layer = net_.net.layers[l];
    Sheet& sheet = sheets_[l];
    Window& window = sheet.windows[static_cast<size_t>(j * kLanes + lane)];
    window = {-1, true, piece < 0, 1.0, 0.0};
    if (piece >= 0) {
        window.row = layer.entry(j, piece);
        return;
    }
    int low = -1, high = -1;
    double others = -kInfinity;
    for (int s = 0; s < layer.slots; ++s) {
        const int e = layer.entry(j, s);
        if (e < 0) continue;
        if (low < 0 || zlo[e] > zlo[low]) low = e;
        if (high < 0 || zhi[e] > zhi[high]) high = e;
    }
    for (int s = 0; s < layer.slots; ++s) {
        const int e = layer.entry(j, s);
        if (e < 0) continue;
        if (e != low && zhi[e] > zlo[low]) window.leads = false;
        if (e != high) others = std::max(others, zhi[e]);
    }
    window.row = window.leads ? low : high;
    if (window.leads) return;
    window.slope = (zhi[high] - others) / (zhi[high] - zlo[high]);
    window.lift = others - window.slope * zlo[high];
    for (int s = 0; s < layer.slots; ++s) {
        const int e = layer.entry(j, s);
        const size_t at = static_cast<size_t>((s * layer.units + j) * kLanes + lane);
        const size_t own = window_base(l) + static_cast<size_t>(s * layer.units + j);
        sheet.exponent[at] = e < 0 || zhi[e] <= zlo[low] ? -kInfinity
                             : !from.shares.empty()      ? from.shares[own]
                             : e == low                  ? 0.0
                                                         : kLater;
    }
}

// The shares of an open window's slots in the line below it.
void Ascent::share_out() {
    for (int l = 0; l < net_.depth; ++l) {
        const Layer& layer = net_.net.layers[l];
        Sheet& sheet = sheets_[l];
        for (int j = 0; layer.is_max() && j < layer.units; ++j)
            for (int i = 0; i < loaded_; ++i) {
                const Window& window = sheet.windows[static_cast<size_t>(j * kLanes + i)];
                if (!window.open || window.leads) continue;
                const auto at = [&](int s) {
                    return static_cast<size_t>((s * layer.units + j) * kLanes + i);
                };
                double top = -kInfinity, sum = 0.0;
                for (int s = 0; s < layer.slots; ++s) top = std::max(top, sheet.exponent[at(s)]);
                for (int s = 0; s < layer.slots; ++s)
                    sum += sheet.share[at(s)] = std::exp(sheet.exponent[at(s)] - top);
                for (int s = 0; s < layer.slots; ++s) sheet.share[at(s)] /= sum;
            }
    }
}

size_t Ascent::window_base(int layer) const {
    size_t base = 0;
    for (int l = 0; l < layer; ++l)
        base += static_cast<size_t>(net_.net.layers[l].slots) *
                static_cast<size_t>(net_.net.layers[l].units);
    return base;
}

// Lanes that are not loaded are copies of the first; what counts on some lane.
void Ascent::prepare() {
    prepared_ = true;
    share_out();
    for (int l = 0; l < net_.depth; ++l) {
        const Layer& layer = net_.net.layers[l];
        Sheet& sheet = sheets_[l];
        sheet.live.clear();
        sheet.rows.clear();
        sheet.moving.clear();
        for (int j = 0; j < layer.units; ++j) {
            const size_t at = static_cast<size_t>(j) * kLanes;
            if (layer.is_max()) {
                std::fill_n(&sheet.windows[at + loaded_], kLanes - loaded_, sheet.windows[at]);
                sheet.live.push_back(j);
                bool open = false;
                for (int i = 0; i < loaded_; ++i) {
                    sheet.rows.push_back(sheet.windows[at + i].row);
                    open |= sheet.windows[at + i].open && !sheet.windows[at + i].leads;
                }
                for (int s = 0; s < layer.slots && open; ++s)
                    if (layer.entry(j, s) >= 0) sheet.rows.push_back(layer.entry(j, s));
                continue;
            }
            bool live = false, open = false;
            for (auto* one :
                 {&sheet.under, &sheet.over, &sheet.under_lift, &sheet.over_lift, &sheet.open})
                std::fill_n(&(*one)[at + loaded_], kLanes - loaded_, (*one)[at]);
            for (int i = 0; i < loaded_; ++i) {
                live |= sheet.under[at + i] != 0.0 || sheet.over[at + i] != 0.0;
                open |= sheet.open[at + i] != 0.0;
            }
            if (live || open) sheet.live.push_back(j);
            if (!open) continue;
            sheet.moving.push_back(j);
            std::fill_n(&sheet.first[at], kLanes, 0.0);
            std::fill_n(&sheet.second[at], kLanes, 0.0);
        }
        if (!layer.is_max()) sheet.rows = sheet.live;
    }
    for (const Split& split : splits_) {
        sheets_[split.layer].rows.push_back(split.row);
        if (split.sign_row >= 0) sheets_[split.layer].rows.push_back(split.sign_row);
    }
    for (Sheet& sheet : sheets_) {
        std::sort(sheet.rows.begin(), sheet.rows.end());
        sheet.rows.erase(std::unique(sheet.rows.begin(), sheet.rows.end()), sheet.rows.end());
    }
    for (int k = 0; k < net_.dim; ++k)
        for (auto* one : {&lo_, &hi_})
            std::fill_n(&(*one)[static_cast<size_t>(k) * kLanes + loaded_], kLanes - loaded_,
                        (*one)[static_cast<size_t>(k) * kLanes]);
    for (AlignedVector<double>& one : scale_) one.assign(kLanes, 0.0);
}

// ------------------------------------------------------------------------------- passes

double* Ascent::touch(int layer) {
    Sheet& sheet = sheets_[layer];
    if (!sheet.touched) {
        sheet.touched = true;
        for (const int u : sheet.live)
            std::fill_n(&sheet.g[static_cast<size_t>(u) * kLanes], kLanes, 0.0);
    }
    return sheet.g.data();
}

// Down: from coefficients of pre-activations to those of what they are made of; up: from values of
// activations and of the input to pre-activations.
void Ascent::push(int layer, bool down) {
    const BoundLayer& form = net_.layers[layer];
    const bool last = layer == net_.depth;
    const std::vector<int>& rows = last ? out_rows_ : sheets_[layer].rows;
    double* h = last ? out_h_.data() : sheets_[layer].h.data();
    double* z = last ? out_z_.data() : sheets_[layer].z.data();
    const int n_rows = static_cast<int>(rows.size());
    const auto move = [&](const LinearMap& map, const int* others, int n_others, double* values) {
        const auto cols = static_cast<size_t>(map.cols);
        if (map.dense && down)
            kernels_.multiply({map.w.data(), 1, cols}, others, n_others, rows.data(), n_rows, h,
                              values, kLanes);
        else if (map.dense)
            kernels_.multiply({map.w.data(), cols, 1}, rows.data(), n_rows, others, n_others,
                              values, z, kLanes);
        else if (down)
            kernels_.scatter(map.start.data(), map.col.data(), map.w.data(), rows.data(), n_rows, h,
                             values, kLanes);
        else
            kernels_.gather(map.start.data(), map.col.data(), map.w.data(), rows.data(), n_rows,
                            values, z, kLanes);
    };
    for (const int r : rows) {
        const double b = form.bias[r];
        const size_t at = static_cast<size_t>(r) * kLanes;
        if (!down)
            std::fill_n(z + at, kLanes, b);
        else if (b != 0.0)
            for (int i = 0; i < kLanes; ++i) constant_[i] += b * h[at + i];
    }
    for (const BoundLayer::Block& block : form.blocks) {
        const std::vector<int>& live = sheets_[block.source].live;
        move(block.map, live.data(), static_cast<int>(live.size()),
             down ? touch(block.source) : sheets_[block.source].a.data());
    }
    if (!form.input.empty())
        move(form.input, all_.data(), net_.dim, down ? input_.data() : point_.data());
}

void Ascent::backward() {
    if (stop_.poll()) throw Stopped{};
    for (Sheet& sheet : sheets_) sheet.touched = false;
    std::fill(input_.begin(), input_.end(), 0.0);
    for (const int r : out_rows_)
        std::fill_n(&out_h_[static_cast<size_t>(r) * kLanes], kLanes, 0.0);
    for (int i = 0; i < kLanes; ++i) {
        const auto lane = static_cast<size_t>(i < loaded_ ? i : 0);
        constant_[i] = 0.0;
        double sum = 0.0, top = 0.0;
        for (const double e : exponent_[lane]) top = std::max(top, e);
        for (size_t g = 0; g < goals_.size(); ++g)
            sum += weight_[lane][g] = std::exp(exponent_[lane][g] - top);
        for (size_t g = 0; g < goals_.size(); ++g) {
            double w = goals_.size() == 1 ? 1.0 : weight_[lane][g] / sum * goal_scale_[g];
            if (w < 1e-9 * goal_scale_[g]) w = 0.0;
            weight_[lane][g] = w;
            constant_[i] += w * goals_[g].constant;
            for (const auto& [row, c] : goals_[g].terms)
                out_h_[static_cast<size_t>(row) * kLanes + i] += w * c;
            for (int k = 0; k < net_.dim && goals_[g].slope; ++k)
                input_[static_cast<size_t>(k) * kLanes + i] += w * goals_[g].slope[k];
        }
    }
    push(net_.depth, true);
    for (int l = net_.depth - 1; l >= 0; --l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        const bool split = std::any_of(splits_.begin(), splits_.end(),
                                       [&](const Split& s) { return s.layer == l; });
        if (!sheet.touched && !split) continue;
        touch(l);
        for (const int r : sheet.rows)
            std::fill_n(&sheet.h[static_cast<size_t>(r) * kLanes], kLanes, 0.0);
        if (!layer.is_max()) {
            const LineView lines{sheet.under.data(), sheet.over.data(), sheet.under_lift.data(),
                                 sheet.over_lift.data()};
            kernels_.relax_each(lines, sheet.live.data(), static_cast<int>(sheet.live.size()),
                                sheet.g.data(), sheet.h.data(), constant_);
        } else {
            for (const int j : sheet.live)
                for (int i = 0; i < loaded_; ++i) {
                    const Window& window = sheet.windows[static_cast<size_t>(j) * kLanes + i];
                    const double g = sheet.g[static_cast<size_t>(j) * kLanes + i];
                    if (g <= 0.0 || window.leads) {
                        sheet.h[static_cast<size_t>(window.row) * kLanes + i] += g * window.slope;
                        constant_[i] += g * window.lift;
                        continue;
                    }
                    for (int s = 0; s < layer.slots; ++s)
                        if (const int e = layer.entry(j, s); e >= 0)
                            sheet.h[static_cast<size_t>(e) * kLanes + i] +=
                                g *
                                sheet
                                    .share[static_cast<size_t>((s * layer.units + j) * kLanes + i)];
                }
        }
        for (const Split& s : splits_) {
            if (s.layer != l) continue;
            const double v = split_[s.lane][s.at];
            sheet.h[static_cast<size_t>(s.row) * kLanes + s.lane] +=
                s.sign_row >= 0 ? v : -s.sign * v;
            if (s.sign_row >= 0) sheet.h[static_cast<size_t>(s.sign_row) * kLanes + s.lane] -= v;
        }
        push(l, true);
    }
    if (ball_ == nullptr)
        kernels_.least_each(input_.data(), lo_.data(), hi_.data(), net_.dim, constant_,
                            point_.data());
    for (int i = 0; ball_ != nullptr && i < loaded_; ++i) {
        const BallLeast found =
            least_over(*ball_, &input_[i], kLanes, &lo_[i], &hi_[i], kLanes, &point_[i], kLanes);
        constant_[i] += found.value;
        ball_multiplier_[i] = found.multiplier;
    }
    for (int i = 0; i < loaded_; ++i) {
        double& least = least_[i];
        if (refuted_[i] || !(constant_[i] > least)) continue;
        least = constant_[i];
        if (least > 0.0 && least > kSure * size(i)) {
            refuted_[i] = 1;
            show(i);
        }
    }
}

double Ascent::size(int lane) const {
    double sum = 0.0;
    for (size_t g = 0; g < goals_.size(); ++g) {
        double one = std::fabs(goals_[g].constant);
        for (int k = 0; k < net_.dim && goals_[g].slope; ++k) one += std::fabs(goals_[g].slope[k]);
        sum += weight_[lane][g] * one;
    }
    for (const int r : out_rows_)
        sum +=
            std::fabs(out_h_[static_cast<size_t>(r) * kLanes + lane]) * net_.layers.back().size[r];
    for (int l = 0; l < net_.depth; ++l) {
        const Sheet& sheet = sheets_[l];
        if (!sheet.touched) continue;
        for (const int r : sheet.rows)
            sum +=
                std::fabs(sheet.h[static_cast<size_t>(r) * kLanes + lane]) * net_.layers[l].size[r];
        for (const int u : sheet.live) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            const double g = sheet.g[at];
            if (!net_.net.layers[l].is_max())
                sum += std::fabs(g * (g > 0.0 ? sheet.under_lift[at] : sheet.over_lift[at]));
            else
                sum += std::fabs(g * sheet.windows[at].lift);
        }
    }
    return sum;
}

// Values at the point where the bound is least, with every open unit on its line.
void Ascent::forward() {
    if (stop_.poll()) throw Stopped{};
    for (int l = 0; l < net_.depth; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        push(l, false);
        if (!layer.is_max()) {
            const LineView lines{sheet.under.data(), sheet.over.data(), sheet.under_lift.data(),
                                 sheet.over_lift.data()};
            kernels_.bend(lines, sheet.live.data(), static_cast<int>(sheet.live.size()),
                          sheet.g.data(), sheet.z.data(), sheet.a.data());
            continue;
        }
        for (const int j : sheet.live)
            for (int i = 0; i < loaded_; ++i) {
                const size_t at = static_cast<size_t>(j) * kLanes + i;
                const Window& window = sheet.windows[at];
                double& a = sheet.a[at];
                a = window.lift +
                    window.slope * sheet.z[static_cast<size_t>(window.row) * kLanes + i];
                if (sheet.g[at] <= 0.0 || window.leads) continue;
                a = 0.0;
                for (int s = 0; s < layer.slots; ++s)
                    if (const int e = layer.entry(j, s); e >= 0)
                        a += sheet.z[static_cast<size_t>(e) * kLanes + i] *
                             sheet.share[static_cast<size_t>((s * layer.units + j) * kLanes + i)];
            }
    }
    push(net_.depth, false);
}

void Ascent::average(int step) {
    const double w = std::max(1.0 / (step + 1), kMean);
    for (int l = 0; l < net_.depth; ++l) {
        Sheet& sheet = sheets_[l];
        if (!sheet.touched || net_.net.layers[l].is_max()) continue;
        for (const int u : sheet.moving)
            for (int i = 0; i < kLanes; ++i) {
                const size_t at = static_cast<size_t>(u) * kLanes + i;
                sheet.mean_z[at] += w * (sheet.z[at] - sheet.mean_z[at]);
                sheet.mean_a[at] += w * (sheet.a[at] - sheet.mean_a[at]);
            }
    }
}

// One step uphill.
void Ascent::advance(int step) {
    const double rate = std::pow(kDecay, step), t = step + 1.0;
    const double first = 1.0 / (1.0 - std::pow(kFirstRate, t)),
                 second = 1.0 / (1.0 - std::pow(kSecondRate, t));
    const auto moved = [&](double slope, double& m, double& v) {
        m = kFirstRate * m + (1.0 - kFirstRate) * slope;
        v = kSecondRate * v + (1.0 - kSecondRate) * slope * slope;
        return rate * m * first / (std::sqrt(v * second) + 1e-200);
    };
    for (int l = 0; l < net_.depth; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        if (layer.is_max()) {
            advance_shares(l, rate);
            continue;
        }
        if (step == 0)
            for (const int u : sheet.live)
                for (int i = 0; i < kLanes; ++i)
                    scale_[l][i] = std::max(
                        scale_[l][i], std::fabs(sheet.g[static_cast<size_t>(u) * kLanes + i]));
        const ClimbView view{sheet.under.data(), sheet.over.data(),  sheet.open.data(),
                             sheet.g.data(),     sheet.z.data(),     layer.slope.data(),
                             sheet.first.data(), sheet.second.data()};
        kernels_.climb(view, sheet.moving.data(), static_cast<int>(sheet.moving.size()),
                       {kFirstRate, kSecondRate, kSlopeStep * rate * first, second});
    }
    for (const Split& s : splits_) {
        const Sheet& sheet = sheets_[s.layer];
        if (!sheet.touched) continue;
        double slope = -s.sign * sheet.z[static_cast<size_t>(s.row) * kLanes + s.lane];
        if (s.sign_row >= 0)
            slope = sheet.z[static_cast<size_t>(s.row) * kLanes + s.lane] -
                    sheet.z[static_cast<size_t>(s.sign_row) * kLanes + s.lane];
        double& v = split_[s.lane][s.at];
        double scale = scale_[s.layer][s.lane];
        if (!(scale > 0.0)) scale = 1.0;
        v += kSplitStep * scale *
             moved(slope, split_first_[s.lane][s.at], split_second_[s.lane][s.at]);
        v = std::max(v, 0.0);
    }
    if (goals_.size() < 2) return;
    for (int i = 0; i < loaded_; ++i) {
        std::vector<double> value(goals_.size());
        double mean = 0.0, sum = 0.0;
        for (size_t g = 0; g < goals_.size(); ++g) {
            double v = goals_[g].constant;
            for (const auto& [row, c] : goals_[g].terms)
                v += c * out_z_[static_cast<size_t>(row) * kLanes + i];
            for (int k = 0; k < net_.dim && goals_[g].slope; ++k)
                v += goals_[g].slope[k] * point_[static_cast<size_t>(k) * kLanes + i];
            value[g] = v * goal_scale_[g];
            const double w = weight_[i][g] / goal_scale_[g];
            mean += w * value[g];
            sum += w;
        }
        for (size_t g = 0; g < goals_.size(); ++g) {
            const double w = weight_[i][g] / goal_scale_[g];
            exponent_[i][g] += kGoalStep * moved(std::max(w, 1e-3) * (value[g] - mean / sum),
                                                 goal_first_[i][g], goal_second_[i][g]);
        }
    }
}

// Shares grow where slots are above the mean: exponentiated gradients, relative to the spread.
void Ascent::advance_shares(int l, double rate) {
    Sheet& sheet = sheets_[l];
    const Layer& layer = net_.net.layers[l];
    for (const int j : sheet.live)
        for (int i = 0; i < loaded_; ++i) {
            const size_t unit = static_cast<size_t>(j) * kLanes + i;
            const Window& window = sheet.windows[unit];
            if (!window.open || window.leads || sheet.g[unit] <= 0.0) continue;
            double spread = 0.0;
            for (int s = 0; s < layer.slots; ++s)
                if (const int e = layer.entry(j, s); e >= 0)
                    spread = std::max(
                        spread,
                        std::fabs(sheet.z[static_cast<size_t>(e) * kLanes + i] - sheet.a[unit]));
            for (int s = 0; s < layer.slots && spread > 0.0; ++s)
                if (const int e = layer.entry(j, s); e >= 0)
                    sheet.exponent[static_cast<size_t>((s * layer.units + j) * kLanes + i)] +=
                        kShareStep * rate *
                        (sheet.z[static_cast<size_t>(e) * kLanes + i] - sheet.a[unit]) / spread;
        }
    share_out();
}

void Ascent::climb(int steps) {
    if (!prepared_) prepare();
    for (int step = 0;; ++step) {
        backward();
        bool done = true;
        for (int i = 0; i < loaded_; ++i) done &= refuted_[i] != 0;
        if (done || steps == 0) return;
        forward();
        average(step);
        if (step == steps) return;
        advance(step);
    }
}

// ------------------------------------------------------------------------------- what comes out

void Ascent::show(int lane) {
    Shown& out = shown_[lane];
    out.open.clear();
    out.splits = split_[lane];
    out.goals = weight_[lane];
    out.ball = ball_ != nullptr ? ball_multiplier_[lane] : 0.0;
    for (int l = net_.depth - 1; l >= 0; --l) {
        const Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        for (const int u : sheet.live) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            const double g = sheet.g[at];
            if (g == 0.0) continue;
            if (!layer.is_max()) {
                if (sheet.open[at] != 0.0)
                    out.open.push_back(
                        {l, u, 0, g * (g > 0.0 ? sheet.under[at] : sheet.over[at]), g, false});
                continue;
            }
            const Window& window = sheet.windows[at];
            if (!window.open) continue;
            for (int s = 0; s < layer.slots; ++s) {
                const int e = layer.entry(u, s);
                if (e < 0) continue;
                const double part =
                    g <= 0.0 || window.leads
                        ? (e == window.row ? window.slope : 0.0)
                        : sheet.share[static_cast<size_t>((s * layer.units + u) * kLanes + lane)];
                if (part != 0.0) out.open.push_back({l, u, s, g * part, g, true});
            }
        }
    }
}

void Ascent::store(int lane, Climb& to) const {
    to.slopes.assign(static_cast<size_t>(net_.net.unit_count), kUnset);
    to.splits = split_[lane];
    to.goals = exponent_[lane];
    to.shares.clear();
    for (int l = 0; l < net_.depth; ++l) {
        const Sheet& sheet = sheets_[l];
        for (size_t at = static_cast<size_t>(lane); at < sheet.exponent.size(); at += kLanes)
            to.shares.push_back(static_cast<float>(sheet.exponent[at]));
        for (const int u : sheet.moving) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            if (sheet.open[at] != 0.0)
                to.slopes[net_.unit(l, u)] = static_cast<float>(
                    net_.net.layers[l].slope[u] > 1.0 ? sheet.over[at] : sheet.under[at]);
        }
    }
}

void Ascent::point(int lane, double* s) const {
    for (int k = 0; k < net_.dim; ++k) s[k] = point_[static_cast<size_t>(k) * kLanes + lane];
}

void Ascent::losses(int lane, std::vector<Loss>& out) const {
    out.clear();
    for (int l = 0; l < net_.depth; ++l) {
        const Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        for (const int u : layer.is_max() ? sheet.live : sheet.moving) {
            const size_t at = static_cast<size_t>(u) * kLanes + lane;
            Loss loss{0.0, l, u};
            const double g = sheet.g[at];
            if (!layer.is_max()) {
                if (sheet.open[at] == 0.0) continue;
                const double z = sheet.mean_z[at], a = sheet.mean_a[at], s = layer.slope[u];
                const double first = std::fabs(g * (a - z)), second = std::fabs(g * (a - s * z));
                const bool chord = (g < 0.0) == (s < 1.0);
                loss.loss = chord ? first + second : z > 0.0 ? first : second;
            } else {
                const Window& window = sheet.windows[at];
                if (!window.open) continue;
                double value = -kInfinity;
                for (int s = 0; s < layer.slots; ++s)
                    if (const int e = layer.entry(u, s); e >= 0)
                        value = std::max(value, sheet.z[static_cast<size_t>(e) * kLanes + lane]);
                loss.loss = std::fabs(g * (sheet.a[at] - value));
            }
            if (!sheet.touched) loss.loss = 0.0;
            out.push_back(loss);
        }
    }
}

}  // namespace plv
