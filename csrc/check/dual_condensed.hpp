// A network on a cell where the pieces of most units are known; see dual_doubles.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace plv::check {

struct Condensed {
    struct Unit {
        uint32_t node, place;  // its number in there
        uint32_t unit, input;
        uint32_t reads, makes;  // entries
    };
    std::vector<Unit> units;    // those whose piece is not known, and those that were fixed
    std::vector<size_t> first;  // of each node's units, and at the end their number
    std::vector<uint8_t> has;   // per unit of the network
    // What the units read, and after them the first rows of a system, at most 0 there: affine
    // functions of the inputs and of the units before, in this order, by column, which begins with
    // the first row after the unit's node.
    struct Column {
        size_t row, begin;  // its first row, and where the weight of row 0 would be
    };
    size_t rows = 0, weights = 0;
    std::vector<Column> columns;
    std::vector<double> turned, constant;
    std::vector<double> off;  // by no more than this
    double unit = 0;          // of errors: u times the number of terms

    size_t bytes() const {
        return sizeof(Condensed) + units.size() * sizeof(Unit) + first.size() * sizeof(size_t) +
               has.size() + columns.size() * sizeof(Column) +
               (turned.size() + constant.size() + off.size()) * sizeof(double);
    }
};

}  // namespace plv::check
