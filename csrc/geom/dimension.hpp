// The dimensions of domains that the vertex engine is compiled for.
#pragma once

namespace plv {

inline constexpr int kMaxDimension = 8;

}  // namespace plv

// F(1) F(2) ... up to kMaxDimension.
#define PLV_EACH_DIMENSION(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8)
