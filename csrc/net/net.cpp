#include "net/net.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace plv {

namespace {

[[noreturn]] void malformed(const std::string& why) {
    throw std::invalid_argument("malformed network bytes: " + why);
}

constexpr uint32_t kMaxSize = 1u << 24;  // rows, columns, units
constexpr uint32_t kMaxShift = 1u << 16;

struct RawAffine {
    int rows = 0, cols = 0;
    std::vector<uint32_t> shifts;
    std::vector<Int> dens, coefs;
};

RawAffine read_affine(ByteReader& in) {
    RawAffine raw;
    const uint32_t rows = in.u32(), cols = in.u32();
    if (rows == 0 || rows > kMaxSize || cols > kMaxSize) malformed("affine size");
    raw.rows = static_cast<int>(rows);
    raw.cols = static_cast<int>(cols);
    raw.shifts = in.u32s(rows);
    for (uint32_t s : raw.shifts)
        if (s > kMaxShift) malformed("shift out of range");
    raw.dens = in.ints(rows);
    for (const Int& d : raw.dens)
        if (d.sign() <= 0) malformed("denominator not positive");
    raw.coefs = in.ints(static_cast<size_t>(rows) * (static_cast<size_t>(cols) + 1));
    return raw;
}

ExactAffine make_exact(const RawAffine& raw) {
    ExactAffine out;
    out.rows = raw.rows;
    out.cols = raw.cols;
    const uint32_t shift =
        raw.shifts.empty() ? 0 : *std::max_element(raw.shifts.begin(), raw.shifts.end());
    Int den = 1;
    for (const Int& d : raw.dens) den = den.divexact(Int::gcd(den, d)) * d;
    out.scale = den;
    out.scale <<= shift;
    const size_t stride = static_cast<size_t>(raw.cols) + 1;
    std::vector<Int> w(static_cast<size_t>(raw.rows) * raw.cols);
    out.bias.resize(raw.rows);
    for (int r = 0; r < raw.rows; ++r) {
        Int factor = den.divexact(raw.dens[r]);
        factor <<= shift - raw.shifts[r];
        const bool plain = factor == Int(1);
        for (int c = 0; c < raw.cols; ++c) {
            const Int& q = raw.coefs[r * stride + c];
            w[static_cast<size_t>(r) * raw.cols + c] = plain ? q : q * factor;
        }
        out.bias[r] = raw.coefs[r * stride + raw.cols] * factor;
    }
    out.small = std::all_of(w.begin(), w.end(), [](const Int& v) { return v.bit_length() <= 62; });
    if (out.small) {
        out.w64.resize(w.size());
        for (size_t k = 0; k < w.size(); ++k) out.w64[k] = static_cast<int64_t>(w[k].to_words()[0]);
    } else {
        out.wbig = std::move(w);
    }
    return out;
}

FloatAffine make_float(const RawAffine& raw) {
    FloatAffine out;
    out.rows = raw.rows;
    out.cols = raw.cols;
    out.stride = padded(raw.rows);
    out.w.assign(static_cast<size_t>(out.stride) * raw.cols, 0.0);
    out.bias.assign(out.stride, 0.0);
    out.row_norm.assign(out.stride, 0.0);
    const size_t stride = static_cast<size_t>(raw.cols) + 1;
    for (int r = 0; r < raw.rows; ++r) {
        const long exponent = -static_cast<long>(raw.shifts[r]);
        const bool dyadic = raw.dens[r] == Int(1);
        auto value = [&](const Int& q) {
            if (q.is_zero()) return 0.0;
            if (dyadic && q.bit_length() <= 53 && exponent > -960)  // exact, the common case
                return std::ldexp(q.to_double(), static_cast<int>(exponent));
            return Int::ratio_scaled(q, raw.dens[r], exponent);
        };
        double sum = 0.0;
        for (int c = 0; c < raw.cols; ++c) {
            const double v = value(raw.coefs[r * stride + c]);
            out.w[static_cast<size_t>(c) * out.stride + r] = v;
            sum += v * v;
        }
        out.bias[r] = value(raw.coefs[r * stride + raw.cols]);
        // sqrt(sum) has relative error at most (cols / 2 + 2) u, and squares below 1e-300 may have
        // been lost.
        out.row_norm[r] = std::sqrt(sum + raw.cols * 1e-300) * (1.0 + (raw.cols + 8) * 0x1p-52);
    }
    return out;
}

}  // namespace

void ByteReader::expect(std::string_view magic) {
    if (bytes_.size() - at_ < magic.size() || bytes_.substr(at_, magic.size()) != magic)
        throw std::invalid_argument("malformed bytes: wrong magic");
    at_ += magic.size();
}

const unsigned char* ByteReader::take(size_t n) {
    if (bytes_.size() - at_ < n) throw std::invalid_argument("malformed bytes: truncated");
    const auto* p = reinterpret_cast<const unsigned char*>(bytes_.data()) + at_;
    at_ += n;
    return p;
}

uint8_t ByteReader::u8() { return *take(1); }

uint32_t ByteReader::u32() {
    const unsigned char* p = take(4);
    return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 |
           static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}

std::vector<uint32_t> ByteReader::u32s(size_t n) {
    if ((bytes_.size() - at_) / 4 < n) throw std::invalid_argument("malformed bytes: truncated");
    std::vector<uint32_t> out(n);
    for (uint32_t& v : out) v = u32();
    return out;
}

std::vector<Int> ByteReader::ints(size_t n) {
    const size_t words = u8();
    if (words == 0) throw std::invalid_argument("malformed bytes: integers of no words");
    if ((bytes_.size() - at_) / (8 * words) < n)
        throw std::invalid_argument("malformed bytes: truncated");
    const unsigned char* p = take(8 * words * n);
    std::vector<Int> out(n);
    std::vector<uint64_t> buffer(words);
    for (Int& v : out) {
        for (size_t k = 0; k < words; ++k, p += 8) {
            uint64_t word = 0;
            for (int b = 7; b >= 0; --b) word = word << 8 | p[b];
            buffer[k] = word;
        }
        v = words == 1 ? Int(static_cast<int64_t>(buffer[0]))
                       : Int::from_words(buffer.data(), words);
    }
    return out;
}

std::shared_ptr<const Net> Net::parse(std::string_view bytes) {
    using namespace std::string_view_literals;
    ByteReader in(bytes);
    in.expect("PLNET\0001\n"sv);
    auto net = std::make_shared<Net>();
    const uint32_t input = in.u32(), nodes = in.u32();
    if (input == 0 || input > kMaxSize) malformed("input size");
    if (nodes % 2 == 0 || nodes > 20001)
        malformed("the nodes must alternate, beginning and ending with an affine map");
    net->input_size = static_cast<int>(input);
    uint32_t width = input;
    for (uint32_t k = 0; k < nodes; ++k) {
        const bool affine = k % 2 == 0;
        if (in.u8() != (affine ? 1 : 2)) malformed("unexpected kind of node");
        if (in.u32() != k) malformed("only chains are supported");
        if (affine) {
            const RawAffine raw = read_affine(in);
            if (static_cast<uint32_t>(raw.cols) != width)
                malformed("widths of consecutive nodes differ");
            width = static_cast<uint32_t>(raw.rows);
            if (k + 1 == nodes) {
                net->output_exact = make_exact(raw);
                net->output = make_float(raw);
            } else {
                Layer layer;
                layer.exact = make_exact(raw);
                layer.dense = make_float(raw);
                layer.units = raw.rows;
                net->layers.push_back(std::move(layer));
            }
        } else {
            Layer& layer = net->layers.back();
            if (in.u32() != width) malformed("number of units");
            const std::vector<uint32_t> shifts = in.u32s(width);
            layer.slope_num = in.ints(width);
            layer.slope_shift = *std::max_element(shifts.begin(), shifts.end());
            if (layer.slope_shift > kMaxShift) malformed("shift out of range");
            layer.slope.assign(layer.dense.stride, 0.0);
            layer.gap.assign(layer.dense.stride, 0.0);
            layer.one_piece.assign(width, 0);
            for (uint32_t i = 0; i < width; ++i) {
                Int one = 1;
                one <<= shifts[i];
                layer.one_piece[i] = layer.slope_num[i] == one;
                if (!layer.slope_num[i].is_zero()) layer.all_relu = false;
                layer.slope[i] =
                    Int::ratio_scaled(layer.slope_num[i], Int(1), -static_cast<long>(shifts[i]));
                layer.gap[i] = Int::ratio_scaled(one - layer.slope_num[i], Int(1),
                                                 -static_cast<long>(shifts[i]));
                layer.max_slope =
                    std::max({layer.max_slope, std::fabs(layer.slope[i]) * (1 + 0x1p-50),
                              std::fabs(layer.gap[i]) * (1 + 0x1p-50)});
                layer.slope_num[i] <<= layer.slope_shift - shifts[i];
            }
            net->unit_offset.push_back(net->unit_count);
            net->unit_count += static_cast<int>(width);
        }
    }
    if (!in.at_end()) malformed("trailing bytes");
    return net;
}

}  // namespace plv
