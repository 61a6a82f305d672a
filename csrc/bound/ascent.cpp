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
                 kEnvelopeStep = 0.2, kSoft = 0.03, kDecay = 0.97;
constexpr double kLater = 0.02;  // share of the slots that do not begin with the largest one
constexpr int kLook = 4;         // steps after which it is looked what they gained:
constexpr double kFade = 0.5;    // later ones gain less
constexpr double kMean = 0.1;    // weight of the newest value in means
constexpr int kGentle = 4;       // first steps from where another ascent ended, that are smaller
}  // namespace

Ascent::Ascent(const BoundNet& net, int top, StopToken& stop)
    : net_(net), top_(top), stop_(stop), kernels_(bound_kernels()) {
    sheets_.resize(static_cast<size_t>(top));
    scale_.resize(sheets_.size());
    int most = net.dim;
    size_t windows = 0, slots = 0;
    for (int l = 0; l <= top; ++l) most = std::max(most, net.layers[l].rows);
    for (int l = 0; l < top; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& from = net.net.layers[l];
        const size_t units = static_cast<size_t>(from.units) * kLanes,
                     rows = static_cast<size_t>(net.layers[l].rows) * kLanes;
        most = std::max(most, from.units);
        for (auto* one : {&sheet.g, &sheet.a, &sheet.mean_a}) one->assign(units, 0.0);
        for (auto* one : {&sheet.h, &sheet.z, &sheet.mean_z}) one->assign(rows, 0.0);
        sheet.marks.assign(static_cast<size_t>(net.layers[l].rows), 0);
        if (from.is_max()) {
            sheet.first_level = windows;
            sheet.first_share = slots;
            windows += static_cast<size_t>(from.units);
            slots += static_cast<size_t>(from.units * from.slots);
            for (auto* one : {&sheet.over_lift, &sheet.open, &sheet.level, &sheet.level_lo,
                              &sheet.level_hi, &sheet.leveled})
                one->assign(units, 0.0);
            for (auto* one : {&sheet.under, &sheet.over, &sheet.slot_lo, &sheet.slot_hi})
                one->assign(units * static_cast<size_t>(from.slots), 0.0);
            sheet.fixed.assign(units, 0);
            for (int j = 0; j < from.units; ++j)
                for (int s = 0; s < from.slots; ++s) sheet.entries.push_back(from.entry(j, s));
            make_hull(l);
            continue;
        }
        for (auto* one : {&sheet.under, &sheet.over, &sheet.under_lift, &sheet.over_lift,
                          &sheet.open, &sheet.first, &sheet.second})
            one->assign(units, 0.0);
        make_envelope(l);
    }
    all_.resize(static_cast<size_t>(most));
    std::iota(all_.begin(), all_.end(), 0);
    const auto dim = static_cast<size_t>(std::max(net.dim, 1)) * kLanes;
    for (auto* one : {&lo_, &hi_, &input_, &point_}) one->assign(dim, 0.0);
    const auto outputs = static_cast<size_t>(net.layers[top].rows) * kLanes;
    out_h_.assign(outputs, 0.0);
    out_z_.assign(outputs, 0.0);
    for (auto* one : {&weight_, &exponent_, &goal_first_, &goal_second_, &split_, &split_first_,
                      &split_second_})
        one->resize(kLanes);
    least_.assign(kLanes, -kInfinity);
    refuted_.assign(kLanes, 0);
    shown_.resize(kLanes);
}

void Ascent::set_goals(std::vector<LinearForm> goals) {
    goals_ = std::move(goals);
    goal_scale_.clear();
    out_rows_.clear();
    for (const LinearForm& goal : goals_) {
        double most_of = std::fabs(goal.constant);
        for (const auto& [row, weight] : goal.terms) {
            out_rows_.push_back(row);
            most_of = std::max(most_of, std::fabs(weight));
        }
        for (int k = 0; k < net_.dim && goal.slope; ++k)
            most_of = std::max(most_of, std::fabs(goal.slope[k]));
        goal_scale_.push_back(most_of > 0.0 ? 1.0 / most_of : 1.0);
    }
    std::sort(out_rows_.begin(), out_rows_.end());
    out_rows_.erase(std::unique(out_rows_.begin(), out_rows_.end()), out_rows_.end());
}

void Ascent::choose(int lane, int goal) {
    std::vector<double>& exponent = exponent_[static_cast<size_t>(lane)];
    for (size_t g = 0; g < exponent.size(); ++g)
        exponent[g] = static_cast<int>(g) == goal ? 0.0 : -1e9;
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
    begin(lane, cell, from);
    for (const FixedUnit& fixed : path) add_splits(lane, fixed);
    lines_of(lane, lane + 1, cell, from);
}

void Ascent::load_children(const CellView& cell, const std::vector<FixedUnit>& path,
                           const std::vector<FixedUnit>& more, const Climb& from, bool again) {
    if (!again) {
        for (int lane = 0; lane < kLanes; ++lane) {
            begin(lane, cell, from);
            for (const FixedUnit& fixed : path) add_splits(lane, fixed);
        }
        lines_of(0, kLanes, cell, from);
    } else {
        for (size_t lane = 0; lane < more_.size(); ++lane) {
            const FixedUnit& fixed = more_[lane];
            Sheet& sheet = sheets_[fixed.layer];
            sheet.prepared = false;
            const int rows = rows_of(net_.net.layers[fixed.layer], fixed);
            for (auto* one : {&split_, &split_first_, &split_second_})
                (*one)[lane].resize((*one)[lane].size() - static_cast<size_t>(rows));
            sheet.splits.resize(sheet.splits.size() - static_cast<size_t>(rows));
            const int at = static_cast<int>(lane);
            lines_of_unit(fixed.layer, fixed.unit, at, at + 1, cell, from);
        }
        std::fill(least_.begin(), least_.end(), -kInfinity);
        std::fill(refuted_.begin(), refuted_.end(), 0);
    }
    more_ = more;
    loaded_ = static_cast<int>(more.size());
    for (int lane = 0; lane < loaded_; ++lane) {
        const FixedUnit& fixed = more[static_cast<size_t>(lane)];
        const Layer& layer = net_.net.layers[fixed.layer];
        Sheet& sheet = sheets_[fixed.layer];
        sheet.prepared = false;
        add_splits(lane, fixed);
        if (layer.is_max())
            window_lines(sheet, layer, fixed.unit, lane, lane + 1, fixed.piece, nullptr, nullptr,
                         nullptr, nullptr, nullptr);
        else
            unit_lines(sheet, layer, fixed.unit, lane, lane + 1, fixed.piece, 0.0, 0.0, kUnset,
                       nullptr);
    }
}

void Ascent::begin(int lane, const CellView& cell, const Climb& from) {
    const auto at = static_cast<size_t>(lane);
    if (lane == 0)
        for (Sheet& sheet : sheets_) sheet.splits.clear(), sheet.prepared = false;
    loaded_ = filled_ = lane + 1;
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
    split_[at].clear();
    for (auto* one : {&split_first_, &split_second_}) (*one)[at].clear();
    start_ = &from;
    goes_on_ = !from.slopes.empty();
}

// The multiplier with which the row of a unit that was open before gives the bound that its line
// gave: a - line is that many times the row, where the line below was taken.
double Ascent::first_multiplier(const FixedUnit& fixed, int slot) const {
    const size_t flat = net_.unit(fixed.layer, fixed.unit);
    if (start_->pulls.empty() || !(start_->pulls[flat] > 0.0F)) return 0.0;
    const double g = start_->pulls[flat];
    const Layer& layer = net_.net.layers[fixed.layer];
    if (!layer.is_max()) {
        const double line = start_->slopes[flat], s = layer.slope[fixed.unit];
        if (!(line > kUnset) || s > 1.0) return 0.0;
        return g * std::max(fixed.piece ? 1.0 - line : line - s, 0.0);
    }
    return g * start_->shares[sheets_[fixed.layer].first_share +
                              static_cast<size_t>(fixed.unit * layer.slots + slot)];
}

// The rows of a fixed unit, with the multipliers that they had.
void Ascent::add_splits(int lane, const FixedUnit& fixed) {
    const auto at = static_cast<size_t>(lane);
    const Layer& layer = net_.net.layers[fixed.layer];
    const auto add = [&](int sign_row, int row, double sign, int slot) {
        const size_t place = split_[at].size();
        sheets_[fixed.layer].splits.push_back({sign_row, row, sign, lane, static_cast<int>(place)});
        split_[at].push_back(place < start_->splits.size() ? start_->splits[place]
                                                           : first_multiplier(fixed, slot));
        split_first_[at].push_back(0.0);
        split_second_[at].push_back(0.0);
    };
    if (!layer.is_max()) {
        add(-1, fixed.unit, fixed.piece ? 1.0 : -1.0, 0);
        return;
    }
    const int top = layer.entry(fixed.unit, fixed.piece);
    for (int s = 0; s < layer.slots; ++s)
        if (const int row = layer.entry(fixed.unit, s); row >= 0 && s != fixed.piece)
            add(top, row, 1.0, s);
}

void Ascent::lines_of(int first, int last, const CellView& cell, const Climb& from) {
    for (int l = 0; l < top_; ++l)
        for (int j = 0; j < net_.net.layers[l].units; ++j)
            lines_of_unit(l, j, first, last, cell, from);
}

void Ascent::lines_of_unit(int layer, int unit, int first, int last, const CellView& cell,
                           const Climb& from) {
    Sheet& sheet = sheets_[layer];
    const Layer& of = net_.net.layers[layer];
    const double *zlo = &cell.bounds.lo[net_.row(layer, 0)],
                 *zhi = &cell.bounds.hi[net_.row(layer, 0)];
    const size_t flat = net_.unit(layer, unit);
    int piece = cell.pieces[flat];
    if (of.is_max()) {
        const bool set = !from.shares.empty();
        const auto at = static_cast<size_t>(unit);
        window_lines(
            sheet, of, unit, first, last, piece, zlo, zhi,
            set ? &from.shares[sheet.first_share + at * static_cast<size_t>(of.slots)] : nullptr,
            set ? &from.levels[sheet.first_level + at] : nullptr,
            set ? from.hulls.data() : nullptr);
        return;
    }
    if (of.one_piece[unit]) piece = 1;
    if (piece < 0) piece = Crown::known(zlo[unit], zhi[unit]);
    unit_lines(sheet, of, unit, first, last, piece, zlo[unit], zhi[unit],
               from.slopes.empty() ? kUnset : from.slopes[flat],
               from.envelopes.empty() ? nullptr : from.envelopes.data());
}

void Ascent::unit_lines(Sheet& sheet, const Layer& layer, int j, int first, int last, int piece,
                        double zlo, double zhi, float set, const uint16_t* shares) {
    const size_t at = static_cast<size_t>(j * kLanes + first);
    const auto put = [&](AlignedVector<double>& to, double v) {
        std::fill_n(&to[at], last - first, v);
    };
    const double s = layer.one_piece[j] ? 1.0 : layer.slope[j];
    for (auto* one : {&sheet.under_lift, &sheet.over_lift, &sheet.open}) put(*one, 0.0);
    if (sheet.envelope) put(sheet.envelope->use, 0.0);
    if (piece >= 0) {
        put(sheet.under, piece ? 1.0 : s);
        put(sheet.over, piece ? 1.0 : s);
        return;
    }
    const double lo = std::min(zlo, 0.0), hi = std::max(zhi, 0.0);
    const double chord = hi > lo ? (hi - s * lo) / (hi - lo) : 1.0;
    const double line = set > kUnset ? std::clamp<double>(set, std::min(s, 1.0), std::max(s, 1.0))
                        : hi > -lo   ? 1.0
                                     : s;
    put(s > 1.0 ? sheet.over : sheet.under, line);
    put(s > 1.0 ? sheet.under : sheet.over, chord);
    put(s > 1.0 ? sheet.under_lift : sheet.over_lift, hi - chord * hi);
    put(sheet.open, 1.0);
    // Over a ball bounds are better than over its box, where envelopes are.
    if (!sheet.envelope || ball_ != nullptr || s < 0.0 || s >= 1.0) return;
    put(sheet.over, 0.0);
    begin_envelope(*sheet.envelope, j, first, last, s, chord, shares);
}

// Below an open window lies any mean of its slots. Above it lies the sum of a level and of chords
// over it (kernels.hpp): from the largest lower bound, where all slots count, to the second largest
// upper bound, where one does.
void Ascent::window_lines(Sheet& sheet, const Layer& layer, int j, int first, int last, int piece,
                          const double* zlo, const double* zhi, const float* shares,
                          const float* level, const float* hulls) {
    const size_t at = static_cast<size_t>(j * kLanes + first);
    const auto slot = [&](int s) {
        return static_cast<size_t>((j * layer.slots + s) * kLanes + first);
    };
    const auto put = [&](AlignedVector<double>& to, size_t where, double v) {
        std::fill_n(&to[where], last - first, v);
    };
    std::fill_n(&sheet.fixed[at], last - first, piece >= 0);
    for (auto* one : {&sheet.over_lift, &sheet.open, &sheet.leveled}) put(*one, at, 0.0);
    if (sheet.hull) put(sheet.hull->use, at, 0.0);
    int low = piece, high = -1;
    double second = -kInfinity;
    for (int s = 0; s < layer.slots && piece < 0; ++s) {
        const int e = layer.entry(j, s);
        if (e < 0) continue;
        if (low < 0 || zlo[e] > zlo[layer.entry(j, low)]) low = s;
        if (high < 0 || zhi[e] > zhi[layer.entry(j, high)]) high = s;
    }
    bool leads = true;
    for (int s = 0; s < layer.slots && piece < 0; ++s) {
        const int e = layer.entry(j, s);
        if (e < 0) continue;
        if (s != low && zhi[e] > zlo[layer.entry(j, low)]) leads = false;
        if (s != high) second = std::max(second, zhi[e]);
    }
    if (leads) {
        // Of a slot that is constant, too, the checker needs no multiplier; of one that is 0
        // nothing.
        const double at_least = piece < 0 ? zlo[layer.entry(j, low)] : 0.0;
        const bool still = piece < 0 && !(at_least < zhi[layer.entry(j, low)]);
        if (still) std::fill_n(&sheet.fixed[at], last - first, 1);
        const double factor = still && at_least == 0.0 ? 0.0 : 1.0;
        for (int s = 0; s < layer.slots; ++s)
            for (auto* one : {&sheet.under, &sheet.over})
                put(*one, slot(s), s == low ? factor : 0.0);
        return;
    }
    const double least = zlo[layer.entry(j, low)], most = std::max(least, second);
    put(sheet.open, at, 1.0);
    put(sheet.level_lo, at, least);
    put(sheet.level_hi, at, most);
    put(sheet.level, at, level ? std::clamp<double>(*level, least, most) : most);
    double sum = 0.0;
    const auto share_of = [&](int s) {
        const int e = layer.entry(j, s);
        if (e < 0 || zhi[e] <= least) return 0.0;
        return shares ? std::max<double>(shares[s], 1e-9) : s == low ? 1.0 : kLater;
    };
    for (int s = 0; s < layer.slots; ++s) sum += share_of(s);
    for (int s = 0; s < layer.slots; ++s) {
        const int e = layer.entry(j, s);
        put(sheet.under, slot(s), share_of(s) / sum);
        put(sheet.slot_lo, slot(s), e < 0 ? 0.0 : zlo[e]);
        put(sheet.slot_hi, slot(s), e < 0 ? 0.0 : zhi[e]);
    }
    if (!sheet.hull || ball_ != nullptr || sheet.hull->start[j] == sheet.hull->start[j + 1]) {
        put(sheet.leveled, at, 1.0);
        return;
    }
    for (int s = 0; s < layer.slots; ++s) put(sheet.over, slot(s), 0.0);
    begin_hull(*sheet.hull, j, first, last, hulls);
}

WindowView Ascent::view_of(Sheet& sheet, const Layer& layer) {
    return {sheet.under.data(),    sheet.over.data(),     sheet.over_lift.data(),
            sheet.level.data(),    sheet.slot_lo.data(),  sheet.slot_hi.data(),
            sheet.level_lo.data(), sheet.level_hi.data(), sheet.open.data(),
            sheet.leveled.data(),  sheet.entries.data(),  layer.slots};
}

// Lanes that are not loaded are copies of the first; what counts on some lane.
void Ascent::prepare() {
    const auto any = [](const double* v) {
        double sum = 0.0;
        for (int i = 0; i < kLanes; ++i) sum += std::fabs(v[i]);
        return sum != 0.0;
    };
    for (int l = 0; l < top_; ++l) {
        const Layer& layer = net_.net.layers[l];
        Sheet& sheet = sheets_[l];
        if (sheet.prepared) continue;
        const auto units = static_cast<size_t>(layer.units);
        const auto copy = [&](AlignedVector<double>& one, size_t count) {
            for (size_t at = 0; at < count * kLanes && filled_ < kLanes; at += kLanes)
                std::fill_n(&one[at + static_cast<size_t>(filled_)], kLanes - filled_, one[at]);
        };
        sheet.live.clear();
        sheet.rows.clear();
        sheet.moving.clear();
        std::fill(sheet.marks.begin(), sheet.marks.end(), 0);
        if (layer.is_max()) {
            for (auto* one : {&sheet.over_lift, &sheet.open, &sheet.level, &sheet.level_lo,
                              &sheet.level_hi, &sheet.leveled})
                copy(*one, units);
            const size_t slots = units * static_cast<size_t>(layer.slots);
            for (auto* one : {&sheet.under, &sheet.over, &sheet.slot_lo, &sheet.slot_hi})
                copy(*one, slots);
            for (size_t s = 0; s < slots; ++s) {
                const size_t j = s / static_cast<size_t>(layer.slots);
                const bool open = any(&sheet.open[j * kLanes]);
                if (sheet.entries[s] < 0 || !(open || any(&sheet.under[s * kLanes]))) continue;
                sheet.marks[static_cast<size_t>(sheet.entries[s])] = 1;
                if (!sheet.live.empty() && sheet.live.back() == static_cast<int>(j)) continue;
                sheet.live.push_back(static_cast<int>(j));
                if (open) sheet.moving.push_back(static_cast<int>(j));
            }
            if (sheet.hull) {
                copy(sheet.hull->use, units);
                std::fill(sheet.hull->mean.begin(), sheet.hull->mean.end(), 0.0);
            }
            kernels_.lift_windows(view_of(sheet, layer), sheet.moving.data(),
                                  static_cast<int>(sheet.moving.size()));
        } else {
            for (auto* one :
                 {&sheet.under, &sheet.over, &sheet.under_lift, &sheet.over_lift, &sheet.open})
                copy(*one, units);
            for (int j = 0; j < layer.units; ++j) {
                const size_t at = static_cast<size_t>(j) * kLanes;
                const bool open = any(&sheet.open[at]);
                if (!open && !any(&sheet.under[at]) && !any(&sheet.over[at])) continue;
                sheet.live.push_back(j);
                sheet.marks[static_cast<size_t>(j)] = 1;
                if (!open) continue;
                sheet.moving.push_back(j);
                std::fill_n(&sheet.first[at], kLanes, 0.0);
                std::fill_n(&sheet.second[at], kLanes, 0.0);
            }
            if (sheet.envelope) {
                copy(sheet.envelope->use, units);
                std::fill(sheet.envelope->mean.begin(), sheet.envelope->mean.end(), 0.0);
            }
        }
        for (const Split& split : sheet.splits) {
            sheet.marks[static_cast<size_t>(split.row)] = 1;
            if (split.sign_row >= 0) sheet.marks[static_cast<size_t>(split.sign_row)] = 1;
        }
        for (size_t r = 0; r < sheet.marks.size(); ++r)
            if (sheet.marks[r]) sheet.rows.push_back(static_cast<int>(r));
    }
    for (int k = 0; k < net_.dim && filled_ < kLanes; ++k)
        for (auto* one : {&lo_, &hi_})
            std::fill_n(&(*one)[static_cast<size_t>(k) * kLanes + filled_], kLanes - filled_,
                        (*one)[static_cast<size_t>(k) * kLanes]);
    filled_ = kLanes;
    for (int l = 0; l < top_; ++l) {
        Sheet& sheet = sheets_[l];
        if (sheet.prepared) continue;
        sheet.prepared = true;
        if (sheet.hull)
            kernels_.lift_hulls(view_of(sheet, lo_, hi_), sheet.moving.data(),
                                static_cast<int>(sheet.moving.size()));
        else if (sheet.envelope)
            kernels_.lift_envelopes(view_of(sheet, l), sheet.moving.data(),
                                    static_cast<int>(sheet.moving.size()));
    }
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
    const bool last = layer == top_;
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
    push(top_, true);
    for (int l = top_ - 1; l >= 0; --l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched && sheet.splits.empty()) continue;
        touch(l);
        for (const int r : sheet.rows)
            std::fill_n(&sheet.h[static_cast<size_t>(r) * kLanes], kLanes, 0.0);
        if (!layer.is_max()) {
            const LineView lines{sheet.under.data(), sheet.over.data(), sheet.under_lift.data(),
                                 sheet.over_lift.data()};
            kernels_.relax_each(lines, sheet.live.data(), static_cast<int>(sheet.live.size()),
                                sheet.g.data(), sheet.h.data(), constant_);
            if (sheet.envelope)
                kernels_.relax_envelopes(view_of(sheet, l), sheet.moving.data(),
                                         static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                         input_.data());
        } else {
            kernels_.relax_windows(view_of(sheet, layer), sheet.live.data(),
                                   static_cast<int>(sheet.live.size()), sheet.g.data(),
                                   sheet.h.data(), constant_);
            if (sheet.hull)
                kernels_.relax_hulls(view_of(sheet, lo_, hi_), sheet.moving.data(),
                                     static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                     input_.data());
        }
        for (const Split& s : sheet.splits) {
            const double v = split_[s.lane][s.at];
            sheet.h[static_cast<size_t>(s.row) * kLanes + s.lane] +=
                s.sign_row >= 0 ? v : -s.sign * v;
            if (s.sign_row >= 0) sheet.h[static_cast<size_t>(s.sign_row) * kLanes + s.lane] -= v;
        }
        push(l, true);
    }
    if (ball_ == nullptr) {
        kernels_.least_each(input_.data(), lo_.data(), hi_.data(), net_.dim, constant_,
                            point_.data());
    } else {
        const auto least_in_ball = ball_->norm == LocalBall::Norm::l2 ? kernels_.least_in_l2_ball
                                                                      : kernels_.least_in_l1_ball;
        least_in_ball({ball_->weight.data(), ball_->center.data(), ball_->size}, input_.data(),
                      lo_.data(), hi_.data(), net_.dim, constant_, point_.data(), ball_multiplier_);
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

// Values at the point where the bound is least, with every open unit on its line.
void Ascent::forward() {
    if (stop_.poll()) throw Stopped{};
    for (int l = 0; l < top_; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        push(l, false);
        if (!layer.is_max()) {
            const LineView lines{sheet.under.data(), sheet.over.data(), sheet.under_lift.data(),
                                 sheet.over_lift.data()};
            kernels_.bend(lines, sheet.live.data(), static_cast<int>(sheet.live.size()),
                          sheet.g.data(), sheet.z.data(), sheet.a.data());
            if (sheet.envelope)
                kernels_.bend_envelopes(view_of(sheet, l), sheet.moving.data(),
                                        static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                        point_.data(), sheet.a.data());
            continue;
        }
        kernels_.bend_windows(view_of(sheet, layer), sheet.live.data(),
                              static_cast<int>(sheet.live.size()), sheet.g.data(), sheet.z.data(),
                              sheet.a.data());
        if (sheet.hull)
            kernels_.bend_hulls(view_of(sheet, lo_, hi_), sheet.moving.data(),
                                static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                point_.data(), sheet.a.data());
    }
    push(top_, false);
}

void Ascent::average(int step) {
    const double w = std::max(1.0 / (step + 1), kMean);
    const auto move = [&](AlignedVector<double>& mean, const AlignedVector<double>& to, int at) {
        for (size_t i = static_cast<size_t>(at) * kLanes, end = i + kLanes; i < end; ++i)
            mean[i] += w * (to[i] - mean[i]);
    };
    for (int l = 0; l < top_; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        for (const int u : sheet.moving) {
            move(sheet.mean_a, sheet.a, u);
            if (!layer.is_max()) move(sheet.mean_z, sheet.z, u);
            for (int s = 0; s < layer.slots; ++s)
                if (const int e = layer.entry(u, s); e >= 0) move(sheet.mean_z, sheet.z, e);
        }
    }
}

// One step uphill. All multipliers move about as far in the first step as their steps are long,
// whatever there is to gain: near where another ascent ended that loses what it had found.
void Ascent::advance(int step, double pace) {
    const double t = step + 1.0, gentle = goes_on_ ? std::min(t / kGentle, 1.0) : 1.0;
    const double rate = pace * gentle * std::pow(kDecay, step);
    const double first = 1.0 / (1.0 - std::pow(kFirstRate, t)),
                 second = 1.0 / (1.0 - std::pow(kSecondRate, t));
    const auto moved = [&](double slope, double& m, double& v) {
        m = kFirstRate * m + (1.0 - kFirstRate) * slope;
        v = kSecondRate * v + (1.0 - kSecondRate) * slope * slope;
        return rate * m * first / (std::sqrt(v * second) + 1e-200);
    };
    for (int l = 0; l < top_; ++l) {
        Sheet& sheet = sheets_[l];
        const Layer& layer = net_.net.layers[l];
        if (!sheet.touched) continue;
        if (step == 0)
            for (const int u : sheet.live)
                for (int i = 0; i < kLanes; ++i)
                    scale_[l][i] = std::max(
                        scale_[l][i], std::fabs(sheet.g[static_cast<size_t>(u) * kLanes + i]));
        if (layer.is_max()) {
            kernels_.climb_windows(view_of(sheet, layer), sheet.moving.data(),
                                   static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                   sheet.z.data(), sheet.a.data(), kShareStep * rate);
            if (sheet.hull)
                kernels_.climb_hulls(view_of(sheet, lo_, hi_), sheet.moving.data(),
                                     static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                     point_.data(), kFirstRate, kEnvelopeStep * rate * first,
                                     kSoft * rate);
            continue;
        }
        const ClimbView view{sheet.under.data(), sheet.over.data(),  sheet.open.data(),
                             sheet.g.data(),     sheet.z.data(),     layer.slope.data(),
                             sheet.first.data(), sheet.second.data()};
        kernels_.climb(view, sheet.moving.data(), static_cast<int>(sheet.moving.size()),
                       {kFirstRate, kSecondRate, kSlopeStep * rate * first, second});
        if (sheet.envelope)
            kernels_.climb_envelopes(view_of(sheet, l), sheet.moving.data(),
                                     static_cast<int>(sheet.moving.size()), sheet.g.data(),
                                     point_.data(), kFirstRate, kEnvelopeStep * rate * first);
    }
    for (int l = 0; l < top_; ++l) {
        const Sheet& sheet = sheets_[l];
        if (!sheet.touched) continue;
        for (const Split& s : sheet.splits) {
            double slope = -s.sign * sheet.z[static_cast<size_t>(s.row) * kLanes + s.lane];
            if (s.sign_row >= 0)
                slope = sheet.z[static_cast<size_t>(s.row) * kLanes + s.lane] -
                        sheet.z[static_cast<size_t>(s.sign_row) * kLanes + s.lane];
            double& v = split_[s.lane][s.at];
            double scale = scale_[l][s.lane];
            if (!(scale > 0.0)) scale = 1.0;
            v += kSplitStep * scale *
                 moved(slope, split_first_[s.lane][s.at], split_second_[s.lane][s.at]);
            v = std::max(v, 0.0);
        }
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

// Whether so many more steps are likely to refute a lane, by what the last few gained.
bool Ascent::may_refute(const std::vector<double>& before, int steps) const {
    for (int i = 0; i < loaded_; ++i) {
        const double gain = (least_[i] - before[i]) / kLook;
        if (!refuted_[i] && least_[i] + kFade * gain * steps > 0.0) return true;
    }
    return false;
}

void Ascent::climb(int steps, double pace, bool wants_losses, bool gives_up) {
    prepare();
    std::vector<double> before;
    for (int step = 0;; ++step) {
        backward();
        if (gives_up && step % kLook == 0 && step < steps) {
            if (step > 0 && !may_refute(before, steps - step)) steps = step;
            before = least_;
        }
        bool done = true;
        for (int i = 0; i < loaded_; ++i) done &= refuted_[i] != 0;
        if (done || steps == 0) return;
        if (step == steps && !wants_losses) return;
        forward();
        if (wants_losses) average(step);
        if (step == steps) return;
        advance(step, pace);
    }
}

}  // namespace plv
