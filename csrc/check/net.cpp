#include "check/net.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace plv::check {

namespace {

constexpr uint32_t kMaxSize = 1u << 24;
constexpr uint32_t kMaxShift = 1u << 16;

void require(bool condition, const char* why) {
    if (!condition) throw std::invalid_argument(std::string("malformed bytes: ") + why);
}

// Little-endian fields; lengths are compared with what is there before anything is allocated.
class Bytes {
public:
    explicit Bytes(std::string_view bytes) : bytes_(bytes) {}

    void expect(std::string_view magic) {
        require(bytes_.substr(0, magic.size()) == magic, "magic");
        at_ = magic.size();
    }
    uint8_t u8() { return *take(1); }
    uint32_t u32() { return word(take(4)); }
    template <class T>
    std::vector<T> words(uint64_t n) {
        const unsigned char* from = take(n, 4);
        std::vector<T> out(n);
        for (T& v : out) {
            v = static_cast<T>(word(from));
            from += 4;
        }
        return out;
    }
    Integers integers(uint64_t n) {
        const size_t size = u8();
        require(size > 0, "integers of no words");
        const unsigned char* from = take(n, 8 * size);
        Integers out;
        if (size == 1) {
            out.small.resize(n);
            for (int64_t& v : out.small) {
                v = static_cast<int64_t>(long_word(from));
                from += 8;
            }
            return out;
        }
        std::vector<uint64_t> limbs(size);
        out.big.reserve(n);
        for (uint64_t k = 0; k < n; ++k) {
            for (uint64_t& limb : limbs) {
                limb = long_word(from);
                from += 8;
            }
            out.big.push_back(Int::from_words(limbs.data(), size));
        }
        const size_t fewer = 64 * (size - 1) - 1;  // bits, beside the sign
        const auto is_short = [&](const Int& v) {
            return (v.sign() < 0 ? v + Int(1) : v).bit_length() <= fewer;
        };
        require(!std::all_of(out.big.begin(), out.big.end(), is_short), "fewer words would do");
        return out;
    }
    bool at_end() const { return at_ == bytes_.size(); }

private:
    const unsigned char* take(uint64_t n, uint64_t each = 1) {
        require(n <= (bytes_.size() - at_) / each, "truncated");
        const auto* from = reinterpret_cast<const unsigned char*>(bytes_.data()) + at_;
        at_ += n * each;
        return from;
    }
    static uint32_t word(const unsigned char* p) {
        return p[0] | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
    }
    static uint64_t long_word(const unsigned char* p) {
        return word(p) | static_cast<uint64_t>(word(p + 4)) << 32;
    }

    std::string_view bytes_;
    size_t at_ = 0;
};

void check_index(const std::vector<int32_t>& index, uint32_t size) {
    for (const int32_t at : index)
        require(at >= -1 && (at < 0 || static_cast<uint32_t>(at) < size), "index out of range");
}

// Whether a row and its denominator have a common divisor.
bool is_reducible(const Node& node, uint32_t row, const Scale& den) {
    const Integers& entries = node.entries;
    const size_t first = row * (size_t{node.width} + 1), last = first + node.width + 1;
    if (den.shift > 0) {
        bool odd = false;
        for (size_t k = first; k < last && !odd; ++k)
            odd = entries.big.empty() ? (entries.small[k] & 1) != 0 : entries.big[k].is_odd();
        if (!odd) return true;
    }
    Int common = den.odd;
    for (size_t k = first; k < last && !common.is_one(); ++k)
        common = Int::gcd(common, entries.at(k));
    return !common.is_one();
}

void read_rows(Bytes& in, Node& node) {
    require(node.rows > 0, "no rows");
    const auto shifts = in.words<uint32_t>(node.rows);
    const Integers dens = in.integers(node.rows);
    node.entries = in.integers(static_cast<uint64_t>(node.rows) * (uint64_t{node.width} + 1));
    for (uint32_t r = 0; r < node.rows; ++r) {
        const Int den = dens.at(r);
        require(shifts[r] <= kMaxShift && den.sign() > 0 && den.is_odd(), "denominator");
        node.row_den.push_back({shifts[r], den});
        require(!is_reducible(node, r, node.row_den.back()), "a row that can be reduced");
        node.den = lcm(node.den, node.row_den.back());
    }
    for (const Scale& den : node.row_den) node.part.push_back(quotient(node.den, den));
}

void read_sources(Bytes& in, const Net& net, Node& node, bool many) {
    const uint32_t n = many ? in.u32() : 1;
    require(n > 0, "no sources");
    node.sources = in.words<uint32_t>(n);
    uint64_t joined = 0;
    for (const uint32_t source : node.sources) {
        require(source <= net.nodes.size(), "a source that is not there yet");
        joined += net.tensor_size(source);
        require(joined <= uint64_t{1} << 31, "size of joined sources");
    }
    node.joined = static_cast<uint32_t>(joined);
}

Node read_node(Bytes& in, const Net& net) {
    Node node;
    const uint8_t kind = in.u8();
    require(kind >= 1 && kind <= 5, "kind of node");
    node.kind = static_cast<Kind>(kind);
    read_sources(in, net, node, kind >= 4);
    switch (node.kind) {
        case Kind::affine:
            node.rows = node.size = in.u32();
            node.width = in.u32();
            require(node.width == node.joined, "columns");
            read_rows(in, node);
            break;
        case Kind::units:
            node.size = in.u32();
            require(node.size == node.joined, "number of units");
            node.slope_shift = in.words<uint32_t>(node.size);
            node.slope_num = in.integers(node.size);
            for (uint32_t i = 0; i < node.size; ++i) {
                const uint32_t shift = node.slope_shift[i];
                require(shift <= kMaxShift, "shift of a slope");
                require(shift == 0 || node.slope_num.at(i).is_odd(), "a slope can be reduced");
                node.slope_top = std::max(node.slope_top, shift);
            }
            break;
        case Kind::conv: {
            node.channels = in.u32();
            node.positions = in.u32();
            node.groups = in.u32();
            node.taps = in.u32();
            node.places = in.u32();
            node.rows = in.u32();
            require(uint64_t{node.channels} * node.positions == node.joined, "channels");
            require(node.channels > 0 && node.groups > 0 && node.channels % node.groups == 0 &&
                        node.rows % node.groups == 0,
                    "groups");
            require(node.taps > 0 && node.places > 0, "taps");
            node.index = in.words<int32_t>(uint64_t{node.taps} * node.places);
            check_index(node.index, node.positions);
            const uint64_t width = uint64_t{node.channels / node.groups} * node.taps;
            const uint64_t size = uint64_t{node.rows} * node.places;
            require(width <= uint64_t{1} << 31 && size <= kMaxSize, "size of a convolution");
            node.width = static_cast<uint32_t>(width);
            node.size = static_cast<uint32_t>(size);
            read_rows(in, node);
            break;
        }
        case Kind::sparse:
            node.rows = node.size = in.u32();
            node.width = in.u32();
            node.index = in.words<int32_t>(uint64_t{node.rows} * node.width);
            require(node.width > 0, "a sparse node without inputs");
            check_index(node.index, node.joined);
            read_rows(in, node);
            for (uint32_t i = 0; i < node.rows; ++i)
                for (uint32_t j = 0; j < node.width; ++j)
                    require(node.index[size_t{i} * node.width + j] >= 0 ||
                                node.entries.is_zero(i * (size_t{node.width} + 1) + j),
                            "a coefficient without an input");
            break;
        case Kind::max: {
            node.channels = in.u32();
            node.positions = in.u32();
            node.taps = in.u32();
            node.places = in.u32();
            require(node.channels > 0 && uint64_t{node.channels} * node.positions == node.joined,
                    "channels");
            require(node.taps >= 2 && node.taps < 1u << 16 && node.places > 0, "windows");
            node.index = in.words<int32_t>(uint64_t{node.taps} * node.places);
            check_index(node.index, node.positions);
            const uint64_t size = uint64_t{node.channels} * node.places;
            require(size <= kMaxSize, "number of windows");
            node.size = static_cast<uint32_t>(size);
            std::vector<uint32_t> seen(node.positions, 0);  // the last window, from 1
            for (uint32_t p = 0; p < node.places; ++p) {
                bool any = false;
                for (uint32_t k = 0; k < node.taps; ++k) {
                    const int64_t at = node.slot(p, k);
                    if (at < 0) continue;
                    any = true;
                    require(seen[at] != p + 1, "a window lists an input twice");
                    seen[at] = p + 1;
                }
                require(any, "an empty window");
            }
            break;
        }
    }
    require(node.size > 0 && node.size <= kMaxSize, "size of a tensor");
    return node;
}

}  // namespace

Scale scale_of(const Int& positive) {
    const size_t shift = positive.trailing_zeros();
    return {shift, positive >> shift};
}

Scale lcm(const Scale& a, const Scale& b) {
    const uint64_t shift = std::max(a.shift, b.shift);
    if (a.odd == b.odd || b.odd.is_one()) return {shift, a.odd};
    if (a.odd.is_one()) return {shift, b.odd};
    return {shift, a.odd.divexact(Int::gcd(a.odd, b.odd)) * b.odd};
}

Scale quotient(const Scale& multiple, const Scale& divisor) {
    const uint64_t shift = multiple.shift - divisor.shift;
    if (multiple.odd == divisor.odd) return {shift, Int(1)};
    if (divisor.odd.is_one()) return {shift, multiple.odd};
    return {shift, multiple.odd.divexact(divisor.odd)};
}

Net Net::parse(std::string_view bytes) {
    using namespace std::string_view_literals;
    Bytes in(bytes);
    in.expect("PLNET\0001\n"sv);
    Net net;
    net.input_size = in.u32();
    require(net.input_size > 0 && net.input_size <= kMaxSize, "input size");
    const uint32_t count = in.u32();
    for (uint32_t k = 0; k < count; ++k) net.nodes.push_back(read_node(in, net));
    require(in.at_end() && count > 0 && net.nodes.back().is_linear(), "the end");
    std::vector<bool> used(size_t{count} + 1);
    for (const Node& node : net.nodes)
        for (const uint32_t source : node.sources) used[source] = true;
    for (uint32_t tensor = 1; tensor < count; ++tensor)
        require(used[tensor], "a node that the output does not depend on");
    return net;
}

Domain Domain::parse(std::string_view bytes, uint32_t input_size) {
    using namespace std::string_view_literals;
    Bytes in(bytes);
    in.expect("PLDOM\0001\n"sv);
    Domain domain;
    domain.dim = in.u32();
    const uint32_t ambient = in.u32();
    require(domain.dim > 0 && ambient == input_size, "dimension of the domain");
    domain.is_slice = in.u8() != 0;
    const uint64_t width = uint64_t{domain.dim} + 1;
    if (domain.is_slice) {
        domain.slice_scale = in.integers(1).at(0);
        require(domain.slice_scale.sign() > 0, "scale of the slice");
        domain.slice_rows = in.integers(ambient * width);
    } else {
        require(domain.dim == ambient, "dimension of the domain");
    }
    domain.constraint_count = in.u32();
    domain.constraints = in.integers(domain.constraint_count * width);
    require(in.at_end(), "the end");
    return domain;
}

}  // namespace plv::check
