// Tests of csrc/num/int, standalone.
//
// Int is compared with Naive, a schoolbook implementation in base 2^16 that shares nothing with it
// but the two's complement words (which in turn are checked against __int128), with strtod for
// roundings, and with algebraic identities. Seeds are fixed; operands are drawn so that carries
// over limb limits, moves from the inline buffer to the heap, and cancellation happen often. Every
// arithmetic operation also runs on aliased operands.
//
//   g++ -std=c++20 -O2 -I csrc csrc/tests/test_num.cpp csrc/num/int.cpp -pthread -o test_num
//   ./test_num            prints "N passed, N failed", exit status 1 on failure
#include <cfenv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/timer.hpp"
#include "num/int.hpp"
#include "tests/harness.hpp"

using plv::Int;
using plv::Int128;
using plv::Uint128;

namespace {

// --- the reference -----------------------------------------------------------------------------

// Sign and magnitude, 16 bits per digit, least significant first, no leading zeros.
struct Naive {
    bool negative = false;
    std::vector<uint32_t> digits;

    void trim() {
        while (!digits.empty() && digits.back() == 0) digits.pop_back();
        if (digits.empty()) negative = false;
    }
    bool operator==(const Naive&) const = default;
};

Naive naive(const std::vector<uint64_t>& words) {
    Naive r;
    for (uint64_t w : words) {
        for (int k = 0; k < 4; ++k)
            r.digits.push_back(static_cast<uint32_t>(w >> (16 * k)) & 0xffff);
    }
    if (words.back() >> 63) {
        r.negative = true;
        uint32_t carry = 1;
        for (uint32_t& d : r.digits) {
            d = (0xffff - d) + carry;
            carry = d >> 16;
            d &= 0xffff;
        }
        if (carry != 0) r.digits.push_back(carry);
    }
    r.trim();
    return r;
}
Naive naive(const Int& x) { return naive(x.to_words()); }

int compare_magnitude(const Naive& a, const Naive& b) {
    if (a.digits.size() != b.digits.size()) return a.digits.size() < b.digits.size() ? -1 : 1;
    for (size_t i = a.digits.size(); i-- > 0;) {
        if (a.digits[i] != b.digits[i]) return a.digits[i] < b.digits[i] ? -1 : 1;
    }
    return 0;
}

int compare(const Naive& a, const Naive& b) {
    if (a.negative != b.negative) return a.negative ? -1 : 1;
    const int c = compare_magnitude(a, b);
    return a.negative ? -c : c;
}

Naive negated(Naive a) {
    a.negative = !a.negative && !a.digits.empty();
    return a;
}

Naive add(const Naive& a, const Naive& b) {
    Naive r;
    if (a.negative == b.negative) {
        r.negative = a.negative;
        uint32_t carry = 0;
        for (size_t i = 0; i < std::max(a.digits.size(), b.digits.size()) || carry != 0; ++i) {
            if (i < a.digits.size()) carry += a.digits[i];
            if (i < b.digits.size()) carry += b.digits[i];
            r.digits.push_back(carry & 0xffff);
            carry >>= 16;
        }
    } else {
        const bool a_larger = compare_magnitude(a, b) >= 0;
        const Naive& large = a_larger ? a : b;
        const Naive& small = a_larger ? b : a;
        r.negative = large.negative;
        int64_t borrow = 0;
        for (size_t i = 0; i < large.digits.size(); ++i) {
            int64_t d = static_cast<int64_t>(large.digits[i]) - borrow;
            if (i < small.digits.size()) d -= small.digits[i];
            borrow = d < 0;
            r.digits.push_back(static_cast<uint32_t>(d + 65536 * borrow));
        }
    }
    r.trim();
    return r;
}

Naive mul(const Naive& a, const Naive& b) {
    Naive r;
    r.negative = a.negative != b.negative;
    r.digits.assign(a.digits.size() + b.digits.size() + 1, 0);
    for (size_t i = 0; i < a.digits.size(); ++i) {
        uint64_t carry = 0;
        for (size_t j = 0; j < b.digits.size() || carry != 0; ++j) {
            carry += r.digits[i + j];
            if (j < b.digits.size()) carry += uint64_t{a.digits[i]} * b.digits[j];
            r.digits[i + j] = static_cast<uint32_t>(carry & 0xffff);
            carry >>= 16;
        }
    }
    r.trim();
    return r;
}

Naive power_of_two(size_t k) {
    Naive r;
    r.digits.assign(k / 16 + 1, 0);
    r.digits.back() = 1u << (k % 16);
    return r;
}

size_t naive_bit_length(const Naive& a) {
    if (a.digits.empty()) return 0;
    size_t top = 0;
    while (a.digits.back() >> top) ++top;
    return 16 * (a.digits.size() - 1) + top;
}

std::string hex(const Naive& a) {
    std::string s = a.negative ? "-0x0" : "0x0";
    char part[8];
    for (size_t i = a.digits.size(); i-- > 0;) {
        std::snprintf(part, sizeof part, "%04x", a.digits[i]);
        s += part;
    }
    return s;
}

// --- random operands ---------------------------------------------------------------------------

std::mt19937_64 rng(20240607);

size_t below(size_t n) { return static_cast<size_t>(rng() % n); }

// Words with long runs of equal bits as often as uniform ones.
std::vector<uint64_t> random_words(size_t n) {
    std::vector<uint64_t> w(n);
    const size_t style = below(4);
    uint64_t run = rng() & 1 ? ~uint64_t{0} : 0;
    for (uint64_t& x : w) {
        switch (style) {
            case 0:
                x = rng();
                break;
            case 1:
                x = run;
                if (below(3) == 0) run = ~run;
                break;
            case 2: {
                const size_t cut = below(64);
                x = (run << cut) | (~run & ((uint64_t{1} << cut) - 1));
                if (below(2) == 0) run = ~run;
                break;
            }
            default:
                x = below(3) == 0 ? uint64_t{1} << below(64) : 0;
                break;
        }
    }
    return w;
}

// Any sign, up to `words` words; short ones and exact limb counts are frequent.
Int random_int(size_t words = 18) {
    const size_t n = below(3) == 0 ? 1 + below(2) : 1 + below(words);
    const std::vector<uint64_t> w = random_words(n);
    Int r = Int::from_words(w.data(), n);
    if (below(3) == 0) r >>= below(64);
    if (below(8) == 0) r += static_cast<int64_t>(below(3)) - 1;
    if (below(2) == 0) r.negate();
    return r;
}

Int random_nonzero(size_t words = 18) {
    for (;;) {
        Int r = random_int(words);
        if (!r.is_zero()) return r;
    }
}

int64_t random_int64() {
    constexpr int64_t special[] = {
        0, 1, -1, 2, INT64_MIN, INT64_MIN + 1, INT64_MAX, int64_t{1} << 32};
    if (below(3) == 0) return special[below(std::size(special))];
    return static_cast<int64_t>(rng()) >> below(64);
}

Int128 random_int128() {
    const auto bits = (static_cast<Uint128>(rng()) << 64) | rng();
    return static_cast<Int128>(bits) >> below(127);
}

Int from_int128(Int128 x) {
    const uint64_t words[2] = {static_cast<uint64_t>(x), static_cast<uint64_t>(x >> 64)};
    return Int::from_words(words, 2);
}

// --- tests of Int ------------------------------------------------------------------------------

// Independent of Naive: products and sums of 62-bit numbers fit __int128.
void test_small_against_int128() {
    for (int i = 0; i < 20000; ++i) {
        const Int128 x = random_int128() >> 66;
        const Int128 y = random_int128() >> 66;
        const Int a(static_cast<int64_t>(x));
        const Int b(static_cast<int64_t>(y));
        CHECK(a + b == from_int128(x + y));
        CHECK(a - b == from_int128(x - y));
        CHECK(a * b == from_int128(x * y));
        CHECK((a < b) == (x < y));
        CHECK((a == b) == (x == y));
        CHECK(a.sign() == (x > 0) - (x < 0));
        CHECK(a.to_int64() == static_cast<int64_t>(x));
        Int c = from_int128(x * y);
        c.add_mul(a, static_cast<int64_t>(y));
        CHECK(c == from_int128(2 * x * y));
        c.sub_mul(a, b);
        CHECK(c == from_int128(x * y));
        if (y != 0) {
            const Int128 z = random_int128();
            Int q;
            Int r;
            Int::divmod(from_int128(z), b, q, r);
            CHECK(q == from_int128(z / y));
            CHECK(r == from_int128(z % y));
        }
    }
}

void test_words() {
    CHECK(Int().to_words() == std::vector<uint64_t>{0});
    CHECK(Int(-1).to_words() == std::vector<uint64_t>{~uint64_t{0}});
    CHECK(Int(INT64_MIN).to_words() == std::vector<uint64_t>{uint64_t{1} << 63});
    CHECK(Int(uint64_t{1} << 63).to_words() == std::vector<uint64_t>({uint64_t{1} << 63, 0}));
    CHECK((-Int(~uint64_t{0})).to_words() == std::vector<uint64_t>({1, ~uint64_t{0}}));
    CHECK(Int::from_words(nullptr, 0).is_zero());
    for (int i = 0; i < 5000; ++i) {
        std::vector<uint64_t> w = random_words(1 + below(20));
        const Int a = Int::from_words(w.data(), w.size());
        CHECK(naive(w) == naive(a));
        // Drop words that only repeat the sign: what is left is the minimal form.
        while (w.size() > 1) {
            const uint64_t fill = (w[w.size() - 2] >> 63) ? ~uint64_t{0} : 0;
            if (w.back() != fill) break;
            w.pop_back();
        }
        CHECK(a.to_words() == w);
        // Sign extension changes nothing.
        w.insert(w.end(), 3, (w.back() >> 63) ? ~uint64_t{0} : 0);
        CHECK(Int::from_words(w.data(), w.size()) == a);
    }
}

void test_large_against_naive() {
    for (int i = 0; i < 20000; ++i) {
        const Int a = random_int();
        const Int b = random_int();
        const Naive na = naive(a);
        const Naive nb = naive(b);
        CHECK(naive(a + b) == add(na, nb));
        CHECK(naive(a - b) == add(na, negated(nb)));
        CHECK(naive(a * b) == mul(na, nb));
        CHECK(((a <=> b) < 0) == (compare(na, nb) < 0));
        CHECK(((a <=> b) == 0) == (compare(na, nb) == 0));
        CHECK((a == b) == (na == nb));
        CHECK(naive(-a) == negated(na));
        CHECK(a.abs().sign() == (a.sign() != 0) && (a.abs() == a || a.abs() == -a));
        CHECK(a.bit_length() == naive_bit_length(na));
        CHECK(Int::compare_abs(a, b) == compare_magnitude(na, nb));
        Int c = a;
        c *= b;
        CHECK(c == a * b);
        c = a;
        c += b;
        CHECK(c == a + b);
        c = a;
        c -= b;
        CHECK(c == a - b);
    }
}

void test_add_mul() {
    for (int i = 0; i < 30000; ++i) {
        const Int r = random_int();
        const Int a = random_int();
        const int64_t k = random_int64();
        Int x = r;
        x.add_mul(a, k);
        CHECK(naive(x) == add(naive(r), mul(naive(a), naive(Int(k)))));
        x.sub_mul(a, k);
        CHECK(x == r);
        const auto u = static_cast<uint64_t>(k);
        x.add_mul(a, u);
        CHECK(naive(x) == add(naive(r), mul(naive(a), naive(Int(u)))));

        const Int b = random_int();
        x = r;
        x.add_mul(a, b);
        CHECK(naive(x) == add(naive(r), mul(naive(a), naive(b))));
        x.sub_mul(a, b);
        CHECK(x == r);
        // Cancellation to zero and across it.
        x = a * b;
        x.sub_mul(a, b);
        CHECK(x.is_zero() && x.sign() == 0);
        x = a * k + 1;
        x.sub_mul(a, k);
        CHECK(x == 1);
        x = a * k;
        x.sub_mul(a, k);
        x -= 1;
        CHECK(x == -1);
    }
    // A long sum of mixed signs, as in a matrix-vector product.
    for (int i = 0; i < 200; ++i) {
        Int sum;
        Naive expected;
        for (int j = 0; j < 100; ++j) {
            const Int a = random_int(6);
            const int64_t k = random_int64();
            sum.add_mul(a, k);
            expected = add(expected, mul(naive(a), naive(Int(k))));
        }
        CHECK(naive(sum) == expected);
    }
}

void test_aliasing() {
    for (int i = 0; i < 10000; ++i) {
        const Int a = random_int();
        const int64_t k = random_int64();
        const Int kk(k);
        Int x = a;
        x += x;
        CHECK(x == a * 2);
        x = a;
        x -= x;
        CHECK(x.is_zero());
        x = a;
        x *= x;
        CHECK(naive(x) == mul(naive(a), naive(a)));
        x = a;
        x.add_mul(x, k);
        CHECK(x == a + a * kk);
        x = a;
        x.sub_mul(x, k);
        CHECK(x == a - a * kk);
        x = a;
        x.add_mul(x, x);
        CHECK(x == a + a * a);
        x = a;
        x.sub_mul(x, x);
        CHECK(x == a - a * a);
        const Int b = random_nonzero();
        x = a;
        x.add_mul(b, x);
        CHECK(x == a + a * b);
        x = a;
        x.add_mul(x, b);
        CHECK(x == a + a * b);
        Int q;
        Int r;
        Int::divmod(a, b, q, r);
        x = a;
        Int y = b;
        Int::divmod(x, y, x, y);
        CHECK(x == q && y == r);
        x = a;
        y = b;
        Int::divmod(x, y, y, x);
        CHECK(y == q && x == r);
        if (!a.is_zero()) {
            x = a;
            CHECK(x.divexact(x) == 1);
            x = x.divexact(x);
            CHECK(x == 1);
        }
        x = a;
        Int& same = x;
        x = same;
        CHECK(x == a);
        x = std::move(same);
        CHECK(x == a);
        x.swap(same);
        CHECK(x == a);
    }
}

void test_division() {
    for (int i = 0; i < 20000; ++i) {
        Int num = random_int(24);
        const Int den = random_nonzero(12);
        // Numerators near multiples of the divisor exercise the quotient corrections.
        if (below(3) == 0) num = random_int() * den + static_cast<int64_t>(below(3)) - 1;
        Int q;
        Int r;
        Int::divmod(num, den, q, r);
        CHECK(add(mul(naive(q), naive(den)), naive(r)) == naive(num));
        CHECK(Int::compare_abs(r, den) < 0);
        CHECK(r.is_zero() || r.sign() == num.sign());
        const Int factor = random_int();
        CHECK((factor * den).divexact(den) == factor);
    }
    CHECK(throws<plv::InternalError>([] {
        Int q, r;
        Int::divmod(1, 0, q, r);
    }));
    CHECK(throws<plv::InternalError>([] { (void)Int(1).divexact(0); }));
}

// Dividends and divisors made of all-ones and single-bit limbs of every size: the rare branches of
// algorithm D (estimate too large by 1 and 2, add back).
void test_division_patterns() {
    const uint64_t limbs[] = {0,
                              1,
                              uint64_t{1} << 63,
                              (uint64_t{1} << 63) - 1,
                              ~uint64_t{0},
                              ~uint64_t{0} - 1,
                              (uint64_t{1} << 63) + 1};
    for (int i = 0; i < 30000; ++i) {
        const auto draw = [&](size_t n) {
            std::vector<uint64_t> w(n);
            for (uint64_t& x : w) x = limbs[below(std::size(limbs))];
            w.push_back(0);
            return Int::from_words(w.data(), w.size());
        };
        const Int den = draw(1 + below(4));
        if (den.is_zero()) continue;
        const Int num = draw(1 + below(8));
        Int q;
        Int r;
        Int::divmod(num, den, q, r);
        CHECK(add(mul(naive(q), naive(den)), naive(r)) == naive(num));
        CHECK(r >= 0 && r < den);
    }
}

void test_gcd() {
    CHECK(Int::gcd(0, 0) == 0);
    CHECK(Int::gcd(0, -5) == 5);
    CHECK(Int::gcd(-12, 18) == 6);
    for (int i = 0; i < 5000; ++i) {
        Int a = random_int(10);
        Int b = random_int(below(2) == 0 ? 10 : 3);
        if (below(2) == 0) {
            const Int g = random_int(6);
            a *= g;
            b *= g;
        }
        // Plain Euclid on the division tested above.
        Int x = a.abs();
        Int y = b.abs();
        while (!y.is_zero()) {
            Int q;
            Int r;
            Int::divmod(x, y, q, r);
            x = std::move(y);
            y = std::move(r);
        }
        CHECK(Int::gcd(a, b) == x);
        CHECK(Int::gcd(b, a) == x);
        CHECK(Int::gcd(a, a) == a.abs());
    }
    // Consecutive Fibonacci numbers: all quotients are 1, the longest run of Lehmer's inner loop.
    Int f = 0;
    Int g = 1;
    for (int i = 0; i < 1500; ++i) {
        f += g;
        f.swap(g);
        if (i % 50 == 0) CHECK(Int::gcd(f, g) == 1);
        if (i % 50 == 0) CHECK(Int::gcd(f * 12, g * 12) == 12);
    }
}

void test_shifts() {
    for (int i = 0; i < 10000; ++i) {
        const Int a = random_int();
        const size_t k = below(3) == 0 ? 64 * below(8) : below(600);
        const Int left = a << k;
        CHECK(naive(left) == mul(naive(a), naive(Int(1) << k)));
        CHECK((left >> k) == a);
        CHECK(a.is_zero() || left.trailing_zeros() == a.trailing_zeros() + k);
        Int q;
        Int r;
        Int::divmod(a, Int(1) << k, q, r);
        CHECK((a >> k) == q);
        const size_t t = a.trailing_zeros();
        CHECK(((a >> t) << t) == a && (a.is_zero() || (a >> t).is_odd()));
        CHECK(naive(Int(1) << k) == power_of_two(k));
    }
    CHECK((Int(-3) >> 1) == -1);
    CHECK((Int(-1) >> 1).is_zero());
    CHECK((Int() << 1000).is_zero());
}

void test_storage() {
    // Grow over the inline limit and come back; the buffer stays, the value is right.
    Int a = 1;
    CHECK(a.capacity() == 7);
    a <<= 447;
    CHECK(a.capacity() == 7 && a.bit_length() == 448);
    a += a;
    CHECK(a.capacity() > 7 && a.bit_length() == 449 && a == Int(1) << 448);
    const size_t capacity = a.capacity();
    a = Int(3);
    CHECK(a == 3 && a.capacity() == capacity);
    a = Int(1) << 500;
    Int b = std::move(a);
    CHECK(b == Int(1) << 500);
    a = 5;  // a moved-from Int may be assigned to
    CHECK(a == 5);
    a.swap(b);
    CHECK(a == Int(1) << 500 && b == 5);
    std::vector<Int> many;
    for (int i = 0; i < 200; ++i) many.push_back(Int(i) << static_cast<size_t>(8 * i));
    for (int i = 0; i < 200; ++i) CHECK(many[i] >> static_cast<size_t>(8 * i) == i);
    // A carry out of the last inline limb, by each operation.
    const Int full = (Int(1) << 448) - 1;
    a = full;
    CHECK(full.capacity() >= 7);
    Int x = Int(full);
    x += 1;
    CHECK(x == Int(1) << 448);
    x = full;
    x.add_mul(full, INT64_MIN);
    CHECK(naive(x) == add(naive(full), mul(naive(full), naive(Int(INT64_MIN)))));
    x = full;
    x *= Int(2);
    CHECK(x == full + full);
    CHECK(sizeof(Int) == 64);
}

void test_construction() {
    CHECK(Int(true) == 1);
    CHECK(Int(uint64_t{1} << 63).sign() == 1);
    CHECK(Int(INT64_MIN) == -(Int(1) << 63));
    CHECK(Int(INT64_MIN).fits_int64() && Int(INT64_MIN).to_int64() == INT64_MIN);
    CHECK(!(Int(1) << 63).fits_int64() && (Int(1) << 63) - 1 == INT64_MAX);
    CHECK(!(Int(INT64_MIN) - 1).fits_int64());
    CHECK(throws<plv::InternalError>([] { (void)(Int(1) << 63).to_int64(); }));
    CHECK(Int(-1).bit_length() == 1 && Int().bit_length() == 0 && Int().trailing_zeros() == 0);
    CHECK(Int(1).is_one() && !Int(-1).is_one() && !Int().is_odd() && Int(-3).is_odd());
    CHECK(!std::is_convertible_v<double, Int>);
}

void test_to_string() {
    CHECK(Int().to_string() == "0");
    CHECK(Int(INT64_MIN).to_string() == "-9223372036854775808");
    CHECK((Int(10) * Int(1000000000000000000)).to_string() == "10000000000000000000");
    for (int i = 0; i < 500; ++i) {
        const Int a = random_int();
        Naive r;
        const Naive ten = naive(Int(10));
        const std::string s = a.to_string();
        for (char c : s) {
            if (c != '-') r = add(mul(r, ten), naive(Int(c - '0')));
        }
        if (s[0] == '-') r = negated(r);
        CHECK(r == naive(a));
        CHECK(s == "0" || s[s[0] == '-'] != '0');
    }
}

bool same(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

// Values around the half-way points between doubles, of any length.
Int random_near_tie() {
    Int a = Int(static_cast<int64_t>(rng() >> 10) | (int64_t{1} << 53));  // 54 bits
    const size_t k = below(200);
    a <<= k;
    if (k > 0) a += static_cast<int64_t>(below(3)) - 1;
    if (below(2) == 0) a.negate();
    return a;
}

void test_to_double() {
    CHECK(same(Int().to_double(), 0.0));
    CHECK(Int(INT64_MIN).to_double() == -0x1p63);
    CHECK(((Int(1) << 1024) - 1).to_double() == HUGE_VAL);
    CHECK(((Int(1) << 1024) - (Int(1) << 970)).to_double() == HUGE_VAL);
    CHECK(((Int(1) << 1024) - (Int(1) << 970) - 1).to_double() ==
          std::numeric_limits<double>::max());
    CHECK((-(Int(1) << 5000)).to_double() == -HUGE_VAL);
    for (int i = 0; i < 20000; ++i) {
        const Int a = below(2) == 0 ? random_int() : random_near_tie();
        const double expected = a.is_zero() ? 0.0 : std::strtod(hex(naive(a)).c_str(), nullptr);
        CHECK(same(a.to_double(), expected));
        long exponent = -1;
        const double m = a.to_double(exponent);
        if (a.is_zero()) {
            CHECK(m == 0 && exponent == 0);
        } else {
            CHECK(std::abs(m) >= 0.5 && std::abs(m) < 1);
            CHECK(same(std::ldexp(m, static_cast<int>(exponent)), expected));
        }
    }
    long exponent;
    CHECK((Int(-3) << 100000).to_double(exponent) == -0.75 && exponent == 100002);
    CHECK(((Int(1) << 100000) - 1).to_double(exponent) == 0.5 && exponent == 100001);
}

void test_from_double() {
    int e = 7;
    CHECK(Int::from_double_scaled(0.0, e).is_zero() && e == 0);
    CHECK(Int::from_double_scaled(-0.0, e).is_zero() && e == 0);
    CHECK(Int::from_double_scaled(-6.0, e) == -3 && e == 1);
    CHECK(Int::from_double_scaled(5e-324, e) == 1 && e == -1074);
    CHECK(Int::from_double_scaled(0.1, e) == Int(0x1999999999999A / 2) && e == -55);
    CHECK(throws<std::invalid_argument>([&] { (void)Int::from_double_scaled(HUGE_VAL, e); }));
    CHECK(throws<std::invalid_argument>([&] { (void)Int::from_double_scaled(NAN, e); }));
    for (int i = 0; i < 20000; ++i) {
        uint64_t bits = rng();
        if (below(4) == 0) bits &= ~(uint64_t{0x7ff} << 52);  // subnormal
        if (below(4) == 0) bits &= ~uint64_t{0} << below(52);
        const double x = std::bit_cast<double>(bits);
        if (!std::isfinite(x)) continue;
        const Int m = Int::from_double_scaled(x, e);
        CHECK(m.is_zero() ? x == 0 : m.is_odd());
        CHECK(std::ldexp(m.to_double(), e) == x);
    }
}

// Whether r is num / den * 2^exp2 rounded to nearest even, by exact comparison with the two
// half-way points around r.
bool is_nearest(double r, const Int& num, const Int& den, long exp2) {
    const bool negative = (num.sign() < 0) != (den.sign() < 0) && !num.is_zero();
    if (std::signbit(r) != negative) return false;
    const auto bits = std::bit_cast<uint64_t>(std::abs(r));
    // The magnitude of a double in units of 2^-1075; infinity counts as 2^1024.
    const auto units = [](uint64_t b) {
        const auto field = static_cast<int>(b >> 52);
        uint64_t m = b & ((uint64_t{1} << 52) - 1);
        if (field != 0) m |= uint64_t{1} << 52;
        return Int(m) << static_cast<size_t>(std::max(field, 1));
    };
    constexpr uint64_t infinity = uint64_t{0x7ff} << 52;
    // Compare 2 |num| 2^exp2 with |den| (r + neighbour), both in units of 2^-1075.
    Int left = num.abs();
    Int scale = den.abs();
    const long shift = exp2 + 1076;
    if (shift >= 0) {
        left <<= static_cast<size_t>(shift);
    } else {
        scale <<= static_cast<size_t>(-shift);
    }
    const auto half_way = [&](uint64_t b) { return scale * (units(b) + units(b + 1)); };
    const bool even = (bits & 1) == 0;
    bool ok = true;
    if (bits < infinity) {
        const auto c = left <=> half_way(bits);
        ok = ok && (c < 0 || (c == 0 && even));
    }
    if (bits > 0) {
        const auto c = left <=> half_way(bits - 1);
        ok = ok && (c > 0 || (c == 0 && even));
    }
    return ok;
}

void test_ratio() {
    CHECK(Int::ratio(1, 3) == 1.0 / 3.0);
    CHECK(same(Int::ratio(0, -3), 0.0));
    CHECK(Int::ratio(Int(1) << 3000, (Int(1) << 2999) * 3) == 2.0 / 3.0);
    CHECK(same(Int::ratio(-1, Int(1) << 3000), -0.0));
    CHECK(Int::ratio(-1, Int(1) << 1074) == -5e-324);
    CHECK(Int::ratio(1, Int(1) << 1075) == 0);
    CHECK(Int::ratio((Int(1) << 100) + 1, Int(1) << 1175) == 5e-324);
    CHECK(Int::ratio(-(Int(1) << 1024), 1) == -HUGE_VAL);
    CHECK(Int::ratio_scaled(1, 1, std::numeric_limits<long>::max()) == HUGE_VAL);
    CHECK(same(Int::ratio_scaled(1, -1, std::numeric_limits<long>::min()), -0.0));
    CHECK(throws<plv::InternalError>([] { (void)Int::ratio(1, 0); }));
    for (int i = 0; i < 20000; ++i) {
        const auto a = static_cast<int64_t>(rng() >> 11) - (int64_t{1} << 52);
        const auto b = static_cast<int64_t>(rng() >> (11 + below(50))) + 1;
        CHECK(
            same(Int::ratio(a, b), a == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b)));

        const Int den = random_nonzero();
        Int num = random_int();
        if (below(3) == 0) num = random_near_tie() * den;  // exact ties
        if (below(3) == 0) num += static_cast<int64_t>(below(3)) - 1;
        CHECK(is_nearest(Int::ratio(num, den), num, den, 0));
        // Spread over the whole range of double, its ends and beyond.
        const long size = static_cast<long>(num.bit_length()) - static_cast<long>(den.bit_length());
        const long target = below(2) == 0 ? static_cast<long>(below(2300)) - 1150
                                          : static_cast<long>(below(60)) - 1080;
        CHECK(is_nearest(Int::ratio_scaled(num, den, target - size), num, den, target - size));
    }
}

void test_p61() {
    const Int p(plv::p61);
    CHECK(p.mod_p61() == 0 && Int(-1).mod_p61() == plv::p61 - 1 && (p * p + 5).mod_p61() == 5);
    CHECK((p - 1).mod_p61() == plv::p61 - 1 && Int(~uint64_t{0}).mod_p61() == 7);
    for (int i = 0; i < 20000; ++i) {
        const Int a = random_int();
        const Int b = random_int();
        Int q;
        Int r;
        Int::divmod(a, p, q, r);
        if (r.sign() < 0) r += p;
        CHECK(r == a.mod_p61());
        CHECK((a * b).mod_p61() == plv::mul_p61(a.mod_p61(), b.mod_p61()));
        CHECK((a + b).mod_p61() == plv::add_p61(a.mod_p61(), b.mod_p61()));
        CHECK((a - b).mod_p61() == plv::sub_p61(a.mod_p61(), b.mod_p61()));
        const uint64_t x = a.mod_p61();
        if (x != 0 && i < 2000) CHECK(plv::mul_p61(x, plv::inverse_p61(x)) == 1);
    }
    CHECK(plv::mul_p61(plv::p61 - 1, plv::p61 - 1) == 1);
    static_assert(plv::inverse_p61(1) == 1 && plv::inverse_p61(0) == 0);
}

}  // namespace

int main() {
    test_small_against_int128();
    test_words();
    test_large_against_naive();
    test_add_mul();
    test_aliasing();
    test_division();
    test_division_patterns();
    test_gcd();
    test_shifts();
    test_storage();
    test_construction();
    test_to_string();
    test_to_double();
    test_from_double();
    test_ratio();
    test_p61();
    return report();
}
