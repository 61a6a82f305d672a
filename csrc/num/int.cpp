// Exact integers: what is too long or too rare to be inlined.
//
// Division is Knuth's algorithm D (TAOCP 4.3.1) with the two-by-one limb division of Moeller and
// Granlund, "Improved division by invariant integers" (2011), so that no 128-by-64 library division
// runs per quotient limb. Exact division goes from the low end instead (Jebelean 1993): each
// quotient limb is one product with an inverse modulo 2^64, and there is nothing to correct.
// The gcd is Lehmer's, with the cofactor loop in the single-division form that CPython uses.
#include "int.hpp"

#include <limits>

namespace plv {
namespace {

// Limbs of scratch on the stack; larger operands use the heap.
constexpr size_t stack_limbs = 48;

// Uninitialised scratch limbs.
class Scratch {
public:
    explicit Scratch(size_t n) : data_(n <= stack_limbs ? stack_ : new uint64_t[n]) {}
    ~Scratch() {
        if (data_ != stack_) delete[] data_;
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    uint64_t* data() { return data_; }

private:
    uint64_t stack_[stack_limbs];
    uint64_t* data_;
};

constexpr uint64_t high(Uint128 x) { return static_cast<uint64_t>(x >> 64); }
constexpr uint64_t low(Uint128 x) { return static_cast<uint64_t>(x); }

// These loops carry in 64 bits: sums of three terms in Uint128 make GCC spill the carry.

// r = a * b, returns the limb on top. r may be a.
uint64_t mul_limb(uint64_t* r, const uint64_t* a, size_t n, uint64_t b) {
    uint64_t carry = 0;
    for (size_t i = 0; i < n; ++i) {
        const Uint128 product = static_cast<Uint128>(a[i]) * b;
        const uint64_t t = low(product) + carry;
        carry = high(product) + (t < carry);
        r[i] = t;
    }
    return carry;
}

// r += a * b over n limbs, returns the carry.
uint64_t add_mul_limb(uint64_t* r, const uint64_t* a, size_t n, uint64_t b) {
    uint64_t carry = 0;
    for (size_t i = 0; i < n; ++i) {
        const Uint128 product = static_cast<Uint128>(a[i]) * b;
        const uint64_t own = r[i];
        uint64_t t = low(product) + own;
        const uint64_t above = high(product) + (t < own);
        t += carry;
        carry = above + (t < carry);
        r[i] = t;
    }
    return carry;
}

// r -= a * b over n limbs, returns the borrow.
uint64_t sub_mul_limb(uint64_t* r, const uint64_t* a, size_t n, uint64_t b) {
    uint64_t borrow = 0;
    for (size_t i = 0; i < n; ++i) {
        const Uint128 product = static_cast<Uint128>(a[i]) * b;
        const uint64_t t = low(product) + borrow;
        borrow = high(product) + (t < borrow);
        const uint64_t own = r[i];
        borrow += own < t;
        r[i] = own - t;
    }
    return borrow;
}

// r (an + bn limbs, disjoint from a and b) = a * b; an, bn >= 1.
void mul_limbs(uint64_t* r, const uint64_t* a, size_t an, const uint64_t* b, size_t bn) {
    r[an] = mul_limb(r, a, an, b[0]);
    for (size_t j = 1; j < bn; ++j) r[an + j] = add_mul_limb(r + j, a, an, b[j]);
}

// r = a << bits, 0 <= bits < 64, returns what is shifted out. Goes downward: r >= a may overlap.
uint64_t shift_left(uint64_t* r, const uint64_t* a, size_t n, unsigned bits) {
    if (n == 0) return 0;
    if (bits == 0) {
        std::memmove(r, a, n * sizeof(uint64_t));
        return 0;
    }
    const uint64_t out = a[n - 1] >> (64 - bits);
    for (size_t i = n - 1; i > 0; --i) r[i] = (a[i] << bits) | (a[i - 1] >> (64 - bits));
    r[0] = a[0] << bits;
    return out;
}

// r = a >> bits, 0 <= bits < 64. Goes upward: r <= a may overlap.
void shift_right(uint64_t* r, const uint64_t* a, size_t n, unsigned bits) {
    if (n == 0) return;
    if (bits == 0) {
        std::memmove(r, a, n * sizeof(uint64_t));
        return;
    }
    for (size_t i = 0; i + 1 < n; ++i) r[i] = (a[i] >> bits) | (a[i + 1] << (64 - bits));
    r[n - 1] = a[n - 1] >> bits;
}

// A normalised divisor limb (top bit set) with its reciprocal floor((2^128 - 1) / d) - 2^64.
struct LimbDivisor {
    uint64_t d;
    uint64_t reciprocal;

    explicit LimbDivisor(uint64_t divisor) : d(divisor), reciprocal(low(~Uint128{0} / divisor)) {}

    // (hi, lo) / d with hi < d.
    uint64_t divide(uint64_t hi, uint64_t lo, uint64_t& remainder) const {
        const Uint128 q =
            static_cast<Uint128>(reciprocal) * hi + ((static_cast<Uint128>(hi) << 64) | lo);
        uint64_t q1 = high(q) + 1;
        uint64_t r = lo - q1 * d;
        if (r > low(q)) {
            --q1;
            r += d;
        }
        if (r >= d) [[unlikely]] {
            ++q1;
            r -= d;
        }
        remainder = r;
        return q1;
    }
};

// One step of algorithm D: u (n + 1 limbs) becomes u mod v, the quotient limb is returned. v has
// n >= 2 limbs, its top bit set; (top n limbs of u) < v.
uint64_t quotient_limb(uint64_t* u, const uint64_t* v, size_t n, const LimbDivisor& top) {
    uint64_t q;
    uint64_t r;
    bool r_overflows = false;
    if (u[n] >= top.d) {
        q = ~uint64_t{0};
        r = u[n - 1] + top.d;
        r_overflows = r < top.d;
    } else {
        q = top.divide(u[n], u[n - 1], r);
    }
    while (!r_overflows &&
           static_cast<Uint128>(q) * v[n - 2] > ((static_cast<Uint128>(r) << 64) | u[n - 2])) {
        --q;
        r += top.d;
        r_overflows = r < top.d;
    }
    const uint64_t borrow = sub_mul_limb(u, v, n, q);
    const bool too_large = u[n] < borrow;
    u[n] -= borrow;
    if (too_large) [[unlikely]] {
        --q;
        uint64_t carry = 0;
        for (size_t i = 0; i < n; ++i) {
            const Uint128 t = static_cast<Uint128>(u[i]) + v[i] + carry;
            u[i] = low(t);
            carry = high(t);
        }
        u[n] += carry;
    }
    return q;
}

// u mod d for a limb d != 0; the quotient goes to q (n limbs, may be u) unless q is null.
uint64_t div_limb(uint64_t* q, const uint64_t* u, size_t n, uint64_t d) {
    const auto shift = static_cast<unsigned>(std::countl_zero(d));
    const LimbDivisor divisor(d << shift);
    uint64_t r = 0;
    for (size_t i = n; i-- > 0;) {
        // r < d, so r << shift < divisor.d, and the bits of u[i] fill in below.
        const uint64_t hi = shift == 0 ? r : (r << shift) | (u[i] >> (64 - shift));
        uint64_t rest;
        const uint64_t digit = divisor.divide(hi, u[i] << shift, rest);
        if (q != nullptr) q[i] = digit;
        r = rest >> shift;
    }
    return r;
}

// The inverse of an odd limb modulo 2^64 (Newton; 5 correct bits to start with).
uint64_t inverse_limb(uint64_t d) {
    uint64_t x = (3 * d) ^ 2;
    for (int i = 0; i < 4; ++i) x *= 2 - d * x;
    return x;
}

uint64_t gcd_limb(uint64_t a, uint64_t b) {
    if (a == 0) return b;
    if (b == 0) return a;
    const int shift = std::countr_zero(a | b);
    a >>= std::countr_zero(a);
    while (b != 0) {
        b >>= std::countr_zero(b);
        const uint64_t least = std::min(a, b);
        b = a < b ? b - a : a - b;
        a = least;
    }
    return a << shift;
}

// 64 bits of the magnitude (a, n) from bit `from` upward, as if zeros stood beyond its ends.
uint64_t bits_from(const uint64_t* a, size_t n, size_t from) {
    const size_t limb = from / 64;
    const auto bit = static_cast<unsigned>(from % 64);
    const uint64_t lo = limb < n ? a[limb] : 0;
    if (bit == 0) return lo;
    const uint64_t hi = limb + 1 < n ? a[limb + 1] : 0;
    return (lo >> bit) | (hi << (64 - bit));
}

// Whether any bit below bit `below` is set.
bool any_bit_below(const uint64_t* a, size_t n, size_t below) {
    const size_t whole = std::min(below / 64, n);
    for (size_t i = 0; i < whole; ++i) {
        if (a[i] != 0) return true;
    }
    const auto rest = static_cast<unsigned>(below % 64);
    return whole < n && rest != 0 && (a[whole] << (64 - rest)) != 0;
}

// (w + s) * 2^exponent rounded to the nearest double, ties to even, where w != 0 and s stands for
// something in (0, 1) if sticky and for 0 otherwise. With sticky, w needs 55 significant bits.
double round_to_double(bool negative, uint64_t w, bool sticky, int64_t exponent) {
    const int shift = std::countl_zero(w);
    w <<= shift;
    exponent += 63 - shift;  // now the value is in [1, 2) * 2^exponent
    uint64_t bits;
    if (exponent > 1023) {
        bits = uint64_t{0x7ff} << 52;
    } else if (exponent < -1075) {
        bits = 0;  // below half of the least subnormal
    } else {
        // Below the normal range the unit in the last place stays 2^-1074.
        const bool normal = exponent >= -1022;
        const int drop = normal ? 11 : static_cast<int>(11 - 1022 - exponent);  // at most 64
        uint64_t kept = drop == 64 ? 0 : w >> drop;
        const uint64_t dropped = drop == 64 ? w : w & ((uint64_t{1} << drop) - 1);
        const uint64_t half = uint64_t{1} << (drop - 1);
        if (dropped > half || (dropped == half && (sticky || (kept & 1) != 0))) ++kept;
        // The leading bit of `kept` adds one to the exponent field; so does a carry out of the
        // rounding, which reaches infinity and the least normal number as it should.
        bits = (normal ? static_cast<uint64_t>(exponent + 1022) << 52 : 0) + kept;
    }
    return std::bit_cast<double>(bits | (static_cast<uint64_t>(negative) << 63));
}

}  // namespace

// --- storage -----------------------------------------------------------------------------------

void Int::grow(size_t limbs) {
    PLV_CHECK(limbs < (size_t{1} << 30));
    const size_t capacity = std::max(limbs, size_t{capacity_} + capacity_ / 2 + 1);
    auto* fresh = new uint64_t[capacity];
    copy_limbs(fresh, data(), size());
    release();
    heap_ = fresh;
    capacity_ = static_cast<uint32_t>(capacity);
}

void Int::grow_discarding(size_t limbs) {
    PLV_CHECK(limbs < (size_t{1} << 30));
    auto* fresh = new uint64_t[limbs];
    release();
    heap_ = fresh;
    capacity_ = static_cast<uint32_t>(limbs);
    size_ = 0;
}

void Int::widen(size_t n) {
    reserve(n);
    uint64_t* r = data();
    for (size_t i = size(); i < n; ++i) r[i] = 0;
}

// over * 2^(64 n) - value, with the opposite sign.
void Int::finish_negated(size_t n, uint64_t over, bool negative) {
    uint64_t* r = data();
    uint64_t carry = 1;
    for (size_t i = 0; i < n; ++i) {
        r[i] = ~r[i] + carry;
        carry = carry & static_cast<uint64_t>(r[i] == 0);
    }
    const uint64_t top = over - 1 + carry;
    if (top != 0) {
        finish_with_top(n, top, !negative);
    } else {
        trim(n, !negative);
    }
}

// --- conversions -------------------------------------------------------------------------------

Int Int::from_words(const uint64_t* words, size_t n) {
    Int r;
    if (n == 0) return r;
    r.reserve(n);
    uint64_t* a = r.data();
    const bool negative = (words[n - 1] >> 63) != 0;
    if (negative) {
        uint64_t carry = 1;
        for (size_t i = 0; i < n; ++i) {
            a[i] = ~words[i] + carry;
            carry = carry & static_cast<uint64_t>(a[i] == 0);
        }
    } else {
        copy_limbs(a, words, n);
    }
    r.trim(n, negative);
    return r;
}

std::vector<uint64_t> Int::to_words() const {
    if (size_ == 0) return {0};
    const uint64_t* a = data();
    std::vector<uint64_t> words(a, a + size());
    const bool negative = size_ < 0;
    if (negative) {
        uint64_t carry = 1;
        for (uint64_t& w : words) {
            w = ~w + carry;
            carry = carry & static_cast<uint64_t>(w == 0);
        }
    }
    if (((words.back() >> 63) != 0) != negative) words.push_back(negative ? ~uint64_t{0} : 0);
    return words;
}

Int Int::from_double_scaled(double x, int& exponent) {
    const auto bits = std::bit_cast<uint64_t>(x);
    const auto field = static_cast<int>((bits >> 52) & 0x7ff);
    uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
    PLV_EXPECT(field != 0x7ff, "a finite number is expected, not an infinity or a NaN");
    exponent = 0;
    if (field != 0) mantissa |= uint64_t{1} << 52;
    if (mantissa == 0) return {};
    const int zeros = std::countr_zero(mantissa);
    exponent = std::max(field, 1) - 1075 + zeros;
    Int r(mantissa >> zeros);
    if ((bits >> 63) != 0) r.negate();
    return r;
}

bool Int::fits_int64() const {
    if (size() > 1) return false;
    if (size_ == 0) return true;
    const uint64_t limit = uint64_t{1} << 63;
    return size_ < 0 ? data()[0] <= limit : data()[0] < limit;
}

int64_t Int::to_int64() const {
    PLV_CHECK(fits_int64());
    if (size_ == 0) return 0;
    return static_cast<int64_t>(size_ < 0 ? 0 - data()[0] : data()[0]);
}

double Int::to_double() const {
    if (size_ == 0) return 0.0;
    const uint64_t* a = data();
    const size_t n = size();
    if (n == 1) return round_to_double(size_ < 0, a[0], false, 0);
    const size_t below = bit_length() - 64;
    return round_to_double(size_ < 0, bits_from(a, n, below), any_bit_below(a, n, below),
                           static_cast<int64_t>(below));
}

double Int::to_double(long& exponent) const {
    exponent = 0;
    if (size_ == 0) return 0.0;
    const uint64_t* a = data();
    const size_t n = size();
    const size_t length = bit_length();
    uint64_t w;
    bool sticky = false;
    if (length <= 64) {
        w = a[0] << (64 - length);
    } else {
        w = bits_from(a, n, length - 64);
        sticky = any_bit_below(a, n, length - 64);
    }
    double mantissa = round_to_double(size_ < 0, w, sticky, -64);
    exponent = static_cast<long>(length);
    if (mantissa == 1.0 || mantissa == -1.0) {
        mantissa /= 2;
        ++exponent;
    }
    return mantissa;
}

double Int::ratio_scaled(const Int& num, const Int& den, long exp2) {
    PLV_CHECK(!den.is_zero());
    const bool negative = (num.size_ < 0) != (den.size_ < 0);
    if (num.is_zero()) return 0.0;

    // Scale the denominator to a set top bit and the numerator to 63 bits more, truncating it if it
    // is longer. The quotient is then one limb of 63 or 64 bits, one step of algorithm D.
    const size_t n = den.size();
    const uint64_t* d = den.data();
    const uint64_t* a = num.data();
    const auto norm = static_cast<unsigned>(std::countl_zero(d[n - 1]));
    const auto shift = static_cast<int64_t>(64 * n + 63) - static_cast<int64_t>(num.bit_length());

    Scratch scratch(2 * n + 1);
    uint64_t* u = scratch.data();
    uint64_t* v = u + n + 1;
    bool sticky = false;
    if (shift >= 0) {
        const auto whole = static_cast<size_t>(shift / 64);
        const size_t an = num.size();
        std::fill(u, u + whole, uint64_t{0});
        const uint64_t out = shift_left(u + whole, a, an, static_cast<unsigned>(shift % 64));
        if (whole + an <= n) u[whole + an] = out;
    } else {
        const auto from = static_cast<size_t>(-shift);
        for (size_t i = 0; i <= n; ++i) u[i] = bits_from(a, num.size(), from + 64 * i);
        sticky = any_bit_below(a, num.size(), from);
    }
    shift_left(v, d, n, norm);

    const LimbDivisor top(v[n - 1]);
    uint64_t q;
    if (n == 1) {
        uint64_t rest;
        q = top.divide(u[1], u[0], rest);
        sticky = sticky || rest != 0;
    } else {
        q = quotient_limb(u, v, n, top);
        for (size_t i = 0; !sticky && i < n; ++i) sticky = u[i] != 0;
    }
    // Far beyond the range of double already; kept from overflowing below.
    const int64_t scale = std::clamp<int64_t>(exp2, -(int64_t{1} << 60), int64_t{1} << 60);
    return round_to_double(negative, q, sticky, scale + static_cast<int64_t>(norm) - shift);
}

std::string Int::to_string() const {
    if (size_ == 0) return "0";
    constexpr uint64_t chunk = 10'000'000'000'000'000'000u;  // 10^19
    std::vector<uint64_t> rest(data(), data() + size());
    std::string digits;  // least significant first
    while (!rest.empty()) {
        uint64_t part = div_limb(rest.data(), rest.data(), rest.size(), chunk);
        while (!rest.empty() && rest.back() == 0) rest.pop_back();
        for (int i = 0; i < 19 && (part != 0 || !rest.empty()); ++i) {
            digits.push_back(static_cast<char>('0' + part % 10));
            part /= 10;
        }
    }
    if (size_ < 0) digits.push_back('-');
    std::reverse(digits.begin(), digits.end());
    return digits;
}

// --- products ----------------------------------------------------------------------------------

Int operator*(const Int& a, const Int& b) {
    Int r;
    if (a.size_ == 0 || b.size_ == 0) return r;
    const size_t n = a.size() + b.size();
    r.reserve(n);
    mul_limbs(r.data(), a.data(), a.size(), b.data(), b.size());
    r.trim(n, (a.size_ < 0) != (b.size_ < 0));
    return r;
}

Int& Int::operator*=(const Int& b) {
    if (size_ == 0 || b.size_ == 0) {
        size_ = 0;
        return *this;
    }
    const size_t an = size();
    const size_t bn = b.size();
    const bool negative = (size_ < 0) != (b.size_ < 0);
    if (bn == 1) {
        uint64_t* r = data();
        const uint64_t top = mul_limb(r, r, an, b.data()[0]);
        if (top != 0) {
            finish_with_top(an, top, negative);
        } else {
            set_size(an, negative);
        }
        return *this;
    }
    Scratch scratch(an);
    copy_limbs(scratch.data(), data(), an);
    if (this == &b) {
        reserve(2 * an);
        mul_limbs(data(), scratch.data(), an, scratch.data(), an);
    } else {
        reserve(an + bn);
        mul_limbs(data(), scratch.data(), an, b.data(), bn);
    }
    trim(an + bn, negative);
    return *this;
}

void Int::add_product(const Int& a, const Int& b, bool subtract) {
    const size_t an = a.size();
    const size_t bn = b.size();
    if (an == 0 || bn == 0) return;
    const bool negative = ((a.size_ < 0) != (b.size_ < 0)) != subtract;
    if (bn == 1) return accumulate_product(a.data(), an, b.data()[0], negative);
    if (an == 1) return accumulate_product(b.data(), bn, a.data()[0], negative);
    Scratch product(an + bn);
    uint64_t* p = product.data();
    mul_limbs(p, a.data(), an, b.data(), bn);
    accumulate(p, an + bn - (p[an + bn - 1] == 0), negative);
}

// --- shifts ------------------------------------------------------------------------------------

Int& Int::operator<<=(size_t bits) {
    if (size_ == 0 || bits == 0) return *this;
    const size_t whole = bits / 64;
    const size_t n = size();
    reserve(n + whole);
    uint64_t* r = data();
    const uint64_t out = shift_left(r + whole, r, n, static_cast<unsigned>(bits % 64));
    std::fill(r, r + whole, uint64_t{0});
    if (out != 0) {
        finish_with_top(n + whole, out, size_ < 0);
    } else {
        set_size(n + whole, size_ < 0);
    }
    return *this;
}

Int& Int::operator>>=(size_t bits) {
    const size_t whole = bits / 64;
    const size_t n = size();
    if (whole >= n) {
        size_ = 0;
        return *this;
    }
    uint64_t* r = data();
    shift_right(r, r + whole, n - whole, static_cast<unsigned>(bits % 64));
    trim(n - whole, size_ < 0);
    return *this;
}

// --- division ----------------------------------------------------------------------------------

void Int::divmod(const Int& num, const Int& den, Int& quotient, Int& remainder) {
    PLV_CHECK(!den.is_zero());
    PLV_CHECK(&quotient != &remainder);
    const bool r_negative = num.size_ < 0;
    const bool q_negative = r_negative != (den.size_ < 0);
    const size_t n = den.size();
    const size_t un = num.size();
    if (compare_abs(num, den) < 0) {
        remainder = num;
        quotient.size_ = 0;
        return;
    }
    if (n == 1) {
        const uint64_t d = den.data()[0];
        if (&quotient != &num) quotient.size_ = 0;
        quotient.reserve(un);
        const uint64_t r = div_limb(quotient.data(), num.data(), un, d);
        quotient.trim(un, q_negative);
        remainder.data()[0] = r;
        remainder.set_size(r != 0, r_negative);
        return;
    }
    // Everything is read into scratch before anything is written: the arguments may be the same.
    Scratch scratch(un + 1 + n);
    uint64_t* u = scratch.data();
    uint64_t* v = u + un + 1;
    const auto norm = static_cast<unsigned>(std::countl_zero(den.data()[n - 1]));
    shift_left(v, den.data(), n, norm);
    u[un] = shift_left(u, num.data(), un, norm);

    const size_t qn = un - n + 1;
    quotient.size_ = 0;
    quotient.reserve(qn);
    uint64_t* q = quotient.data();
    const LimbDivisor top(v[n - 1]);
    for (size_t j = qn; j-- > 0;) q[j] = quotient_limb(u + j, v, n, top);
    quotient.trim(qn, q_negative);

    remainder.size_ = 0;
    remainder.reserve(n);
    shift_right(remainder.data(), u, n, norm);
    remainder.trim(n, r_negative);
}

Int Int::divexact(const Int& d) const {
    PLV_CHECK(!d.is_zero());
    Int quotient;
    if (size_ == 0) return quotient;
    const bool negative = (size_ < 0) != (d.size_ < 0);

    // Make the divisor odd. The numerator has at least as many zero bits.
    const size_t zeros = d.trailing_zeros();
    const size_t dn = (d.bit_length() - zeros + 63) / 64;
    const size_t length = bit_length();
    PLV_ASSERT(trailing_zeros() >= zeros && length >= d.bit_length());
    if (length < d.bit_length()) return quotient;  // not divisible; do not read beyond the end
    const size_t un = (length - zeros + 63) / 64;
    const size_t qn = un - dn + 1;

    // The quotient modulo 2^(64 qn) is the quotient: only so many limbs matter.
    const size_t vn = std::min(dn, qn);
    Scratch scratch(vn + qn);
    uint64_t* v = scratch.data();
    uint64_t* u = v + vn;
    for (size_t i = 0; i < vn; ++i) v[i] = bits_from(d.data(), d.size(), zeros + 64 * i);
    for (size_t i = 0; i < qn; ++i) u[i] = bits_from(data(), size(), zeros + 64 * i);

    quotient.reserve(qn);
    uint64_t* q = quotient.data();
    const uint64_t inverse = inverse_limb(v[0]);
    for (size_t i = 0; i < qn; ++i) {
        q[i] = u[i] * inverse;
        const size_t m = std::min(vn, qn - i);
        uint64_t borrow = sub_mul_limb(u + i, v, m, q[i]);
        for (size_t k = i + m; borrow != 0 && k < qn; ++k) {
            const uint64_t before = u[k];
            u[k] -= borrow;
            borrow = before < borrow;
        }
    }
    quotient.trim(qn, negative);
    PLV_ASSERT(quotient * d == *this);
    return quotient;
}

Int Int::gcd(Int a, Int b) {
    a.size_ = static_cast<int32_t>(a.size());
    b.size_ = static_cast<int32_t>(b.size());
    if (compare_abs(a, b) < 0) a.swap(b);
    Int unused;
    while (b.size_ > 1) {
        const size_t n = a.size();
        // The leading 62 bits of a and the bits of b in the same places.
        const size_t from = a.bit_length() - 62;
        constexpr uint64_t mask = (uint64_t{1} << 62) - 1;
        auto x = static_cast<int64_t>(bits_from(a.data(), n, from) & mask);
        auto y = static_cast<int64_t>(bits_from(b.data(), b.size(), from) & mask);
        // Euclid on (x, y), as long as the quotients are those of (a, b) whatever the lower bits.
        int64_t A = 1, B = 0, C = 0, D = 1;
        bool odd = false;
        for (;;) {
            if (y == C) break;
            const int64_t q = (x + (A - 1)) / (y - C);
            const int64_t s = B + q * D;
            const int64_t t = x - q * y;
            if (s > t) break;
            x = y;
            y = t;
            const int64_t next = A + q * C;
            A = D;
            B = C;
            C = s;
            D = next;
            odd = !odd;
        }
        if (B == 0) {  // no step is certain: one whole division
            divmod(a, b, unused, a);
            a.swap(b);
            continue;
        }
        // a, b = A a - B b, D b - C a, up to the sign of both.
        if (odd) {
            std::swap(A, B);
            std::swap(C, D);
            A = -A;
            B = -B;
            C = -C;
            D = -D;
        }
        b.widen(n);
        uint64_t* pa = a.data();
        uint64_t* pb = b.data();
        Int128 carry_a = 0;
        Int128 carry_b = 0;
        for (size_t i = 0; i < n; ++i) {
            const Int128 ai = pa[i];
            const Int128 bi = pb[i];
            carry_a += A * ai - B * bi;
            carry_b += D * bi - C * ai;
            pa[i] = static_cast<uint64_t>(carry_a);
            pb[i] = static_cast<uint64_t>(carry_b);
            carry_a >>= 64;
            carry_b >>= 64;
        }
        PLV_ASSERT(carry_a == 0 && carry_b == 0);
        a.trim(n, false);
        b.trim(n, false);
    }
    if (b.size_ == 0) return a;
    const uint64_t small = b.data()[0];
    return Int(gcd_limb(small, div_limb(nullptr, a.data(), a.size(), small)));
}

}  // namespace plv
