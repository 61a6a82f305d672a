// The bytes of a proof's body as the checker reads them: pulled piece by piece, never believed.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "num/int.hpp"

namespace plv::check {

// The proof is malformed or does not prove its claim.
class Rejected : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A positive multiplier or another integer of the body: in `small` where 8 bytes hold it.
struct Number {
    int64_t small = 0;
    bool is_big = false;
    Int big;

    int sign() const { return is_big ? big.sign() : (small > 0) - (small < 0); }
    Int value() const { return is_big ? big : Int(small); }
};

class Body {
public:
    static constexpr uint64_t kMaxNumber = 125'000;  // bytes

    // `more` appends the next bytes to a string and returns false at the end.
    using More = std::function<bool(std::string&)>;
    explicit Body(More more) : more_(std::move(more)) {}

    // Unsigned LEB128 of at most 9 bytes.
    uint64_t var() {
        if (buffer_.size() - at_ < 9) ensure_up_to(9);
        uint64_t value = 0;
        for (int shift = 0; shift < 63; shift += 7) {
            if (at_ == buffer_.size()) throw Rejected("the body is truncated");
            const auto byte = static_cast<unsigned char>(buffer_[at_++]);
            value |= static_cast<uint64_t>(byte & 127) << shift;
            if (byte < 128) return value;
        }
        throw Rejected("a variable-length integer is too long");
    }

    // A signed integer behind its length.
    void number(Number& out) {
        const uint64_t n = var();
        if (n > kMaxNumber) throw Rejected("an integer is too long");
        if (buffer_.size() - at_ < n) {
            ensure_up_to(n);
            if (buffer_.size() - at_ < n) throw Rejected("the body is truncated");
        }
        const auto* bytes = reinterpret_cast<const unsigned char*>(buffer_.data()) + at_;
        at_ += n;
        out.is_big = n > 8;
        const uint64_t fill = n > 0 && (bytes[n - 1] & 128) != 0 ? ~uint64_t{0} : 0;
        if (!out.is_big) {
            uint64_t word = fill;
            for (size_t k = n; k-- > 0;) word = word << 8 | bytes[k];
            out.small = n == 0 ? 0 : static_cast<int64_t>(word);
            return;
        }
        words_.assign((n + 7) / 8, fill);
        for (size_t k = 0; k < n; ++k) {
            const size_t shift = 8 * (k % 8);
            uint64_t& word = words_[k / 8];
            word = (word & ~(uint64_t{255} << shift)) | static_cast<uint64_t>(bytes[k]) << shift;
        }
        out.big = Int::from_words(words_.data(), words_.size());
    }

    bool at_end() {
        ensure_up_to(1);
        return at_ == buffer_.size();
    }

private:
    // Fewer bytes only at the end of the body.
    void ensure_up_to(size_t n) {
        if (ended_ || buffer_.size() - at_ >= n) return;
        buffer_.erase(0, at_);
        at_ = 0;
        while (buffer_.size() < n && !ended_) ended_ = !more_(buffer_);
    }

    More more_;
    std::string buffer_;
    size_t at_ = 0;
    bool ended_ = false;
    std::vector<uint64_t> words_;
};

}  // namespace plv::check
