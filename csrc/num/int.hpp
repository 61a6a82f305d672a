// Exact integers of any size.
//
// Int is what decides a sign when floating point cannot: exact rows, exact points and their
// products live here, mostly of 64 to 1024 bits. It is sign and magnitude, little-endian 64-bit
// limbs, with the sign carried by the limb count as in GMP. Seven limbs (448 bits) live inside the
// object, which makes it exactly one cache line; larger values go to the heap, and an Int that has
// been there keeps its buffer for later values. We do not use GMP: it would be a run-time
// dependency for operations whose operands are a handful of limbs, where a call and an allocation
// cost more than the arithmetic.
//
// The hot operation is add_mul (exact matrix-vector products). Its terms have random signs, and a
// branch between "add" and "subtract" would be mispredicted half of the time. The kernel therefore
// uses r - p == ~(~r + p): one loop that complements r on the way in and out under a mask does
// both. Only a change of sign of the sum takes a second pass. Sums, and add_mul by a machine
// integer, allocate only when the result does not fit the buffer it goes to; products and divisions
// use scratch on the stack up to 3072 bits.
//
// Cost: addition linear, multiplication and division quadratic (schoolbook; at these sizes the
// faster algorithms lose), gcd quadratic (Lehmer). Everything here is integer arithmetic, the
// roundings to double included, so no result depends on the floating-point mode of the thread.
//
// Aliasing is allowed everywhere (a += a, a.add_mul(a, a), divmod(a, b, a, b)). An Int in which an
// allocation failed may be assigned to or destroyed, nothing else.
#pragma once

#include <algorithm>
#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../base/contract.hpp"

namespace plv {

__extension__ typedef unsigned __int128 Uint128;
__extension__ typedef __int128 Int128;

// 2^61 - 1, a prime. Arithmetic modulo it is a cheap fingerprint of exact values; residues are in
// [0, p61).
inline constexpr uint64_t p61 = (uint64_t{1} << 61) - 1;

constexpr uint64_t add_p61(uint64_t a, uint64_t b) {
    const uint64_t sum = a + b;
    return sum >= p61 ? sum - p61 : sum;
}

constexpr uint64_t sub_p61(uint64_t a, uint64_t b) { return a >= b ? a - b : a + p61 - b; }

constexpr uint64_t mul_p61(uint64_t a, uint64_t b) {
    const Uint128 product = static_cast<Uint128>(a) * b;
    return add_p61(static_cast<uint64_t>(product) & p61, static_cast<uint64_t>(product >> 61));
}

constexpr uint64_t pow_p61(uint64_t base, uint64_t exponent) {
    uint64_t result = 1;
    for (; exponent != 0; exponent >>= 1) {
        if (exponent & 1) result = mul_p61(result, base);
        base = mul_p61(base, base);
    }
    return result;
}

// The inverse of a nonzero residue (Fermat); 0 for 0.
constexpr uint64_t inverse_p61(uint64_t a) { return pow_p61(a, p61 - 2); }

class Int {
public:
    Int() noexcept {}

    // Implicit from every integer type: a negative or a large unsigned value means what it says.
    template <std::integral T>
    Int(T value) noexcept {  // NOLINT(google-explicit-constructor)
        const auto [magnitude, negative] = split(value);
        inline_[0] = magnitude;
        size_ = magnitude == 0 ? 0 : (negative ? -1 : 1);
    }

    // A double is not silently truncated: see from_double_scaled.
    template <std::floating_point T>
    Int(T) = delete;

    Int(const Int& other) { copy_fresh(other); }
    Int(Int&& other) noexcept { steal(other); }

    Int& operator=(const Int& other) {
        if (this != &other) {
            const size_t n = other.size();
            if (n > capacity_) grow_discarding(n);
            copy_limbs(data(), other.data(), n);
            size_ = other.size_;
        }
        return *this;
    }

    // Keeps the own buffer when the other value is inline, so that `x = 0` does not lose capacity.
    Int& operator=(Int&& other) noexcept {
        if (this == &other) return *this;
        if (other.is_inline()) {
            copy_limbs(data(), other.inline_, other.size());
            size_ = other.size_;
        } else {
            release();
            steal(other);
        }
        return *this;
    }

    ~Int() { release(); }

    void swap(Int& other) noexcept {
        Int tmp(std::move(other));
        other = std::move(*this);
        *this = std::move(tmp);
    }
    friend void swap(Int& a, Int& b) noexcept { a.swap(b); }

    // --- conversions -------------------------------------------------------------------------

    // From n words of little-endian two's complement; n == 0 is zero. Need not be minimal.
    static Int from_words(const uint64_t* words, size_t n);

    // Minimal little-endian two's complement, at least one word.
    std::vector<uint64_t> to_words() const;

    // x == result * 2^exponent with an odd result, or 0 and exponent 0. x must be finite.
    static Int from_double_scaled(double x, int& exponent);

    bool fits_int64() const;
    int64_t to_int64() const;  // the value must fit

    // Rounded to nearest, ties to even; infinite beyond the range of double.
    double to_double() const;

    // The value is (result) * 2^exponent, result rounded to nearest even, |result| in [0.5, 1); 0
    // and exponent 0 for zero. Cannot overflow.
    double to_double(long& exponent) const;

    // num / den and num / den * 2^exp2, correctly rounded (nearest, ties to even), subnormal
    // results included; infinite on overflow, +-0 on underflow. den must not be 0.
    static double ratio(const Int& num, const Int& den) { return ratio_scaled(num, den, 0); }
    static double ratio_scaled(const Int& num, const Int& den, long exp2);

    // The residue modulo 2^61 - 1, in [0, p61).
    uint64_t mod_p61() const {
        const uint64_t* a = data();
        uint64_t r = 0;
        for (size_t i = size(); i-- > 0;) {  // r * 2^64 + limb, with 2^64 == 8
            const Uint128 t = (static_cast<Uint128>(r) << 3) + a[i];
            r = (static_cast<uint64_t>(t) & p61) + static_cast<uint64_t>(t >> 61);
            if (r >= p61) r -= p61;
        }
        return size_ < 0 && r != 0 ? p61 - r : r;
    }

    std::string to_string() const;  // decimal; quadratic, for messages and debugging

    // --- queries -----------------------------------------------------------------------------

    int sign() const { return (size_ > 0) - (size_ < 0); }
    bool is_zero() const { return size_ == 0; }
    bool is_negative() const { return size_ < 0; }
    bool is_odd() const { return size_ != 0 && (data()[0] & 1) != 0; }
    bool is_one() const { return size_ == 1 && data()[0] == 1; }

    // Bits of the magnitude: 0 for 0, 1 for +-1, 64 for -2^63.
    size_t bit_length() const {
        const size_t n = size();
        return n == 0 ? 0 : 64 * n - static_cast<size_t>(std::countl_zero(data()[n - 1]));
    }

    // The largest k such that 2^k divides the value; 0 for 0.
    size_t trailing_zeros() const {
        if (size_ == 0) return 0;
        const uint64_t* a = data();
        size_t i = 0;
        while (a[i] == 0) ++i;
        return 64 * i + static_cast<size_t>(std::countr_zero(a[i]));
    }

    // The limbs of the magnitude, least significant first, no leading zero limb.
    std::span<const uint64_t> magnitude() const { return {data(), size()}; }

    Int abs() const& {
        Int r(*this);
        r.size_ = r.size_ < 0 ? -r.size_ : r.size_;
        return r;
    }
    Int abs() && {
        size_ = size_ < 0 ? -size_ : size_;
        return std::move(*this);
    }

    friend bool operator==(const Int& a, const Int& b) {
        return a.size_ == b.size_ && compare_limbs(a.data(), b.data(), a.size()) == 0;
    }
    friend std::strong_ordering operator<=>(const Int& a, const Int& b) {
        // The signed limb counts order already, unless they are equal.
        if (a.size_ != b.size_) return a.size_ <=> b.size_;
        const int c = compare_limbs(a.data(), b.data(), a.size());
        return (a.size_ < 0 ? -c : c) <=> 0;
    }

    // -1, 0 or 1 as |a| is less than, equal to or greater than |b|.
    static int compare_abs(const Int& a, const Int& b) {
        if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
        return compare_limbs(a.data(), b.data(), a.size());
    }

    // --- arithmetic --------------------------------------------------------------------------

    void negate() { size_ = -size_; }

    Int& operator+=(const Int& b) {
        accumulate(b.data(), b.size(), b.size_ < 0);
        return *this;
    }
    Int& operator-=(const Int& b) {
        accumulate(b.data(), b.size(), b.size_ > 0);
        return *this;
    }
    Int& operator*=(const Int& b);
    Int& operator<<=(size_t bits);
    Int& operator>>=(size_t bits);  // truncates toward zero: -3 >> 1 is -1

    friend Int operator+(Int a, const Int& b) { return std::move(a += b); }
    friend Int operator-(Int a, const Int& b) { return std::move(a -= b); }
    friend Int operator*(const Int& a, const Int& b);
    friend Int operator<<(Int a, size_t bits) { return std::move(a <<= bits); }
    friend Int operator>>(Int a, size_t bits) { return std::move(a >>= bits); }
    Int operator-() const& {
        Int r(*this);
        r.size_ = -r.size_;
        return r;
    }
    Int operator-() && {
        size_ = -size_;
        return std::move(*this);
    }

    // *this += a * b and *this -= a * b.
    template <std::integral T>
    void add_mul(const Int& a, T b) {
        const auto [magnitude, negative] = split(b);
        accumulate_product(a.data(), a.size(), magnitude, negative != (a.size_ < 0));
    }
    template <std::integral T>
    void sub_mul(const Int& a, T b) {
        const auto [magnitude, negative] = split(b);
        accumulate_product(a.data(), a.size(), magnitude, negative == (a.size_ < 0));
    }
    void add_mul(const Int& a, const Int& b) { add_product(a, b, false); }
    void sub_mul(const Int& a, const Int& b) { add_product(a, b, true); }

    // num == quotient * den + remainder, quotient truncated toward zero, |remainder| < |den|, the
    // remainder with the sign of num (C semantics). den must not be 0.
    static void divmod(const Int& num, const Int& den, Int& quotient, Int& remainder);

    // *this / d where d is known to divide *this and is not 0. Faster than divmod; builds with
    // asserts verify that d divides, others return nonsense when it does not.
    Int divexact(const Int& d) const;

    // Nonnegative; gcd(0, 0) == 0.
    static Int gcd(Int a, Int b);
    // Of positive integers.
    static Int lcm(const Int& a, const Int& b) { return a.divexact(gcd(a, b)) * b; }

    // Limbs that fit without allocation; the buffer never shrinks while the Int lives.
    size_t capacity() const { return capacity_; }
    void reserve(size_t limbs) {
        if (limbs > capacity_) grow(limbs);
    }

private:
    static constexpr uint32_t inline_limbs = 7;

    // |size_| limbs are in use, the top one nonzero; the sign of size_ is the sign of the value.
    int32_t size_ = 0;
    // == inline_limbs exactly while the limbs are inline_; heap_ otherwise.
    uint32_t capacity_ = inline_limbs;
    union {
        uint64_t inline_[inline_limbs];
        uint64_t* heap_;
    };

    struct Split {
        uint64_t magnitude;
        bool negative;
    };
    template <std::integral T>
    static constexpr Split split(T value) {
        static_assert(sizeof(T) <= 8);
        if constexpr (std::is_signed_v<T>) {
            const auto wide = static_cast<uint64_t>(static_cast<int64_t>(value));
            return {value < 0 ? 0 - wide : wide, value < 0};
        } else {
            return {static_cast<uint64_t>(value), false};
        }
    }

    bool is_inline() const { return capacity_ == inline_limbs; }
    size_t size() const { return static_cast<size_t>(size_ < 0 ? -size_ : size_); }
    uint64_t* data() { return is_inline() ? inline_ : heap_; }
    const uint64_t* data() const { return is_inline() ? inline_ : heap_; }

    static void copy_limbs(uint64_t* to, const uint64_t* from, size_t n) {
        for (size_t i = 0; i < n; ++i) to[i] = from[i];
    }

    static int compare_limbs(const uint64_t* a, const uint64_t* b, size_t n) {
        for (size_t i = n; i-- > 0;) {
            if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
        }
        return 0;
    }

    // Of a newly constructed object: members are not to be trusted before this call.
    void copy_fresh(const Int& other) {
        const size_t n = other.size();
        capacity_ = inline_limbs;
        if (n > inline_limbs) grow_discarding(n);
        copy_limbs(data(), other.data(), n);
        size_ = other.size_;
    }

    void steal(Int& other) noexcept {
        size_ = other.size_;
        capacity_ = other.capacity_;
        if (other.is_inline()) {
            copy_limbs(inline_, other.inline_, other.size());
        } else {
            heap_ = other.heap_;
            other.capacity_ = inline_limbs;
        }
        other.size_ = 0;
    }

    void release() noexcept {
        if (!is_inline()) delete[] heap_;
    }

    void grow(size_t limbs);             // keeps the value
    void grow_discarding(size_t limbs);  // the value becomes 0

    void set_size(size_t n, bool negative) {
        size_ = negative ? -static_cast<int32_t>(n) : static_cast<int32_t>(n);
    }

    // Drops leading zero limbs of the first n and sets size and sign.
    void trim(size_t n, bool negative) {
        const uint64_t* a = data();
        while (n > 0 && a[n - 1] == 0) [[unlikely]]
            --n;
        set_size(n, negative);
    }

    // The magnitude is the limbs 0..n-1 in place, to which a limb is added on top.
    void finish_with_top(size_t n, uint64_t top, bool negative) {
        if (n >= capacity_) {
            set_size(n, negative);
            grow(n + 1);
        }
        data()[n] = top;
        set_size(n + 1, negative);
    }

    // Makes limbs up to n exist, those above the size 0. The size stays.
    void widen(size_t n);

    // The sign an accumulation starts with: a zero takes the sign of what is added.
    bool starts_negative(bool negative) const { return (size_ < 0) | ((size_ == 0) & negative); }

    // The n limbs in place and `over` say what the masked sum left: value + over * 2^(64 n) after
    // an addition, value - over * 2^(64 n) after a subtraction.
    void finish(size_t n, uint64_t over, bool subtracted, bool negative) {
        if (over == 0) [[likely]] {
            trim(n, negative);
        } else if (!subtracted) {
            finish_with_top(n, over, negative);
        } else {
            finish_negated(n, over, negative);
        }
    }
    void finish_negated(size_t n, uint64_t over, bool negative);

    // A running accumulation: the own limbs, xor mask, are added to.
    struct Accumulation {
        uint64_t* r;
        size_t n;
        uint64_t mask;
        bool own_negative;
    };
    Accumulation start(size_t an, bool negative) {
        size_t n = size();
        if (an > n) [[unlikely]] {
            widen(an);
            n = an;
        }
        const bool own_negative = starts_negative(negative);
        return {data(), n, own_negative != negative ? ~uint64_t{0} : 0, own_negative};
    }
    // Carries into the limbs from i on, and ends the accumulation.
    void carry_on(const Accumulation& at, size_t i, uint64_t carry) {
        for (; carry != 0 && i < at.n; ++i) {
            const uint64_t t = (at.r[i] ^ at.mask) + carry;
            at.r[i] = t ^ at.mask;
            carry = t < carry;
        }
        finish(at.n, carry, at.mask != 0, at.own_negative);
    }

    // *this += (+-) (a, an). `a` may be the own limbs.
    void accumulate(const uint64_t* a, size_t an, bool negative) {
        if (an == 0) return;
        const Accumulation at = start(an, negative);
        uint64_t carry = 0;
        for (size_t i = 0; i < an; ++i) {
            const uint64_t own = at.r[i] ^ at.mask;
            uint64_t t = own + a[i];
            const uint64_t above = t < own;
            t += carry;
            carry = above + (t < carry);
            at.r[i] = t ^ at.mask;
        }
        carry_on(at, an, carry);
    }

    // *this += (+-) (a, an) * b. `a` may be the own limbs: limb i is read before it is written, and
    // widen reallocates only when there are fewer own limbs than an.
    void accumulate_product(const uint64_t* a, size_t an, uint64_t b, bool negative) {
        if (an == 0 || b == 0) return;
        const Accumulation at = start(an, negative);
        uint64_t carry = 0;
        for (size_t i = 0; i < an; ++i) {
            // 64-bit carries: a sum of three terms in Uint128 makes GCC spill the carry.
            const Uint128 product = static_cast<Uint128>(a[i]) * b;
            const uint64_t own = at.r[i] ^ at.mask;
            uint64_t t = static_cast<uint64_t>(product) + own;
            const uint64_t above = static_cast<uint64_t>(product >> 64) + (t < own);
            t += carry;
            carry = above + (t < carry);
            at.r[i] = t ^ at.mask;
        }
        carry_on(at, an, carry);
    }

    void add_product(const Int& a, const Int& b, bool subtract);
};

}  // namespace plv
