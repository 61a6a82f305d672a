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

}  // namespace

Spec Spec::parse(std::string_view bytes) {
    ByteReader in(bytes);
    in.expect("PLVSPEC2");
    Spec out;
    out.inputs = in.u32();
    out.outputs = in.u32();
    const uint32_t cases = in.u32();
    for (uint32_t c = 0; c < cases; ++c) {
        SpecCase next;
        const uint32_t constraints = in.u32();
        for (auto* ends : {&next.lo, &next.hi})
            for (uint32_t i = 0; i < out.inputs; ++i) {
                if (in.u8())
                    ends->emplace_back();
                else
                    ends->emplace_back(read_rational(in));
            }
        if (const uint8_t kind = in.u8(); kind != 0) {
            PLV_EXPECT(kind <= 2, "unknown kind of ball");
            SpecBall ball;
            ball.squares = kind == 2;
            for (uint32_t i = 0; i < out.inputs; ++i) ball.center.push_back(read_rational(in));
            ball.size = read_rational(in);
            next.ball = std::move(ball);
        }
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
