// Children of a node on the lanes of an ascent. They differ from it, and from one another, in one
// unit each.
#include "bound/ascent.hpp"

#include <cmath>

namespace plv {

void Ascent::load_parent(const CellView& cell, const std::vector<FixedUnit>& path,
                         const Climb& from) {
    for (int lane = 0; lane < kLanes; ++lane) {
        begin(lane, cell, from);
        for (const FixedUnit& fixed : path) add_splits(lane, fixed);
    }
    lines_of(0, kLanes, cell, from);
    prepare();
    for (Sheet& sheet : sheets_) sheet.own_splits = sheet.splits.size();
    parent_.emplace(cell);
    children_.clear();
}

void Ascent::put_children(const std::vector<FixedUnit>& more) {
    for (const FixedUnit& old : children_) {
        line_of(old.layer, old.unit, 0, kLanes, *parent_, *start_);
        lift(old.layer, {old.unit});
    }
    children_ = more;
    loaded_ = static_cast<int>(more.size());
    for (Sheet& sheet : sheets_) sheet.splits.resize(sheet.own_splits);
    size_t own = 0;
    for (const Sheet& sheet : sheets_)
        for (const Split& split : sheet.splits) own += split.lane == 0;
    for (int lane = 0; lane < kLanes; ++lane) {
        const auto at = static_cast<size_t>(lane);
        for (auto* one : {&split_, &split_first_, &split_second_}) (*one)[at].resize(own);
        least_[at] = -HUGE_VAL;
        refuted_[at] = 0;
    }
    for (int lane = 0; lane < loaded_; ++lane) {
        const FixedUnit& fixed = more[static_cast<size_t>(lane)];
        const Layer& layer = net_.net.layers[fixed.layer];
        Sheet& sheet = sheets_[fixed.layer];
        add_splits(lane, fixed);
        if (layer.is_max())
            window_lines(sheet, layer, fixed.unit, lane, lane + 1, fixed.piece, nullptr, nullptr,
                         nullptr, nullptr, nullptr);
        else
            unit_lines(sheet, layer, fixed.unit, lane, lane + 1, fixed.piece, 0.0, 0.0, kUnset,
                       nullptr);
    }
}

}  // namespace plv
