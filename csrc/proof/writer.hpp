// Writer of the proof format's primitives (docs/proof_format.md), before compression.
#pragma once

#include <cstdint>
#include <string>

#include "num/int.hpp"

namespace plv {

// Unsigned LEB128.
void put_var(std::string& out, uint64_t value);
// Number of bytes, then the least two's complement, little-endian; zero has no bytes.
void put_big(std::string& out, const Int& value);

}  // namespace plv
