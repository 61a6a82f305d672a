// One thread's walk over the split tree (see enumerate.hpp for the algorithm and the claims).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/contract.hpp"
#include "base/rounding.hpp"
#include "base/stack.hpp"
#include "geom/dimension.hpp"
#include "geom/vertex.hpp"
#include "region/enumerate.hpp"
#include "region/kernels.hpp"

namespace plv {

// Most splits on one path of the split tree; the stack of an engine thread has room for them.
inline constexpr int kMaxSplits = 1 << 16;

// One bit per unit in 64-bit words; the vector kernels see the same bits as bytes (hence
// little-endian only).
class Bits {
    static_assert(std::endian::native == std::endian::little);

public:
    explicit Bits(int units = 0) : words_(static_cast<size_t>(units + 63) / 64, 0) {}
    bool get(int i) const { return words_[i >> 6] >> (i & 63) & 1; }
    void put(int i, bool v) {
        const uint64_t m = uint64_t{1} << (i & 63);
        words_[i >> 6] = v ? words_[i >> 6] | m : words_[i >> 6] & ~m;
    }
    uint64_t& word(size_t k) { return words_[k]; }
    uint64_t word(size_t k) const { return words_[k]; }
    size_t words() const { return words_.size(); }
    uint8_t* bytes() { return reinterpret_cast<uint8_t*>(words_.data()); }
    const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(words_.data()); }
    void clear() { std::fill(words_.begin(), words_.end(), 0); }

private:
    std::vector<uint64_t> words_;
};

// Calls f(i) for every set bit i of the word, which begins at unit `base`.
template <class F>
void for_each_bit(uint64_t word, int base, F&& f) {
    for (; word; word &= word - 1) f(base + std::countr_zero(word));
}

template <int D>
class Walker {
public:
    Walker(const Problem<D>& problem, const EnumerateOptions& options, const Sink<D>& sink,
           StopToken& stop, std::atomic<int64_t>& next_claim, std::atomic<int64_t>* progress);

    // Walks until done; throws Stopped when the token fires. What was found up to then stays valid.
    void run();

    int64_t count() const { return count_; }
    const EnumerateStats& stats();
    void ever(std::vector<uint8_t>& on, std::vector<uint8_t>& off) const;

private:
    static constexpr int NC = D + 1;

    // `n` vertices from `at` on the vertex stack: of a polygon in order. From three dimensions on
    // a cell also lists its edges, its facets, and per vertex the bits of the facets on which it
    // lies, in `words` words. The list may keep facets that the cell no longer has; every vertex
    // on a listed facet has its bit.
    struct Cell {
        size_t at = 0;
        int n = 0;
        int words = 0, facet_count = 0, edge_count = 0;
        size_t bits = 0, facets = 0, edges = 0;
    };
    struct Facet {
        int32_t line;
        int32_t coincident;  // other units than the line's vanish all over the facet
    };
    struct Edge {
        int32_t u, v;
    };
    struct Mark {
        size_t vertices, lines, bits, facets, edges;
    };
    // Units that cross a cell: rows copied from the layer's map, NC columns and one of errors, each
    // `stride` long.
    struct Conflicts {
        size_t at;       // in rows_
        size_t unit_at;  // in row_units_
        int n, stride;
    };
    // Where a row comes from: pre-activation `entry` of a layer, less `minus` where that is not -1
    // (outputs, and slots a and b of a window). layer < 0: LineKind, and the entry its number.
    struct Wall {
        int layer, entry, minus = -1;
        int window = -1, a = -1, b = -1;
    };
    struct Line {
        RoundedLine<D> rounded;
        Wall wall;
        std::unique_ptr<ExactLine<D>> exact;
    };
    // A window whose maximum more than one slot may attain in the cell.
    struct Item {
        int window, n;
        size_t at;  // of its slots in slots_, increasing
    };
    // The sign of a row at a vertex where floating point decides it, else 0.
    struct RowTest {
        RowTest(const double* of, double error, bool without_bounds)
            : row(of), unchecked(without_bounds) {
            double gradient = 0.0;
            for (int c = 0; c < D; ++c) gradient += std::fabs(row[c]);
            value_error = error + detail::kEvalOf<D> * (std::fabs(row[D]) + gradient);
            slope = gradient + 2 * error;
        }
        int sign(const Vertex<D>& v) const {
            double z = row[D] * v.x[D];
            for (int c = 0; c < D; ++c) z += row[c] * v.x[c];
            const double t = unchecked ? 0.0 : (value_error * v.rho + slope * v.delta) * kUp;
            return (z > t) - (z < -t);
        }
        const double* row;
        double value_error, slope;
        bool unchecked;
    };
    // How a level's map follows from the levels below.
    enum class Origin {
        fixed,    // from the input alone: never changes
        chain,    // dense, from the slopes right below: flipped columns are added
        copied,   // every row is an activation
        general,  // anything else: columns of the activations that changed are added
    };
    // State of one layer along the path; the entry after the last hidden layer is the output map.
    struct Level {
        const FloatForm* weights;
        const Layer* layer;  // null for the outputs
        Origin origin;
        int rows, blocks, stride;     // pre-activations
        AlignedVector<double> map;    // NC x stride
        AlignedVector<double> base;   // static part of the rows' errors
        AlignedVector<double> start;  // where a fresh map begins: input and bias
        const double* norm;           // of each row, or zeros
        double error_scale = 0.0, error_extra = 0.0;
        bool map_valid = false;
        bool identity = false;     // copied: row r is activation r
        bool nonnegative = false;  // copied: every row is a ReLU's
        int updates = 0;
        Bits included;  // chain, copied: pieces of the layer below that the map stands for
        Bits on, real;  // pieces of the current cell; units with two pieces
        Bits positive, negative, crossing, ever_on, ever_off;
        bool zero_unit = false;  // here or below, some unit of the cell vanishes identically
        double rounding = 0.0;   // K of the map that the layer feeds
        double max_norm = 0.0, max_base = 0.0;  // over the rows of `weights` and of `start`
        int update_cap = 0;
        uint64_t stamp = 0;    // changes whenever map or pieces do
        double map_stamp = 1;  // grows by 1 whenever the map changes other than by pieces
        // The map_stamp at which all rows changed last, and that of each (where sparse), from 1 on.
        double all_stamp = 0;
        AlignedVector<double> row_stamp;
        // general: per block, the activations that the map stands for
        struct Included {
            AlignedVector<double> rows, mass;  // NC x padded(units); (E + K S)^2 of each
            std::vector<int32_t> value;        // of windows
            Bits on;                           // of other units
            uint64_t stamp = 0;
            double map_stamp = 0;
        };
        std::vector<Included> blocks_in;
        double peak = 0.0;
        // Windows: the row that is the value in the current cell, or -1 where that is a ReLU that
        // is off.
        std::vector<int32_t> value, table, first_slot;
        AlignedVector<double> row_error;
        // Windows over the ReLUs of the layer right below, whose rows are meant by `value` and by
        // `raw`, the table; where a window has no such slot, a row whose bounds are always -kFar.
        // In the cell in which that layer was entered, one pre-activation leads all over a window,
        // or the window is open. Led by a unit that crosses the cell, it swings between that unit
        // and zero. The map holds only the rows of windows that are open in the current cell too.
        bool led = false;
        std::vector<int32_t> raw, swing, swing_row, open;
        std::vector<uint8_t> swings, opens;
        int lead_size = 0;  // how many units crossed the cell when the lists were made
        AlignedVector<double> low, high;  // of a layer below such windows: bounds over the cell
        bool is_max() const { return layer && layer->is_max(); }
        int piece(int window) const;
        RowError error() const { return {norm, base.data(), error_scale, error_extra}; }
    };

    void enter_layer(int l, Cell cell, int depth);
    void test_floating(int l, Cell cell);
    uint64_t test_known(int l, size_t word, Cell cell, uint64_t& positive, uint64_t& crossing);
    void descend(int l, Cell cell, Conflicts list, int depth);
    void split(int l, Cell cell, Conflicts list, int depth);
    void leaf(int l, Cell cell, int depth);
    int64_t count_cells(const Cell& cell, const Conflicts& list);
    // A section of a cell with the values of n units at its vertices: of vertex k from
    // values_[values + k stride] on, and their bounds from values_[bounds + k step] on.
    struct Section {
        Cell cell;
        int dimension, n, stride, step;
        size_t values, bounds;
    };
    bool count_sections(const Section& s, int64_t& total);
    bool cut_section(const Section& s, int i);
    void pick_values(size_t z, size_t e, int stride, size_t picks, Section& to);
    bool distinct(const double* z, const double* e, int stride, size_t picks);
    static bool is_simple(const uint64_t* facets, int words, int few);
    Conflicts child_conflicts(int l, Cell child, const Conflicts& parent);
    void classify_list(const Conflicts& list, const VertexBlock& v, const SignMasks& masks);
    void build_children(Cell cell, const int8_t* signs, int32_t line, Cell out[2]);
    void prepare_map(int l);
    void prepare_chain(int l);
    void prepare_copies(int l);
    void prepare_general(int l);
    bool update_block(Level& s, size_t b, bool fresh);
    void find_leaders(int l, Cell cell);
    void settle(int l, Cell cell, std::vector<int32_t>& windows, const Bits* crossing);
    void lead(int l, int window, int32_t row, const Bits* crossing);
    void descend_led(int l, Cell cell, const Conflicts& list, int depth);
    void copy_row(int l, int row);
    void set_piece(int l, int window, int slot);
    // The activation of a unit as `factor` times a row of a level's map.
    struct Source {
        int level, row;
        double factor;
    };
    Source source(int l, int unit) const;
    void test_windows(const Level& s, const AlignedVector<double>& map,
                      const AlignedVector<double>& error, const std::vector<int32_t>& table,
                      int wide, bool nonnegative, Cell cell);
    void bound_from(Level& s, double mass, double size, int columns);
    Level make_level(int l) const;
    void start_afresh(int l);
    void forget_map(int l);

    void enter_windows(int l, Cell cell, int depth);
    void keep_window(int l, Item item, Cell cell);
    std::vector<int> left_to_right(int l, const Item& item, Cell cell);
    Conflicts window_rows(int l, size_t units_mark);
    void split_windows(int l, Cell cell, Conflicts list, int depth);
    Conflicts child_windows(int l, Cell child, const Conflicts& parent);
    void descend_side(int l, Cell child, const Conflicts& list, int depth);
    bool clip_to(int l, const Item& item, int slot, Cell& cell);
    int resolve_window(int l, int window, Cell cell, int* slots, int n);
    Wall difference(int l, int window, int a, int b, double* row, double& error) const;
    void pair_signs(const Wall& wall, const double* row, double error, Cell cell);
    // Where the stacks of cells and lines end, and back to there.
    Mark mark() const;
    void release(const Mark& to);
    Cell root_cell();
    Cell copy_cell(const Cell& cell);
    void split_polytope(const Cell& cell, const int8_t* signs, int32_t line, Cell children[2]);
    void find_cuts(const Cell& cell, const int8_t* signs);
    void join_cuts(const Cell& cell, bool simple);
    void cut_vertices(const Cell& cell, bool simple, int32_t line);
    void choose_lines(int32_t line);
    void meet_lines();
    bool on_facet(const Cell& cell, int k, int facet) const {
        return bits_[cell.bits + static_cast<size_t>(k) * static_cast<size_t>(cell.words) +
                     static_cast<size_t>(facet >> 6)] >>
                   (facet & 63) &
               1;
    }
    void mark_zero_edges(Cell cell);
    void mark_known_zeros(int l, size_t word, Cell cell, uint64_t units);
    void region(Cell cell);
    void emit(Cell cell);
    void emit_facets(const Cell& cell);
    std::vector<std::vector<int32_t>> facet_vertices(const Cell& cell) const;
    void flush();
    void ties(Cell cell);
    void winners(Cell cell, int outputs, std::vector<uint8_t>& out);
    void emit_ties(Cell cell, int outputs, const std::vector<uint8_t>& winning);

    bool claim();
    void leave_subtree(int l);
    VertexBlock block(Cell cell) const;
    // Bound of the error of a row of the layer's map, summed over its columns.
    double row_error(int l, int row) const {
        const Level& s = levels_[l];
        return s.norm[row] * s.error_scale + s.base[row] + s.error_extra;
    }
    double difference_error(int i, int j, const double* row) const;
    bool vanishes(int l, int row, Cell cell, int k) const;
    int sign_at(const Wall& wall, const double* row, double error, Cell cell, int k);
    // +1 or -1: weakly on one side and somewhere strictly; 0: zero all over; 2: crosses. Marks
    // edges on which it vanishes.
    int resolve(int l, int unit, const double* row, double error, Cell cell, bool& all_zero);
    const ExactLine<D>& exact_line(int32_t line);
    int32_t intern(Cell cell, int k);
    int32_t meet_exactly();
    Vertex<D> new_vertex(int32_t edge_line, int32_t line);
    void forget_points();
    void assemble_pattern(uint8_t* out, int layers) const;
    int32_t push_line(const double* row, double error, const Wall& wall);

    const Problem<D>& problem_;
    const Net& net_;
    const EnumerateOptions& options_;
    const Sink<D>& sink_;
    StopToken& stop_;
    const KernelTable& kernels_;
    std::atomic<int64_t>& next_claim_;
    std::atomic<int64_t>* progress_;
    const int depth_;  // hidden layers
    const bool counting_;
    int claim_depth_ = 0;
    double size_[D];  // the frame's, as doubles

    int64_t node_ = 0, mine_ = -1, subtree_ = -1;
    bool in_subtree_ = false;
    int64_t count_ = 0, reported_ = 0;

    std::vector<Level> levels_;
    Stack<Vertex<D>> vertices_;
    Stack<uint64_t> bits_;
    Stack<Facet> facets_;
    Stack<Edge> edges_;
    // Scratch of a split: the edges that cross, the bits of all vertices on the cut (first the new
    // ones, then old ones), which those are, and the edges between them.
    Stack<Edge> cuts_, joins_;
    Stack<uint64_t> cut_bits_;
    Stack<int32_t> touching_, renamed_;
    Stack<Vertex<D>> fresh_;
    Stack<double> values_;
    // A table of open addressing; what another stamp wrote is not there.
    struct Waiting {
        uint64_t key;
        int32_t first;
        uint32_t stamp;
    };
    std::vector<Waiting> pairing_;
    uint32_t pairing_stamp_ = 0;
    std::vector<uint64_t> shared_, used_;
    std::vector<int32_t> numbers_, candidates_;
    int dimension_ = D;  // of the cell or section whose cuts are joined
    std::vector<const RoundedLine<D>*> meets_;
    int count_below_ = 1 << 30;  // longer lists are split, not counted
    std::vector<const ExactLine<D>*> exact_;
    std::vector<Line> lines_;
    Stack<double> rows_;
    Stack<int> row_units_;
    AlignedVector<double> zeros_;
    Stack<Item> items_;
    Stack<int> slots_;
    std::vector<int32_t> best_, close_, close_table_, stand_in_;
    AlignedVector<double> raw_error_;
    std::vector<uint8_t> decided_;
    Stack<int8_t> signs_;
    std::vector<int> known_;  // vertices of the current cell whose exact signs are at hand
    std::vector<int> changed_;
    Bits list_masks_[3], crossing_;
    Stack<int> columns_;
    Stack<double> coefficients_;
    std::vector<uint8_t> flat_;  // scratch pattern

    PointTable<D> points_;
    EnumerateStats stats_;
    RegionBatch<D> batch_;
    std::vector<TieSegment<D>> tie_batch_;
};

}  // namespace plv
