// One thread's walk over the split tree with cells of half-spaces (see halfspaces.hpp).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stack.hpp"
#include "lp/simplex.hpp"
#include "region/halfspaces.hpp"

namespace plv {

class HalfspaceWalker {
public:
    HalfspaceWalker(const HalfspaceProblem& problem, const HalfspaceSink& sink, StopToken& stop,
                    std::atomic<int64_t>& next_claim, std::atomic<int64_t>* progress);

    // Walks until done; throws Stopped when the token fires. What was found up to then stays valid.
    void run();

    int64_t count() const { return count_; }
    const EnumerateStats& stats() const { return stats_; }
    const std::vector<uint8_t>& ever_on() const { return ever_on_; }
    const std::vector<uint8_t>& ever_off() const { return ever_off_; }

    // Proofs: the nodes above the subtrees, and of every subtree claimed its number and its nodes.
    // A subtree's nodes belong at its offset in the nodes above.
    struct Piece {
        int64_t subtree;
        std::string nodes;
    };
    std::vector<Piece>& pieces() { return pieces_; }
    const std::string& top() const { return top_; }
    const std::vector<size_t>& offsets() const { return offsets_; }

private:
    // A function that may cross a cell: pre-activation `entry` of a layer, less `minus` if that is
    // not -1. `positive`, `negative`: the points that lie on that side of it,
    // among those `seen`.
    struct Candidate {
        int unit, layer, entry, minus;
        const double* row;  // dim + 1 entries over s
        double error;       // of its value in the box, evaluated in floating point
        uint64_t positive = 0, negative = 0, seen = 0;
    };
    // A row of the cell: sign * candidate >= 0, or a constraint of the domain (layer < 0).
    struct Row {
        int layer, entry, minus, sign;
        size_t at;  // in coefficients_, sign applied
        double error;
        double scale;   // of the simplex method's row
        uint64_t path;  // its number in the proof's list
        int slot = -1;  // of the window that is being cut, the row being z_p - z_slot
        std::unique_ptr<ExactRow> exact;
    };
    struct Cell {
        Simplex simplex;
        bool usable = true;  // the simplex method stands at a vertex of the cell
        uint64_t alive = 0;  // points inside
        size_t rows = 0, coefficients = 0;
        uint64_t path = 0;
    };
    // y0 * candidate's side + sum of y * 2^exponent * row <= 0.
    struct Certificate {
        struct Term {
            uint64_t path;
            int slot;  // >= 0: a row of the window that is being cut
            Int y;
            int exponent;
        };
        Int y0 = 1;
        std::vector<Term> terms;
    };
    enum class Side { both, positive, negative };
    struct Level {
        // Of pre-activations: dim + 1 entries each, their errors in sum, the error of a candidate.
        std::vector<double> rows, drift, error;
        std::vector<double> units, size, mass;  // of activations: entries, their sum, their errors
    };

    static constexpr int kPoints = 64;

    void enter_layer(int l, int k);
    void enter_windows(int l, int k, int window);
    bool cut_to_slot(int l, int k, int window, int slot);
    void descend(int l, int k, size_t list, size_t count);
    void leaf(int k);
    void split(int l, int k, size_t list, size_t count);
    void make_map(int l);
    void pass_units(int l);

    bool vanishes(const Candidate& u) const;
    Side probe(int k, Candidate& u);
    bool find_point(int k, const Candidate& u, int sign);
    bool certify(const Candidate& u, int sign, double scale, const Simplex& simplex);
    bool decide_exactly(int k, const Candidate& u, int sign);
    bool accept_point(int k, const double* s, const Candidate& u, int sign);
    bool verify_point(int k, const double* s) const;
    int value_sign(const double* row, double error, const double* s) const;
    void add_point(int k, const double* s);
    void locate(Candidate& u, uint64_t points) const;
    void push_cell(int k);
    void pop_cell(int k);
    void cut(int k, const Candidate& u, int sign, uint64_t path, int slot);
    void restart(Cell& cell);
    const ExactRow& exact_row(size_t row);
    StrictPoint solve_exactly(int k, const ExactRow* extra);
    double scaled(const double* row, int sign);

    bool claim();
    bool begin(bool& owner);
    void end(bool owner);
    void put_fix(int l, int unit, int piece);
    void put_certificate();
    void put_window_certificate();
    void put_leaf(int k);
    void emit(int k);
    void flush();
    void mark_pieces();

    const HalfspaceProblem& problem_;
    const Net& net_;
    const HalfspaceSink& sink_;
    StopToken& stop_;
    std::atomic<int64_t>& next_claim_;
    std::atomic<int64_t>* progress_;
    const int dim_, depth_;
    const size_t width_;  // dim + 1
    int claim_depth_ = 0, splits_ = 0;

    std::vector<Level> levels_;
    std::vector<std::unique_ptr<Cell>> cells_;
    std::vector<Row> rows_;
    Stack<double> coefficients_;
    std::vector<Candidate> list_;
    std::vector<uint8_t> pattern_;
    std::array<std::vector<double>, kPoints> points_;
    Certificate certificate_;  // of the side that probe() found empty
    std::vector<double> scratch_, point_, sum_, size_;
    std::vector<int> used_rows_;
    std::vector<double> used_y_;
    int window_slot_ = -1;           // the slot that certificate_ is about
    size_t window_rows_ = SIZE_MAX;  // rows from here on belong to the window that is being cut
    std::string* nodes_ = nullptr;

    int64_t node_ = 0, mine_ = -1, subtree_ = -1, count_ = 0, reported_ = 0;
    bool in_subtree_ = false;
    std::string top_, here_;
    std::vector<size_t> offsets_;
    std::vector<Piece> pieces_;
    std::vector<uint8_t> ever_on_, ever_off_;
    HalfspaceBatch batch_;
    EnumerateStats stats_;
};

}  // namespace plv
