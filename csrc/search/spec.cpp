#include "search/spec.hpp"

#include "base/contract.hpp"
#include "net/net.hpp"

namespace plv {

namespace {

Rational read_rational(ByteReader& in) {
    std::vector<Int> parts = in.ints(2);
    PLV_EXPECT(parts[1].sign() > 0, "a denominator is not positive");
    return {std::move(parts[0]), std::move(parts[1])};
}

SpecInputs read_inputs(ByteReader& in, uint32_t count) {
    SpecInputs out;
    for (auto* ends : {&out.lo, &out.hi})
        for (uint32_t i = 0; i < count; ++i) {
            if (in.u8())
                ends->emplace_back();
            else
                ends->emplace_back(read_rational(in));
        }
    if (const uint8_t kind = in.u8(); kind != 0) {
        PLV_EXPECT(kind <= 2, "unknown kind of ball");
        SpecBall& ball = out.ball.emplace();
        ball.squares = kind == 2;
        for (uint32_t i = 0; i < count; ++i) ball.center.push_back(read_rational(in));
        ball.size = read_rational(in);
    }
    return out;
}

}  // namespace

Spec Spec::parse(std::string_view bytes) {
    ByteReader in(bytes);
    in.expect("PLVSPEC3");
    Spec out;
    out.inputs = in.u32();
    out.outputs = in.u32();
    std::vector<std::shared_ptr<const SpecInputs>> inputs;
    for (uint32_t left = in.u32(); left > 0; --left)
        inputs.push_back(std::make_shared<const SpecInputs>(read_inputs(in, out.inputs)));
    const uint32_t cases = in.u32();
    for (uint32_t c = 0; c < cases; ++c) {
        SpecCase next;
        const uint32_t number = in.u32();
        PLV_EXPECT(number < inputs.size(), "no such box");
        next.inputs = inputs[number];
        const uint32_t constraints = in.u32();
        for (uint32_t k = 0; k < constraints; ++k) {
            SpecConstraint row;
            row.strict = in.u8() != 0;
            row.inputs = in.u32s(in.u32());
            row.outputs = in.u32s(in.u32());
            for (uint32_t i : row.inputs) PLV_EXPECT(i < out.inputs, "no such input");
            for (uint32_t i : row.outputs) PLV_EXPECT(i < out.outputs, "no such output");
            row.input_terms = in.ints(row.inputs.size());
            row.output_terms = in.ints(row.outputs.size());
            row.bound = read_rational(in);
            next.constraints.push_back(std::move(row));
        }
        out.cases.push_back(std::move(next));
    }
    PLV_EXPECT(in.at_end(), "bytes after the end of a property");
    return out;
}

}  // namespace plv
