#include "check/dual_net.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "check/body.hpp"

namespace plv::check {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Affine nodes are dense where at least one weight of so many is not zero.
constexpr size_t kSparse = 4;

// |x| may be a factor of products without much harm, or is 0.
bool is_plain(double x) { return std::abs(x) < 1e100 && (x == 0 || std::abs(x) > 1e-100); }

// Whether an entry is an integer that doubles hold.
bool is_whole(const Integers& entries, size_t k) {
    constexpr int64_t most = int64_t{1} << 53;
    return entries.big.empty() && entries.small[k] >= -most && entries.small[k] <= most;
}

void prepare_affine(const Node& node, DualNode& out) {
    const size_t width = size_t{node.width} + 1;
    size_t used = 0;
    for (uint32_t r = 0; r < node.rows; ++r)
        for (uint32_t j = 0; j < node.width; ++j) used += out.weight[r * width + j] != 0;
    const size_t all = size_t{node.rows} * node.width;
    out.dense = used * kSparse >= all;
    if (out.dense) {
        out.turned.resize(all);
        for (uint32_t r = 0; r < node.rows; ++r)
            for (uint32_t j = 0; j < node.width; ++j)
                out.turned[size_t{j} * node.rows + r] = out.weight[r * width + j];
        return;
    }
    out.start.push_back(0);
    for (uint32_t r = 0; r < node.rows; ++r) {
        for (uint32_t j = 0; j < node.width; ++j)
            if (const double w = out.weight[r * width + j]; w != 0) {
                out.column.push_back(j);
                out.value.push_back(w);
            }
        out.start.push_back(static_cast<uint32_t>(out.column.size()));
    }
}

void prepare_linear(const Node& node, DualNode& out) {
    const size_t width = size_t{node.width} + 1;
    out.weight.resize(node.rows * width);
    out.strange.assign(node.rows, 0);
    out.exact.assign(node.rows, 1);
    for (uint32_t r = 0; r < node.rows; ++r) {
        const Scale& den = node.row_den[r];
        if (!den.odd.is_one() || den.shift > 1000) out.exact[r] = 0;
        // A power of two, so that multiplying by it rounds nothing: the least product is normal.
        const double unit = out.exact[r] != 0 ? std::ldexp(1.0, -static_cast<int>(den.shift)) : 0;
        bool long_rows = false;
        for (size_t k = r * width; k < (r + 1) * width; ++k) {
            if (node.entries.is_zero(k)) continue;
            if (out.exact[r] != 0 && is_whole(node.entries, k)) {
                out.weight[k] = static_cast<double>(node.entries.small[k]) * unit;
                if (!is_plain(out.weight[k])) out.strange[r] = 1;
                continue;
            }
            const double w =
                Int::ratio_scaled(node.entries.at(k), den.odd, -static_cast<long>(den.shift));
            out.weight[k] = w;
            if (!is_plain(w) || w == 0) out.strange[r] = 1;
            if (node.entries.at(k).bit_length() > 53) long_rows = true;
        }
        if (long_rows) out.exact[r] = 0;
    }
    for (uint32_t i = 0; i < node.size; ++i) out.bias.push_back(out.weight[node.bias_of(i)]);
    switch (node.kind) {
        case Kind::affine:
            out.fan = node.rows;
            prepare_affine(node, out);
            break;
        case Kind::conv: {
            // A position is read by as many outputs as it occurs in `index`, times the kernels.
            std::vector<uint32_t> uses(node.positions);
            for (const int32_t at : node.index)
                if (at >= 0) ++uses[static_cast<uint32_t>(at)];
            out.fan = static_cast<double>(*std::max_element(uses.begin(), uses.end())) *
                      (node.rows / node.groups);
            break;
        }
        default: {
            std::vector<uint32_t> uses(node.joined);
            for (const int32_t at : node.index)
                if (at >= 0) ++uses[static_cast<uint32_t>(at)];
            out.fan = uses.empty() ? 0 : *std::max_element(uses.begin(), uses.end());
        }
    }
}

void prepare_units(const Node& node, DualNode& out) {
    if (node.kind == Kind::units) {
        for (uint32_t i = 0; i < node.size; ++i) {
            const Int num = node.slope_num.at(i);
            const double s =
                Int::ratio_scaled(num, Int(1), -static_cast<long>(node.slope_shift[i]));
            out.slope.push_back(s);
            out.kind.push_back(num.is_zero()                         ? DualNode::kFlat
                               : num < Int(1) << node.slope_shift[i] ? DualNode::kConvex
                                                                     : DualNode::kConcave);
            out.strange.push_back(!is_plain(s) || (s == 0 && !num.is_zero()) ? 1 : 0);
            out.slot_entry.push_back(out.entry(i));
        }
        return;
    }
    for (uint32_t w = 0; w < node.size; ++w) {
        out.slot_start.push_back(static_cast<uint32_t>(out.slot_entry.size()));
        for (uint32_t k = 0; k < node.taps; ++k) {
            const int64_t at = node.slot(w, k);
            if (at >= 0) out.slot_entry.push_back(out.entry(static_cast<uint32_t>(at)));
        }
    }
    out.slot_start.push_back(static_cast<uint32_t>(out.slot_entry.size()));
}

// What the bytes say about linear nodes as executed.
void read_rounding(std::string_view bytes, const Net& net, std::vector<DualNode>& nodes) {
    const auto next = [&] {
        double value = 0;
        if (bytes.size() < sizeof value) throw std::invalid_argument("malformed rounding");
        std::memcpy(&value, bytes.data(), sizeof value);
        bytes.remove_prefix(sizeof value);
        if (!(value >= 0)) throw std::invalid_argument("malformed rounding");
        return value;
    };
    for (size_t k = 0; k < nodes.size(); ++k) {
        if (!net.nodes[k].is_linear()) continue;
        nodes[k].relative = next();
        nodes[k].limit = next();
        for (uint32_t i = 0; i < net.nodes[k].size; ++i) nodes[k].absolute.push_back(next());
    }
    if (!bytes.empty()) throw std::invalid_argument("malformed rounding");
}

}  // namespace

DualNet::DualNet(const Net& network, std::string_view rounding)
    : net(network), rounds(!rounding.empty()) {
    uint64_t at = 0;
    for (size_t t = 0; t <= net.nodes.size(); ++t) {
        base.push_back(static_cast<uint32_t>(at));
        at += net.tensor_size(t);
        if (at >= uint64_t{1} << 31) throw std::invalid_argument("malformed bytes: too large");
    }
    base.push_back(static_cast<uint32_t>(at));
    nodes.resize(net.nodes.size());
    double consumers = 0, windows = 0, largest = net.input_size;
    std::vector<double> reads(net.nodes.size() + 1);  // of an entry of a tensor, at most
    for (uint32_t k = 0; k < nodes.size(); ++k) {
        const Node& node = net.nodes[k];
        DualNode& out = nodes[k];
        out.base = base[k + 1];
        out.source = base[node.sources[0]];
        if (node.sources.size() > 1) {
            for (const uint32_t source : node.sources)
                for (uint32_t e = base[source]; e < base[source + 1]; ++e) out.gather.push_back(e);
        }
        out.reads_input_only = node.sources.size() == 1 && node.sources[0] == 0;
        consumers += static_cast<double>(node.sources.size());
        largest = std::max(largest, static_cast<double>(std::max(node.size, node.joined)));
        if (node.is_linear()) {
            prepare_linear(node, out);
        } else {
            has_windows = has_windows || node.kind == Kind::max;
            windows += node.kind == Kind::max ? node.size : 0;
            prepare_units(node, out);
            std::vector<uint32_t> uses(base[k + 1]);
            for (const uint32_t e : out.slot_entry) ++uses[e];
            out.fan = *std::max_element(uses.begin(), uses.end());
            out.first_unit = units;
            out.first_input = inputs;
            units += node.size;
            inputs += static_cast<uint32_t>(out.slot_entry.size());
            for (uint32_t i = 0; i < node.size; ++i) {
                node_of.push_back(k);
                int32_t own = -1;
                if (node.kind == Kind::units)
                    own = node.has_one_piece(i) ? 1 : -1;
                else if (out.slot_start[i + 1] - out.slot_start[i] == 1)
                    own = 0;
                own_piece.push_back(own);
            }
            entry_of.insert(entry_of.end(), out.slot_entry.begin(), out.slot_entry.end());
        }
        for (const uint32_t source : node.sources) reads[source] += out.fan;
    }
    if (rounds) read_rounding(rounding, net, nodes);
    const double fan = *std::max_element(reads.begin(), reads.end());
    terms = 2 * (fan + consumers + static_cast<double>(nodes.size()) + 64) + largest + windows;
}

uint32_t DualNet::tensor_of(uint32_t entry) const {
    const auto after = std::upper_bound(base.begin(), base.end(), entry);
    return static_cast<uint32_t>(after - base.begin()) - 1;
}

uint32_t DualNet::pieces(uint32_t unit) const {
    const uint32_t k = node_of[unit];
    if (net.nodes[k].kind == Kind::units) return own_piece[unit] < 0 ? 2 : 1;
    const uint32_t w = unit - nodes[k].first_unit;
    return nodes[k].slot_start[w + 1] - nodes[k].slot_start[w];
}

uint32_t DualNet::input_of(uint32_t unit) const {
    const DualNode& node = nodes[node_of[unit]];
    const uint32_t i = unit - node.first_unit;
    return node.first_input + (node.slot_start.empty() ? i : node.slot_start[i]);
}

double round_down(const Int& num, const Scale& den) {
    const double near = Int::ratio_scaled(num, den.odd, -static_cast<long>(den.shift));
    if (near == kInf) return std::numeric_limits<double>::max();
    if (near == -kInf) return near;
    // near <= num / den?
    int e = 0;
    Int left = Int::from_double_scaled(near, e) * den.odd, right = num;
    const int64_t shift = e + static_cast<int64_t>(den.shift);
    if (shift >= 0)
        left <<= static_cast<size_t>(shift);
    else
        right <<= static_cast<size_t>(-shift);
    return left <= right ? near : std::nextafter(near, -kInf);
}

double round_up(const Int& num, const Scale& den) { return -round_down(-num, den); }

void DualEnd::round(bool up) {
    if (!finite) {
        rounded = up ? kInf : -kInf;
        return;
    }
    const Scale scale = scale_of(den);
    rounded = up ? round_up(num, scale) : round_down(num, scale);
}

// ------------------------------------------------------------------------------------- question

namespace {

Int integer(Body& in) {
    Number number;
    in.number(number);
    return number.value();
}

Int positive(Body& in) {
    Int value = integer(in);
    if (value.sign() <= 0) throw std::invalid_argument("malformed question: a number");
    return value;
}

uint32_t index(Body& in, uint64_t size) {
    const uint64_t value = in.var();
    if (value >= size) throw std::invalid_argument("malformed question: an index");
    return static_cast<uint32_t>(value);
}

DualEnd read_end(Body& in, bool up) {
    DualEnd end;
    end.finite = index(in, 2) != 0;
    if (end.finite) {
        end.num = integer(in);
        end.den = positive(in);
    }
    end.round(up);
    return end;
}

DualBall read_ball(Body& in, uint32_t inputs) {
    DualBall ball;
    ball.squares = index(in, 2) != 0;
    ball.strict = index(in, 2) != 0;
    for (uint32_t i = 0; i < inputs; ++i) {
        ball.num.push_back(integer(in));
        ball.den.push_back(positive(in));
        const Scale den = scale_of(ball.den.back());
        ball.centre.push_back(round_down(ball.num.back(), den));
        ball.off.push_back(round_up(ball.num.back(), den) - ball.centre.back());
    }
    ball.size_num = positive(in);
    ball.size_den = positive(in);
    ball.size = Int::ratio(ball.size_num, ball.size_den);
    return ball;
}

DualRow read_row(Body& in, const DualNet& net) {
    DualRow row;
    row.strict = index(in, 2) != 0;
    row.bound_num = integer(in);
    row.bound_den = positive(in);
    row.bound = Int::ratio(row.bound_num, row.bound_den);
    const auto add = [&](uint32_t entry) {
        const Int coefficient = integer(in);
        row.terms.push_back({entry, coefficient, coefficient.to_double()});
    };
    for (uint64_t n = in.var(); n > 0; --n) add(index(in, net.net.input_size));
    const uint32_t last = static_cast<uint32_t>(net.nodes.size());
    for (uint64_t n = in.var(); n > 0; --n)
        add(net.base[last] + index(in, net.net.tensor_size(last)));
    if (index(in, 2) != 0) add(net.entry_of[index(in, net.inputs)]);
    return row;
}

GainClaim read_gain(Body& in, const DualNet& net) {
    GainClaim out;
    out.norm = static_cast<uint8_t>(index(in, 3));
    const uint32_t outputs = net.net.tensor_size(net.net.nodes.size());
    out.over = positive(in);
    for (uint64_t rows = in.var(); rows > 0; --rows)
        for (uint32_t j = 0; j < outputs; ++j) out.outputs.push_back(integer(in));
    out.num = integer(in);
    out.den = positive(in);
    return out;
}

}  // namespace

DualQuestion DualQuestion::parse(std::string_view bytes, const DualNet& net) {
    bool read = false;
    Body in([&](std::string& buffer) {
        if (!read) buffer.append(bytes);
        return !std::exchange(read, true);
    });
    DualQuestion out;
    for (uint64_t n = in.var(); n > 0; --n) {
        DualBox& box = out.boxes.emplace_back();
        for (uint32_t i = 0; i < net.net.input_size; ++i) {
            box.lo.push_back(read_end(in, false));
            box.hi.push_back(read_end(in, true));
        }
    }
    for (uint64_t n = in.var(); n > 0; --n) out.balls.push_back(read_ball(in, net.net.input_size));
    for (uint64_t n = in.var(); n > 0; --n) {
        DualSystem& system = out.systems.emplace_back();
        system.box = index(in, out.boxes.size());
        if (const uint32_t ball = index(in, out.balls.size() + 1); ball > 0) system.ball = ball - 1;
        for (uint64_t m = in.var(); m > 0; --m) system.rows.push_back(read_row(in, net));
        if (index(in, 2) != 0) system.gain = read_gain(in, net);
    }
    if (!in.at_end()) throw std::invalid_argument("malformed question: the end");
    return out;
}

Line default_line(const double* lo, const double* hi, uint32_t n) {
    Line line{0, 0, 0};
    for (uint32_t s = 1; s < n; ++s) {
        const double size =
            std::abs(lo[s]) + std::abs(hi[s]) + std::abs(lo[line.low]) + std::abs(hi[line.low]);
        if (lo[s] + hi[s] - (lo[line.low] + hi[line.low]) > kNear * size) line.low = s;
        if (hi[s] > hi[line.high]) line.high = s;
    }
    line.from = lo[line.high];
    for (uint32_t s = 0; s < n; ++s)
        if (s != line.high) line.from = std::max(line.from, hi[s]);
    return line;
}

}  // namespace plv::check
