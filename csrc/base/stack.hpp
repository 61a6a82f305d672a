// A stack of plain values in one aligned block: growing leaves the new entries uninitialised,
// shrinking is free. Pointers into it are good until the next growth.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "base/aligned.hpp"

namespace plv {

template <class T>
class Stack {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    size_t size() const { return size_; }
    T* data() { return block_.data(); }
    const T* data() const { return block_.data(); }
    T& operator[](size_t k) { return block_[k]; }
    const T& operator[](size_t k) const { return block_[k]; }
    T& back() { return block_[size_ - 1]; }
    T* begin() { return block_.data(); }
    T* end() { return block_.data() + size_; }

    // Makes room for n more entries and returns where they begin.
    T* grow(size_t n) {
        if (size_ + n > block_.size()) block_.resize((size_ + n) * 2);
        size_ += n;
        return block_.data() + size_ - n;
    }
    void push(const T& value) {
        const T copy = value;  // it may lie in the block that moves
        *grow(1) = copy;
    }
    void shrink(size_t size) { size_ = size; }

private:
    AlignedVector<T> block_;  // its size is the capacity
    size_t size_ = 0;
};

}  // namespace plv
