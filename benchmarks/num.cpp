// Nanoseconds per operation of csrc/num, single-threaded.
//
//   g++ -std=c++20 -O2 -I csrc benchmarks/num.cpp csrc/num/int.cpp -pthread -o bench_num &&
//   ./bench_num
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "base/timer.hpp"
#include "num/int.hpp"

using plv::Int;

namespace {

std::mt19937_64 rng(20240607);

template <class Body>
double nanoseconds(size_t operations, Body&& body) {
    double best = HUGE_VAL;
    for (int repeat = 0; repeat < 7; ++repeat) {
        const double start = plv::thread_cpu_seconds();
        body();
        best = std::min(best, plv::thread_cpu_seconds() - start);
    }
    return 1e9 * best / static_cast<double>(operations);
}

Int exact_bits(size_t bits) {
    std::vector<uint64_t> w(bits / 64 + 1, 0);
    for (size_t i = 0; i < bits / 64; ++i) w[i] = rng();
    w[bits / 64 - 1] |= uint64_t{1} << 63;
    Int r = Int::from_words(w.data(), w.size());
    if (rng() & 1) r.negate();
    return r;
}

void bench() {
    std::printf("%6s %12s %14s %10s %10s %10s %10s %10s %10s\n", "bits", "add_mul i64",
                "add_mul Int", "add", "mul", "divexact", "gcd", "ratio", "to_double");
    for (size_t bits : {64, 128, 256, 384, 512, 1024}) {
        constexpr size_t n = 256;
        std::vector<Int> a;
        std::vector<Int> b;
        std::vector<int64_t> k;
        for (size_t i = 0; i < n; ++i) {
            a.push_back(exact_bits(bits));
            b.push_back(exact_bits(bits));
            k.push_back(static_cast<int64_t>(rng()) >> 8);
        }
        std::vector<Int> product;
        for (size_t i = 0; i < n; ++i) product.push_back(a[i] * b[i]);
        size_t sink = 0;
        double total = 0;
        constexpr size_t rounds = 400;
        const auto over_all = [&](size_t repeats, auto&& operation) {
            return nanoseconds(n * repeats, [&] {
                for (size_t r = 0; r < repeats; ++r) {
                    for (size_t i = 0; i < n; ++i) operation(i, r);
                }
            });
        };
        // Sums of n terms of random sign and 56-bit factors, restarted for each: rows of a matrix.
        Int sum;
        const double t_small = over_all(rounds, [&](size_t i, size_t r) {
            if (i == 0) sum = Int();
            sum.add_mul(a[i], k[(i + r) % n]);
        });
        sink += sum.bit_length();
        const double t_large = over_all(rounds / 4, [&](size_t i, size_t r) {
            if (i == 0) sum = Int();
            sum.add_mul(a[i], b[(i + r) % n]);
        });
        sink += sum.bit_length();
        const double t_add = over_all(rounds, [&](size_t i, size_t) { sum += a[i]; });
        const double t_mul = over_all(rounds / 4, [&](size_t i, size_t r) {
            sink += static_cast<size_t>((a[i] * b[(i + r) % n]).sign());
        });
        const double t_div = over_all(10, [&](size_t i, size_t) {
            sink += static_cast<size_t>(product[i].divexact(b[i]).sign());
        });
        const double t_gcd = over_all(
            2, [&](size_t i, size_t) { sink += static_cast<size_t>(Int::gcd(a[i], b[i]).sign()); });
        const double t_ratio =
            over_all(20, [&](size_t i, size_t r) { total += Int::ratio(a[i], b[(i + r) % n]); });
        const double t_double =
            over_all(rounds, [&](size_t i, size_t) { total += a[i].to_double(); });
        std::printf("%6zu %12.2f %14.2f %10.2f %10.2f %10.2f %10.1f %10.2f %10.2f   (%zu)\n", bits,
                    t_small, t_large, t_add, t_mul, t_div, t_gcd, t_ratio, t_double,
                    (sink + (total > 0)) % 10);
    }
}

}  // namespace

int main() { bench(); }
