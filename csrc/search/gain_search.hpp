// The search behind gain.hpp, by one thread.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/stop.hpp"
#include "bound/crown.hpp"
#include "bound/jacobian.hpp"
#include "bound/points.hpp"
#include "lp/simplex.hpp"
#include "search/gain.hpp"
#include "search/gain_objective.hpp"
#include "search/leaf.hpp"
#include "search/node.hpp"
#include "search/problem.hpp"
#include "search/walls.hpp"

namespace plv {

// Nodes of the proof that only Lipschitz constants have (docs/proof_format.md).
void put_slopes(std::string& out, int rule);
void put_norm_leaf(std::string& out);

class GainSearch {
public:
    GainSearch(const GainQuestion& question, const CaseProblem& problem, StopToken& stop,
               std::atomic<int64_t>* progress);
    GainResult run();

private:
    struct GainNode {
        Node node;
        std::vector<GradientRanges> ranges;  // one per row of the tree
        double bound = 0.0;
        std::vector<double> point;  // local, with the fixed units on their pieces; may be empty
        bool is_begun = false;      // a visit was broken off
    };
    // A row of a node's program.
    struct ProgramRow {
        FixedUnit fixed{-1, -1, -1};
        int slot = -1;  // of a window: the row is z_piece - z_slot
        int goal = -1;  // else a constraint of the domain
        double scale = 1.0;
        std::vector<Multiplier> multipliers;
    };
    // Rows that are > 0 inside: sides of the box, constraints, and last those of the walls.
    struct ExactCell {
        std::vector<ExactRow> rows;
        std::vector<Wall> walls;
    };
    enum class Answer { leaf, split, unknown };

    // Looking for points.
    void sample();
    void look_at(int count);
    double activation_at(int layer, int unit) const;
    double size_at(int layer, int row) const;
    bool is_inside(const double* s, std::vector<uint8_t>& pattern);
    void offer(const double* s);
    void take(const uint8_t* pattern, Witness witness);

    // The tree of some rows.
    void tree(const std::vector<size_t>& rows);
    Answer visit(GainNode& at, std::string& text, std::vector<GainNode>& children);
    bool is_small(const GainNode& at) const;
    double bound(GainNode& at, bool tight);
    int pick(const GainNode& at) const;
    void split(GainNode& at, int unit, std::string& text, std::vector<GainNode>& children);
    void finish(std::shared_ptr<ProofPart> part, int place, std::string text);
    void close(std::vector<GainNode>& waiting);

    bool refute_by_program(GainNode& at, std::string& text);
    bool contradicts(ProgramRow&& row, const double* slope, double constant, double size);
    bool add_fixed(GainNode& at, int layer);
    Answer decide(GainNode& at, std::string& text, int& unit);
    bool refute_exactly(GainNode& at, std::string& text);
    ExactCell exact_cell(const std::vector<FixedUnit>& path,
                         const std::vector<uint8_t>& pattern) const;
    std::optional<StrictPoint> solve(const GainNode& at, const ExactCell& cell, bool needed);
    void put_walls_leaf(const GainNode& at, const ExactCell& cell,
                        const std::vector<std::pair<int, Int>>& multipliers, std::string& text);
    std::string fix_windows(const GainNode& at, std::string& text);
    std::vector<uint8_t> pattern_of(const GainNode& at) const;
    std::vector<ExactRow> domain_rows() const;
    bool is_met(const GainNode& at);
    bool is_known(const std::vector<uint8_t>& pattern) const;
    void centre(GainNode& at);
    void fix_by_program(GainNode& at, std::string& text);
    void put_dual_leaf(const std::vector<int8_t>& pieces, std::string& text);

    const GainQuestion& question_;
    const CaseProblem& problem_;
    const LocalBox& box_;
    const Net& net_;
    const BoundNet& bound_net_;
    StopToken& stop_;
    std::atomic<int64_t>* progress_;
    const size_t dim_;
    GainObjective objective_;
    Crown crown_;
    JacobianBounds jacobian_;
    Points points_, one_;
    Simplex simplex_, near_;  // of the node's program, and of what is exact
    std::mt19937_64 random_{1};

    GainResult result_;
    double best_ = 0.0;            // the incumbent's value
    std::optional<Int> exact_;     // the same exactly, unless it is spectral
    std::vector<double> best_at_;  // local point near it
    double above_ = 0.0;           // the largest bound of a leaf that is above the incumbent
    std::vector<size_t> rows_;     // of the tree
    ProofText text_;               // of the finished tree
    std::vector<double> weight_, slope_, row_;
    std::vector<ProgramRow> program_;
    bool is_thin_ = false;  // the program leaves no interior that doubles could see
};

}  // namespace plv
