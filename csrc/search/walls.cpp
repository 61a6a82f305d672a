#include "search/walls.hpp"

#include <algorithm>

namespace plv {

void Wall::list(const Int& multiplier, std::vector<std::pair<uint64_t, Int>>& listed) const {
    listed.emplace_back(number, multiplier * scale);
    if (other != UINT64_MAX) listed.emplace_back(other, multiplier * scale);
}

std::vector<Wall> walls_of(const CaseProblem& problem, const std::vector<FixedUnit>& path,
                           const uint8_t* pattern) {
    const Net& net = problem.net();
    const LocalBox& box = problem.box();
    std::vector<Wall> walls;
    for (const FixedUnit& fixed : path) {
        const Layer& layer = net.layers[fixed.layer];
        for (int s = 0; s < std::max(layer.slots, 1); ++s) {
            Wall wall;
            wall.scale = box.scales->total[fixed.layer];
            int entry = fixed.unit, minus = -1;
            if (layer.is_max()) {
                entry = layer.entry(fixed.unit, fixed.piece);
                minus = layer.entry(fixed.unit, s);
                if (minus < 0 || minus == entry) continue;
                wall.other = box.number(net, fixed.layer, fixed.unit, fixed.piece);
            }
            wall.number = box.number(net, fixed.layer, fixed.unit, layer.is_max() ? s : 0);
            wall.row = problem.unit_row(fixed.layer, entry, minus, pattern);
            if (!layer.is_max() && fixed.piece == 0) {
                wall.row.c.negate();
                for (Int& v : wall.row.a) v.negate();
            }
            walls.push_back(std::move(wall));
        }
    }
    return walls;
}

ExactRow side_row(size_t dim, size_t k, const Rational& end, bool low) {
    ExactRow row;
    row.a.resize(dim);
    row.a[k] = low ? end.den : -end.den;
    row.c = low ? -end.num : end.num;
    return row;
}

}  // namespace plv
