// What error bounds in double precision are made of.
#pragma once

namespace plv {

inline constexpr double kRound = 0x1p-53;   // relative error of one operation: round to nearest
inline constexpr double kUp = 1 + 0x1p-40;  // absorbs the rounding of the bounds themselves

}  // namespace plv
