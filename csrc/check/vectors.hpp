// Loops over lanes as vector instructions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plv::check {

inline constexpr size_t kLanes = 8;
typedef double Vector
    __attribute__((vector_size(kLanes * sizeof(double)), aligned(sizeof(double)), may_alias));

inline __attribute__((always_inline)) Vector& vector_at(double* p) {
    return *reinterpret_cast<Vector*>(p);
}
template <class Mask>
inline __attribute__((always_inline)) bool is_any(const Mask& mask) {
    int64_t any = 0;
    for (size_t l = 0; l < kLanes; ++l) any |= mask[l];
    return any != 0;
}
#define PLV_ABS(v) ((v) < 0.0 ? -(v) : (v))  // an undefined number stays so

// Sums of rows of a panel, times the weights w[t][row], for several columns at a time: they do not
// wait for one another. put(t, sum) takes that of column t.
template <size_t kTile, class Put>
inline __attribute__((always_inline)) void sum_rows(const double* const* w, const uint32_t* rows,
                                                    size_t count, double* panel, Put&& put) {
    Vector total[kTile] = {};
    for (size_t a = 0; a < count; ++a) {
        const Vector y = vector_at(panel + a * kLanes);
        for (size_t t = 0; t < kTile; ++t) total[t] += w[t][rows[a]] * y;
    }
    for (size_t t = 0; t < kTile; ++t) put(t, total[t]);
}

// The same for all columns; column(c) is where the weights of one are.
template <class Column, class Put>
inline __attribute__((always_inline)) void sum_columns(size_t columns, const uint32_t* rows,
                                                       size_t count, double* panel, Column&& column,
                                                       Put&& put) {
    const double* w[8];
    size_t first = 0;
    const auto next = [&](size_t tile) __attribute__((always_inline)) {
        for (size_t t = 0; t < tile; ++t) w[t] = column(first + t);
    };
    const auto take = [&](size_t t, const Vector& sum)
                          __attribute__((always_inline)) { put(first + t, sum); };
    for (; first + 8 <= columns; first += 8) next(8), sum_rows<8>(w, rows, count, panel, take);
    for (; first + 4 <= columns; first += 4) next(4), sum_rows<4>(w, rows, count, panel, take);
    for (; first + 2 <= columns; first += 2) next(2), sum_rows<2>(w, rows, count, panel, take);
    for (; first < columns; ++first) next(1), sum_rows<1>(w, rows, count, panel, take);
}

}  // namespace plv::check
