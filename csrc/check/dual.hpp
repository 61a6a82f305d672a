// The checker of dual trees (docs/proof_format.md): reads a body and says whether its trees refute
// the systems in question. Iterative; the path to the node at hand is all that it keeps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "check/body.hpp"
#include "check/dual_doubles.hpp"
#include "check/dual_exact.hpp"
#include "check/dual_net.hpp"
#include "check/gain.hpp"

namespace plv::check {

struct DualStats {
    uint64_t nodes = 0, leaves = 0;
    uint64_t exact_leaves = 0, exact_rows = 0;  // which doubles left open
};

class DualChecker {
public:
    // `tick` is called often; it may throw to end the run.
    DualChecker(const DualNet& net, const DualQuestion& question, Body::More more,
                const std::function<void()>& tick);

    // Throws Rejected with the reason unless the body proves the claim.
    void run();
    DualStats stats() const {
        DualStats out = stats_;
        out.exact_rows = doubles_.exact_rows();
        return out;
    }

private:
    // A node with a child that was not read.
    struct Branch {
        uint64_t mark;                                  // its number; 0 is none
        size_t bounds, ends, fixed, ranges, condensed;  // lengths to go back to
        bool empty;
        bool is_input;
        uint32_t index;  // of the input or unit
        int32_t next;    // the piece of the next child
        DualEnd value;   // of an input: the lower end of the second child
    };
    // What a path changed, as it was before.
    struct OldBounds {
        uint32_t input;
        uint64_t mark;
        double lo, hi;
    };
    struct OldEnd {
        uint32_t side;  // 2 * input + (1 for the upper end)
        uint64_t mark;
        DualEnd end;
    };

    // What a tree about gradients needs besides.
    struct Gain {
        Gain(const GainGraph& graph, GainGoal&& wanted, const std::function<void()>& tick)
            : doubles(graph, tick), goal(std::move(wanted)) {
            for (size_t r = 0; r < goal.rows.size(); ++r) ranges.emplace_back(graph.points);
        }
        GainDoubles doubles;
        GainGoal goal;
        std::vector<GainRanges> ranges;  // per row of the goal
    };
    struct OldRanges {
        uint64_t mark;
        std::vector<GainRanges> ranges;
    };

    void tree(const DualSystem& system);
    void start_gain(const GainClaim& claim);
    void slopes();
    void norm_leaf();
    size_t range_bytes() const;
    enum class Leaf { rule, dual, envelope };
    void leaf(Leaf kind);
    void read_multipliers(size_t rows, Leaf kind);
    int read_multiplier(std::vector<Multiplier>& to, uint64_t index);
    void read_given();
    void read_envelopes();
    uint64_t next_number(uint64_t last, bool first, uint64_t end, const char* reason);
    void statement();
    void keep_stated();
    bool same_place() const;
    void input();
    void unit();
    void push(Branch&& branch);
    void bounds();
    bool is_empty() const;

    void next_child();
    void fix(uint32_t unit, int32_t piece);
    void set_bounds(uint32_t input, double lo, double hi);
    void set_end(uint32_t side, const DualEnd& end);
    uint64_t mark() const { return branches_.empty() ? 0 : branches_.back().mark; }
    DualEnd& end_of(uint32_t side) {
        return (side & 1) != 0 ? cell_.box.hi[side / 2] : cell_.box.lo[side / 2];
    }
    void hold(size_t bytes);

    const DualNet& net_;
    const DualQuestion& question_;
    Body body_;
    std::function<void()> tick_;
    DualDoubles doubles_;
    DualExact exact_;
    DualStats stats_;

    const DualSystem* system_ = nullptr;
    Cell cell_;
    std::vector<Branch> branches_;
    uint64_t marks_ = 0;
    // An entry is kept once per branch: where the marks say that it was changed since the last
    // branch already, the older value is there.
    std::vector<OldBounds> old_bounds_;
    std::vector<OldEnd> old_ends_;
    std::vector<uint64_t> bound_mark_, end_mark_;
    std::vector<uint32_t> fixed_;
    std::unique_ptr<GainGraph> graph_;  // once it was needed
    std::unique_ptr<Gain> gain_;        // while a tree is about gradients
    std::vector<OldRanges> old_ranges_;
    // The bounds that a tree began with, rule after rule; how many of them this tree has had, all
    // once it has split.
    static constexpr size_t kMostFirst = 4;
    size_t at_root_ = 0;
    struct FirstBounds {
        uint64_t rule;
        bool empty;
        std::vector<double> lo, hi;
    };
    struct First {
        int64_t box = -1;
        uint32_t ball = kNothing;
        std::vector<FirstBounds> steps;
    } first_;
    // What the last tree with statements at its beginning knew when it ended; whether this one has
    // begun with some, and begins still.
    struct Stated {
        int64_t box = -1;
        uint32_t ball = kNothing;
        bool empty = false;
        std::vector<double> lo, hi;
    } stated_;
    bool states_ = false, begins_ = false;
    // The last rule for bounds that the node at hand was given.
    static constexpr uint64_t kNoRule = ~uint64_t{0};
    uint64_t last_rule_ = kNoRule;
    size_t held_ = 0;  // bytes of the long numbers and ranges that are kept

    Number number_;
    std::vector<Multiplier> used_;
    Given given_;
    Multiplier around_{};  // of the ball; 0 where it is not used
};

}  // namespace plv::check
