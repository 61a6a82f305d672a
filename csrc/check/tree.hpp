// The checker of region trees (docs/proof_format.md): reads a body and says whether it proves its
// claim. Iterative, no allocation per node where doubles decide.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "check/body.hpp"
#include "check/maps.hpp"
#include "check/net.hpp"

namespace plv::check {

struct TreeStats {
    uint64_t nodes = 0, leaves = 0, certificates = 0;
    uint64_t exact_signs = 0, exact_certificates = 0;  // which doubles left open
};

// What a proof states beside the network: the domain and the number of regions.
struct TreeQuestion {
    const Net& net;
    const Domain& domain;
    uint64_t regions = 0;
};

class TreeChecker {
public:
    // `tick` is called every few nodes; it may throw to end the run.
    TreeChecker(const TreeQuestion& question, Body::More more, std::function<void()> tick);

    // Throws Rejected with the reason unless the body proves the claim.
    void run();
    const TreeStats& stats() const { return stats_; }

private:
    // A row that is >= 0 on the cell: entry `plus`, or minus entry `minus`, or their difference.
    struct Row {
        uint32_t plus = kNone, minus = kNone;
    };
    // A row times m 2^e.
    struct Term {
        Row row;
        int64_t m = 0;
        int32_t e = 0;
        int32_t big = -1;  // place in bigs_, where m is longer
        double factor = 0;
    };
    struct Branch {
        uint32_t unit;
        uint32_t path, fixed, kept;  // lengths to go back to
        uint32_t next;               // in kept_: the piece of the next child
        uint32_t layer;
    };

    void leaf();
    void check_units(const Layer& layer);
    void check_windows(const Layer& layer);
    void split();
    void fix();
    void window();

    uint32_t next_unit(bool is_max);
    const Layer& layer_of(uint32_t unit) const { return maps_.layers()[layer_of_[unit]]; }
    Row side(uint32_t unit, int32_t piece) const;
    uint32_t slot(const Layer& layer, uint32_t window, uint32_t k) const {
        return layer.inputs[static_cast<size_t>(window) * layer.slots + k];
    }

    void begin_terms();
    void add_term(Row row);
    void certificate();
    bool holds_in_doubles();
    bool holds_exactly();
    bool vanishes(const Row& row);
    // The integers of a row, in `difference_` where it is not one entry itself; positive multiples.
    void exact_row(const Row& row, std::vector<Int>& out);
    int exact_sign(const Row& row, bool& is_zero);

    void branch(uint32_t unit, size_t kept);
    void next_child();
    void enter(const Branch& state, int32_t piece);
    void set(uint32_t unit, int32_t piece);
    void settle();

    const Domain& domain_;
    const uint64_t regions_;
    Body body_;
    std::function<void()> tick_;
    Maps maps_;
    const size_t dim_;
    TreeStats stats_;

    std::vector<uint32_t> layer_of_;  // of a unit
    std::vector<uint8_t> single_;
    std::vector<uint32_t> constraints_;  // entries to test at a witness
    bool is_empty_ = false;              // a constraint without coefficients does not hold

    std::vector<int32_t> pieces_;  // -1: none yet
    std::vector<double> want_;     // 1 for piece 1, -1 for piece 0 of a unit, 0 if it has one piece
    std::vector<uint32_t> fixed_;
    std::vector<uint32_t> open_;  // units without a piece, per layer
    std::vector<Row> path_;
    std::vector<Branch> branches_;
    std::vector<uint32_t> kept_;  // pieces of the branches' children
    uint32_t layer_ = 0;          // the first one with an open unit

    std::vector<Term> terms_;
    std::vector<Int> bigs_;
    size_t big_count_ = 0;
    Number number_;
    std::vector<double> sum_;

    std::vector<Number> witness_;
    std::vector<Int> exact_witness_;
    bool has_exact_witness_ = false;
    uint64_t depth_ = 0;
    std::vector<double> point_;
    double reach_ = 1;  // max(1, |point|)
    std::vector<double> values_;
    std::vector<Int> difference_, total_;
};

}  // namespace plv::check
