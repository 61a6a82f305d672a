#include "proof/writer.hpp"

namespace plv {

void put_var(std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    out.push_back(static_cast<char>(value));
}

void put_big(std::string& out, const Int& value) {
    if (value.is_zero()) {
        put_var(out, 0);
        return;
    }
    std::string bytes;
    for (uint64_t word : value.to_words())
        for (int k = 0; k < 8; ++k) bytes.push_back(static_cast<char>(word >> (8 * k) & 0xff));
    const char fill = value.is_negative() ? '\xff' : '\0';
    while (bytes.size() > 1 && bytes.back() == fill &&
           (bytes[bytes.size() - 2] & 0x80) == (fill & 0x80))
        bytes.pop_back();
    put_var(out, bytes.size());
    out += bytes;
}

}  // namespace plv
