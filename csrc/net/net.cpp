#include "net/net.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>

namespace plv {

namespace {

[[noreturn]] void malformed(const std::string& why) {
    throw std::invalid_argument("malformed network bytes: " + why);
}

constexpr uint32_t kMaxSize = 1u << 24;  // rows, columns, units
constexpr uint32_t kMaxShift = 1u << 16;
constexpr size_t kMaxEntries = size_t{1} << 28;  // of one form
constexpr uint32_t kMaxNodes = 40001;

// Rows of a linear node over one common scale; entry (row, col) at row * (cols + 1) + col, the bias
// last. The entries are in one of the two lists: in words where all of them are small.
struct Table {
    size_t rows = 0, cols = 0;
    std::vector<int64_t> words;
    std::vector<Int> entries;
    Int scale = 1;
    bool small() const { return entries.empty(); }
    void widen() {
        entries.assign(words.begin(), words.end());
        words = {};
    }
    Int at(size_t row, size_t col) const {
        const size_t k = row * (cols + 1) + col;
        return small() ? Int(words[k]) : entries[k];
    }
};

// What an `ExactBlock` takes for a small entry.
constexpr long kSmallBits = 62;
bool is_small(int64_t v) { return v > -(int64_t{1} << kSmallBits) && v < int64_t{1} << kSmallBits; }

// Multiplies the words of a row; false, with the row as it was, if that leaves what is small.
bool multiply_row(int64_t* row, size_t count, const Int& factor) {
    if (factor.bit_length() > kSmallBits)
        return std::all_of(row, row + count, [](int64_t v) { return v == 0; });
    const int64_t by = factor.to_int64();
    for (size_t k = 0; k < count; ++k) {
        int64_t product = 0;
        if (__builtin_mul_overflow(row[k], by, &product) || !is_small(product)) return false;
    }
    for (size_t k = 0; k < count; ++k) row[k] *= by;
    return true;
}

Table read_table(ByteReader& in, uint32_t rows, uint32_t cols) {
    if (rows == 0 || rows > kMaxSize || cols > kMaxSize) malformed("size of a linear node");
    Table out;
    out.rows = rows;
    out.cols = cols;
    const std::vector<uint32_t> shifts = in.u32s(rows);
    const uint32_t shift = *std::max_element(shifts.begin(), shifts.end());
    if (shift > kMaxShift) malformed("shift out of range");
    const std::vector<Int> dens = in.ints(rows);
    Int den = 1;
    for (const Int& d : dens) {
        if (d.sign() <= 0) malformed("denominator not positive");
        den = Int::lcm(den, d);
    }
    out.scale = den;
    out.scale <<= shift;
    const size_t width = static_cast<size_t>(cols) + 1, count = rows * width;
    if (in.words_each() == 1) {
        out.words = in.i64s(count);
        if (!std::all_of(out.words.begin(), out.words.end(), is_small)) out.widen();
    } else {
        out.entries = in.ints(count);
    }
    for (size_t r = 0; r < rows; ++r) {
        Int factor = den.divexact(dens[r]);
        factor <<= shift - shifts[r];
        if (factor.is_one()) continue;
        if (out.small() && !multiply_row(&out.words[r * width], width, factor)) out.widen();
        if (out.small()) continue;
        for (size_t c = 0; c < width; ++c) out.entries[r * width + c] *= factor;
    }
    return out;
}

constexpr int kForm = -2;

// A tensor of the graph: the activations of a layer (or the input) themselves, or a form in them.
struct Tensor {
    int size = 0;
    int basis = kForm;  // a layer, kInput, or kForm
    ExactForm form;
    bool direct = false;  // one linear node makes it, of one tensor with a basis
};

// One row of a form while it is put together: terms in any order, those of one place perhaps
// several times until they are merged.
struct RowSum {
    struct Term {
        int source, col;
        Int w;
        bool operator<(const Term& other) const {
            return source != other.source ? source < other.source : col < other.col;
        }
    };
    std::vector<Term> terms;
    Int bias;
    void add(int source, int col, Int&& w) {
        if (w.is_zero()) return;
        if (terms.size() >= most_) {
            merge();
            most_ = std::max(most_, 2 * terms.size());
        }
        terms.push_back({source, col, std::move(w)});
    }
    // Sorts by source and column; no place is left twice or with 0.
    void merge() {
        const auto ordered = [](const Term& a, const Term& b) { return !(a < b); };
        if (std::adjacent_find(terms.begin(), terms.end(), ordered) == terms.end()) return;
        std::stable_sort(terms.begin(), terms.end());
        size_t count = 0;
        for (size_t k = 0; k < terms.size();) {
            Term one = std::move(terms[k]);
            for (++k; k < terms.size() && !(one < terms[k]); ++k) one.w += terms[k].w;
            if (!one.w.is_zero()) terms[count++] = std::move(one);
        }
        terms.resize(count);
    }

private:
    size_t most_ = 256;  // terms before they are merged, so that they do not fill the memory
};

class GraphReader {
public:
    explicit GraphReader(std::string_view bytes) : in_(bytes) {}

    std::shared_ptr<const Net> read() {
        using namespace std::string_view_literals;
        in_.expect("PLNET\0001\n"sv);
        net_ = std::make_shared<Net>();
        const uint32_t input = in_.u32(), nodes = in_.u32();
        if (input == 0 || input > kMaxSize) malformed("input size");
        if (nodes == 0 || nodes > kMaxNodes) malformed("number of nodes");
        net_->input_size = static_cast<int>(input);
        tensors_.push_back({net_->input_size, kInput, {}});
        for (uint32_t k = 0; k < nodes; ++k) read_node(k);
        if (!in_.at_end()) malformed("trailing bytes");
        const Tensor& last = tensors_.back();
        if (last.basis != kForm) malformed("the last node is not linear");
        net_->output_exact = last.form;
        finish();
        return net_;
    }

private:
    void read_node(uint32_t k) {
        switch (in_.u8()) {
            case 1:
                return read_dense(k);
            case 2:
                return read_units(k);
            case 3:
                return read_conv(k);
            case 4:
                return read_sparse(k);
            case 5:
                return read_max(k);
            default:
                malformed("unknown kind of node");
        }
    }

    const Tensor& source(uint32_t k) {
        const uint32_t t = in_.u32();
        if (t > k) malformed("a node reads a tensor that is not there yet");
        return tensors_[t];
    }

    // The sources of a node end to end, as one tensor.
    Tensor joined(uint32_t k) {
        const uint32_t n = in_.u32();
        if (n == 0 || n > 2 * kMaxNodes) malformed("number of sources");
        if (n == 1) return source(k);
        std::vector<const Tensor*> parts;
        int size = 0;
        Int scale = 1;
        for (uint32_t i = 0; i < n; ++i) {
            parts.push_back(&source(k));
            size += parts.back()->size;
            if (size > static_cast<int>(kMaxSize)) malformed("size of joined tensors");
            scale = Int::lcm(scale, scale_of(*parts.back()));
        }
        std::vector<RowSum> rows(static_cast<size_t>(size));
        size_t at = 0;
        for (const Tensor* part : parts)
            for (int i = 0; i < part->size; ++i) add_entry(rows[at++], *part, i, Int(1), scale);
        return tensor_of(std::move(rows), scale);
    }

    static Int scale_of(const Tensor& t) { return t.basis == kForm ? t.form.scale : Int(1); }

    // row += w * (entry i of the tensor) * scale, `scale` being a multiple of the tensor's.
    static void add_entry(RowSum& row, const Tensor& tensor, int i, const Int& w,
                          const Int& scale) {
        if (tensor.basis != kForm) {
            row.add(tensor.basis, i, w * scale);
            return;
        }
        const ExactForm& form = tensor.form;
        const Int factor = w * scale.divexact(form.scale);
        for (const ExactBlock& block : form.blocks)
            for (size_t k = block.first(i); k < block.last(i); ++k)
                if (!block.is_zero(k))
                    row.add(block.source, block.column(i, k), block.weight(k) * factor);
        row.bias += form.bias[i] * factor;
    }

    Tensor tensor_of(std::vector<RowSum>&& rows, const Int& scale) const;
    ExactForm as_form(const Tensor& tensor) const;
    int basis_size(int basis) const {
        return basis == kInput ? net_->input_size : net_->layers[basis].units;
    }
    void finish();
    void read_dense(uint32_t k);
    void read_units(uint32_t k);
    void read_conv(uint32_t k);
    void read_sparse(uint32_t k);
    void read_max(uint32_t k);

    ByteReader in_;
    std::shared_ptr<Net> net_;
    std::vector<Tensor> tensors_;
};

void store(ExactBlock& block, std::vector<Int>&& weights) {
    block.small = std::all_of(weights.begin(), weights.end(),
                              [](const Int& v) { return v.bit_length() <= kSmallBits; });
    if (!block.small) {
        block.wbig = std::move(weights);
        return;
    }
    block.w64.resize(weights.size());
    for (size_t k = 0; k < weights.size(); ++k) block.w64[k] = weights[k].to_int64();
}

Tensor GraphReader::tensor_of(std::vector<RowSum>&& rows, const Int& scale) const {
    Tensor out;
    out.size = static_cast<int>(rows.size());
    ExactForm& form = out.form;
    form.rows = out.size;
    form.scale = scale;
    std::map<int, size_t> entries;
    for (RowSum& row : rows) {
        form.bias.push_back(std::move(row.bias));
        row.merge();
        for (const RowSum::Term& term : row.terms) ++entries[term.source];
    }
    for (const auto& [source, count] : entries) {
        if (count > kMaxEntries) malformed("too many entries");
        ExactBlock block;
        block.source = source;
        block.rows = form.rows;
        block.cols = basis_size(source);
        const size_t all = static_cast<size_t>(block.rows) * static_cast<size_t>(block.cols);
        block.dense = 4 * count > all;  // compressed where few of the entries are there
        std::vector<Int> weights(block.dense ? all : 0);
        if (!block.dense) block.start.push_back(0);
        for (int r = 0; r < form.rows; ++r) {
            for (RowSum::Term& term : rows[r].terms) {
                if (term.source != source) continue;
                if (block.dense) {
                    weights[block.first(r) + static_cast<size_t>(term.col)] = std::move(term.w);
                } else {
                    block.col.push_back(term.col);
                    weights.push_back(std::move(term.w));
                }
            }
            if (!block.dense) block.start.push_back(block.col.size());
        }
        store(block, std::move(weights));
        form.blocks.push_back(std::move(block));
    }
    return out;
}

ExactForm GraphReader::as_form(const Tensor& tensor) const {
    if (tensor.basis == kForm) return tensor.form;
    ExactForm form;
    form.rows = tensor.size;
    form.bias.resize(static_cast<size_t>(tensor.size));
    ExactBlock block;
    block.source = tensor.basis;
    block.rows = block.cols = tensor.size;
    block.dense = false;
    for (int i = 0; i <= tensor.size; ++i) block.start.push_back(static_cast<size_t>(i));
    for (int i = 0; i < tensor.size; ++i) block.col.push_back(i);
    block.w64.assign(static_cast<size_t>(tensor.size), 1);
    form.blocks.push_back(std::move(block));
    return form;
}

void GraphReader::read_dense(uint32_t k) {
    const Tensor& from = source(k);
    const uint32_t rows = in_.u32(), cols = in_.u32();
    if (static_cast<int>(cols) != from.size) malformed("widths of consecutive nodes differ");
    Table table = read_table(in_, rows, cols);
    if (from.basis == kForm) {
        std::vector<RowSum> sums(rows);
        for (uint32_t r = 0; r < rows; ++r) {
            for (uint32_t c = 0; c < cols; ++c)
                if (!table.at(r, c).is_zero())
                    add_entry(sums[r], from, static_cast<int>(c), table.at(r, c), from.form.scale);
            sums[r].bias += table.at(r, cols) * from.form.scale;
        }
        tensors_.push_back(tensor_of(std::move(sums), table.scale * from.form.scale));
        return;
    }
    // Straight from the activations: nothing to multiply out.
    Tensor out;
    out.direct = true;
    out.size = static_cast<int>(rows);
    out.form.rows = out.size;
    out.form.scale = table.scale;
    ExactBlock block;
    block.source = from.basis;
    block.rows = out.size;
    block.cols = from.size;
    for (uint32_t r = 0; r < rows; ++r) out.form.bias.push_back(table.at(r, cols));
    const size_t width = size_t{cols} + 1;
    if (table.small()) {
        block.w64.resize(rows * size_t{cols});
        for (uint32_t r = 0; r < rows; ++r)
            std::copy_n(&table.words[r * width], cols, block.w64.begin() + r * size_t{cols});
    } else {
        std::vector<Int> weights;
        weights.reserve(rows * size_t{cols});
        for (uint32_t r = 0; r < rows; ++r)
            for (uint32_t c = 0; c < cols; ++c)
                weights.push_back(std::move(table.entries[r * width + c]));
        store(block, std::move(weights));
    }
    out.form.blocks.push_back(std::move(block));
    tensors_.push_back(std::move(out));
}

void GraphReader::read_conv(uint32_t k) {
    const Tensor& from = source(k);
    const uint32_t channels = in_.u32(), positions = in_.u32(), groups = in_.u32();
    const uint32_t width = in_.u32(), places = in_.u32(), kernels = in_.u32();
    if (channels == 0 || positions == 0 || width == 0 || places == 0 || kernels == 0 ||
        uint64_t{channels} * positions != static_cast<uint64_t>(from.size) ||
        uint64_t{kernels} * places > kMaxSize || uint64_t{width} * places > kMaxEntries)
        malformed("sizes of a convolution");
    if (groups == 0 || channels % groups != 0 || kernels % groups != 0)
        malformed("groups of a convolution");
    const std::vector<int32_t> taps = in_.i32s(static_cast<size_t>(width) * places);
    for (int32_t t : taps)
        if (t < -1 || t >= static_cast<int32_t>(positions)) malformed("taps out of range");
    const uint32_t inner = channels / groups;
    const Table table = read_table(in_, kernels, inner * width);
    const Int scale = scale_of(from);
    if (uint64_t{kernels} * places * inner * width > kMaxEntries)
        throw std::invalid_argument("a convolution is too large for the region engine");
    std::vector<RowSum> sums(static_cast<size_t>(kernels) * places);
    for (uint32_t o = 0; o < kernels; ++o)
        for (uint32_t p = 0; p < places; ++p) {
            RowSum& sum = sums[static_cast<size_t>(o) * places + p];
            const uint32_t first = o / (kernels / groups) * inner;
            if (from.basis != kForm) sum.terms.reserve(size_t{inner} * width);
            for (uint32_t c = 0; c < inner; ++c)
                for (uint32_t t = 0; t < width; ++t) {
                    const int32_t tap = taps[static_cast<size_t>(t) * places + p];
                    const Int& w = table.at(o, static_cast<size_t>(c) * width + t);
                    if (tap >= 0 && !w.is_zero())
                        add_entry(sum, from, static_cast<int>((first + c) * positions) + tap, w,
                                  scale);
                }
            sum.bias += table.at(o, table.cols) * scale;
        }
    const bool direct = from.basis != kForm;
    tensors_.push_back(tensor_of(std::move(sums), table.scale * scale));
    tensors_.back().direct = direct;
}

void GraphReader::read_sparse(uint32_t k) {
    const Tensor from = joined(k);
    const uint32_t rows = in_.u32(), width = in_.u32();
    if (rows == 0 || rows > kMaxSize || width == 0 || uint64_t{rows} * width > kMaxEntries)
        malformed("sizes of a sparse node");
    const std::vector<int32_t> index = in_.i32s(static_cast<size_t>(rows) * width);
    for (int32_t i : index)
        if (i < -1 || i >= from.size) malformed("inputs of a sparse node");
    const Table table = read_table(in_, rows, width);
    const Int scale = scale_of(from);
    std::vector<RowSum> sums(rows);
    for (uint32_t r = 0; r < rows; ++r) {
        for (uint32_t c = 0; c < width; ++c) {
            const int32_t i = index[static_cast<size_t>(r) * width + c];
            if (table.at(r, c).is_zero()) continue;
            if (i < 0) malformed("a coefficient has no input");
            add_entry(sums[r], from, i, table.at(r, c), scale);
        }
        sums[r].bias += table.at(r, width) * scale;
    }
    tensors_.push_back(tensor_of(std::move(sums), table.scale * scale));
}

void GraphReader::read_units(uint32_t k) {
    const Tensor& from = source(k);
    Layer layer;
    layer.exact = as_form(from);
    layer.direct = from.direct;
    const uint32_t width = in_.u32();
    if (static_cast<int>(width) != from.size) malformed("number of units");
    layer.units = from.size;
    const std::vector<uint32_t> shifts = in_.u32s(width);
    layer.slope_num = in_.ints(width);
    layer.slope_shift = *std::max_element(shifts.begin(), shifts.end());
    if (layer.slope_shift > kMaxShift) malformed("shift out of range");
    const auto stride = static_cast<size_t>(padded(layer.units));
    layer.slope.assign(stride, 0.0);
    layer.gap.assign(stride, 0.0);
    layer.one_piece.assign(width, 0);
    for (uint32_t i = 0; i < width; ++i) {
        Int one = 1;
        one <<= shifts[i];
        layer.one_piece[i] = layer.slope_num[i] == one;
        if (!layer.slope_num[i].is_zero()) layer.all_relu = false;
        const long exponent = -static_cast<long>(shifts[i]);
        layer.slope[i] = Int::ratio_scaled(layer.slope_num[i], Int(1), exponent);
        layer.gap[i] = Int::ratio_scaled(one - layer.slope_num[i], Int(1), exponent);
        layer.max_slope = std::max({layer.max_slope, std::fabs(layer.slope[i]) * (1 + 0x1p-50),
                                    std::fabs(layer.gap[i]) * (1 + 0x1p-50)});
        layer.slope_num[i] <<= layer.slope_shift - shifts[i];
    }
    tensors_.push_back({layer.units, static_cast<int>(net_->layers.size()), {}, false});
    net_->layers.push_back(std::move(layer));
}

void GraphReader::read_max(uint32_t k) {
    const Tensor from = joined(k);
    const uint32_t channels = in_.u32(), positions = in_.u32();
    const uint32_t slots = in_.u32(), places = in_.u32();
    if (channels == 0 || uint64_t{channels} * positions != static_cast<uint64_t>(from.size) ||
        slots < 2 || slots >= 1u << 16 || places == 0 ||
        uint64_t{slots} * places * channels > kMaxEntries)
        malformed("sizes of a maximum");
    const std::vector<int32_t> taps = in_.i32s(static_cast<size_t>(slots) * places);
    Layer layer;
    layer.exact = as_form(from);
    layer.units = static_cast<int>(channels * places);
    layer.slots = static_cast<int>(slots);
    layer.bits = static_cast<int>(std::bit_width(slots - 1));
    layer.table.assign(static_cast<size_t>(slots) * layer.units, -1);
    std::vector<int> filled(static_cast<size_t>(layer.units), 0);
    for (uint32_t s = 0; s < slots; ++s)
        for (uint32_t c = 0; c < channels; ++c)
            for (uint32_t p = 0; p < places; ++p) {
                const int32_t t = taps[static_cast<size_t>(s) * places + p];
                if (t < -1 || t >= static_cast<int32_t>(positions)) malformed("taps out of range");
                const size_t w = static_cast<size_t>(c) * places + p;
                if (t < 0) continue;
                layer.table[static_cast<size_t>(s) * layer.units + w] =
                    static_cast<int32_t>(c * positions) + t;
                ++filled[w];
            }
    if (*std::min_element(filled.begin(), filled.end()) == 0) malformed("a window is empty");
    tensors_.push_back({layer.units, static_cast<int>(net_->layers.size()), {}, false});
    net_->layers.push_back(std::move(layer));
}

void GraphReader::finish() {
    for (Layer& layer : net_->layers) {
        layer.dense = rounded(layer.exact);
        net_->unit_offset.push_back(net_->unit_count);
        net_->bit_offset.push_back(net_->pattern_bits);
        net_->unit_count += layer.units;
        net_->pattern_bits += static_cast<size_t>(layer.units) * static_cast<size_t>(layer.bits);
    }
    net_->output = rounded(net_->output_exact);
}

}  // namespace

int Net::piece(const uint8_t* pattern, int layer, int unit) const {
    const int bits = layers[layer].bits;
    size_t at = bit_offset[layer] + static_cast<size_t>(unit) * static_cast<size_t>(bits);
    int out = 0;
    for (int k = 0; k < bits; ++k, ++at) out |= (pattern[at >> 3] >> (at & 7) & 1) << k;
    return out;
}

void Net::set_piece(uint8_t* pattern, int layer, int unit, int piece) const {
    const int bits = layers[layer].bits;
    size_t at = bit_offset[layer] + static_cast<size_t>(unit) * static_cast<size_t>(bits);
    for (int k = 0; k < bits; ++k, ++at) {
        const auto mask = static_cast<uint8_t>(1u << (at & 7));
        if (piece >> k & 1)
            pattern[at >> 3] = static_cast<uint8_t>(pattern[at >> 3] | mask);
        else
            pattern[at >> 3] = static_cast<uint8_t>(pattern[at >> 3] & ~mask);
    }
}

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

std::vector<int32_t> ByteReader::i32s(size_t n) {
    const std::vector<uint32_t> raw = u32s(n);
    std::vector<int32_t> out(n);
    for (size_t k = 0; k < n; ++k) out[k] = static_cast<int32_t>(raw[k]);
    return out;
}

size_t ByteReader::words_each() const {
    return at_ < bytes_.size() ? static_cast<unsigned char>(bytes_[at_]) : 0;
}

std::vector<int64_t> ByteReader::i64s(size_t n) {
    if (u8() != 1) throw std::invalid_argument("malformed bytes: integers of more than a word");
    if ((bytes_.size() - at_) / 8 < n) throw std::invalid_argument("malformed bytes: truncated");
    const unsigned char* p = take(8 * n);
    std::vector<int64_t> out(n);
    for (size_t k = 0; k < n; ++k, p += 8) {
        uint64_t word = 0;
        for (int b = 7; b >= 0; --b) word = word << 8 | p[b];
        out[k] = static_cast<int64_t>(word);
    }
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

std::shared_ptr<const Net> Net::parse(std::string_view bytes) { return GraphReader(bytes).read(); }

}  // namespace plv
