// A property as the engine reads it (docs/developer.md): the violations, as a union of boxes with
// linear constraints between inputs and outputs.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "num/int.hpp"

namespace plv {

struct Rational {
    Int num, den = 1;  // den > 0
};

struct SpecConstraint {
    bool strict = false;
    std::vector<uint32_t> inputs, outputs;
    std::vector<Int> input_terms, output_terms;  // integers
    Rational bound;                              // sum of terms <= bound, or < where strict
};

// sum |x_i - center_i| <= size, or of squares.
struct SpecBall {
    bool squares = false;
    std::vector<Rational> center;
    Rational size;
};

// The inputs that a case is about.
struct SpecInputs {
    std::vector<std::optional<Rational>> lo, hi;  // per input; none: unbounded
    std::optional<SpecBall> ball;
};

struct SpecCase {
    std::shared_ptr<const SpecInputs> inputs;  // cases often share them
    std::vector<SpecConstraint> constraints;
};

struct Spec {
    uint32_t inputs = 0, outputs = 0;
    std::vector<SpecCase> cases;

    // Throws std::invalid_argument on malformed bytes.
    static Spec parse(std::string_view bytes);
};

}  // namespace plv
