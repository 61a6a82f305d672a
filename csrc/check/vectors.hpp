// Loops over lanes as vector instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace plv::check {

inline constexpr size_t kLanes = 8;
typedef double Vector
    __attribute__((vector_size(kLanes * sizeof(double)), aligned(sizeof(double)), may_alias));

// What comparing vectors gives: -1 where it holds. Joined by && or &, comparisons are made lane by
// lane; a choice between numbers comes before the next comparison instead.
typedef int64_t Mask
    __attribute__((vector_size(kLanes * sizeof(int64_t)), aligned(sizeof(int64_t)), may_alias));

inline __attribute__((always_inline)) Vector& vector_at(double* p) {
    return *reinterpret_cast<Vector*>(p);
}
inline __attribute__((always_inline)) bool is_any(Mask mask) {
    typedef int8_t Bytes __attribute__((vector_size(kLanes)));
    const Bytes bytes = __builtin_convertvector(mask, Bytes);
    uint64_t all = 0;
    static_assert(sizeof(all) == sizeof(bytes));
    std::memcpy(&all, &bytes, sizeof(all));
    return all != 0;
}
// An undefined number stays so.
inline __attribute__((always_inline)) Vector absolute(Vector v) {
    constexpr int64_t all_but_sign = std::numeric_limits<int64_t>::max();
    return reinterpret_cast<Vector>(reinterpret_cast<Mask>(v) & all_but_sign);
}

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
