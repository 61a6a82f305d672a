// The search of one case by one thread: visits nodes, which end as leaves of the proof or make
// children.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/stop.hpp"
#include "bound/crown.hpp"
#include "lp/simplex.hpp"
#include "search/attack.hpp"
#include "search/leaf.hpp"
#include "search/node.hpp"
#include "search/problem.hpp"
#include "search/verify.hpp"

namespace plv {

class CaseSearch {
public:
    CaseSearch(const CaseProblem& problem, StopToken& stop, VerifyResult& counts);

    Node root() const;
    enum class Answer { refuted, violated, split, unknown };
    // What is written of the node goes to `text`; the children of a split are appended to
    // `children`, the first to be visited last. `unknown`: given up on. Throws Stopped when
    // stopped.
    Answer visit(Node&& node, std::string& text, std::vector<Node>& children);
    // Of the last visit, where the answer is `violated`.
    Witness& witness() { return *witness_; }

private:
    // A row of a node's program: a fixed unit's, or a goal's.
    struct ProgramRow {
        int fixed = -1, goal = -1;  // in the path, in the goals
        int slot = -1;              // fixed windows: the row is z_piece - z_slot
        double scale = 1.0;         // of the simplex method's row
        double size = 0.0;
        LinearBound bound;
        std::vector<Multiplier> multipliers;
    };
    struct Pick {
        int layer = -1, unit = -1;
        int open = 0;
    };

    Answer halve(Node&& node, std::string& text, std::vector<Node>& children);
    Answer split_unit(Node&& node, const Pick& pick, std::string& text,
                      std::vector<Node>& children);
    Answer solve_exactly(const Node& node, std::string& text);
    bool refute_by_goals(Node& node, std::string& text);
    bool refute_by_program(Node& node, std::string& text);
    bool contradicts(ProgramRow&& row, double sign);
    void below(int layer, const LinearForm& form, const CellView& cell, ProgramRow& row);
    LinearForm form_of(size_t goal) const;
    Pick pick_unit(Node& node, const double* point);
    int best_side(const Node& node) const;
    bool try_point(const double* s);

    const CaseProblem& problem_;
    const LocalBox& box_;
    const Net& net_;
    StopToken& stop_;
    VerifyResult& counts_;
    const int dim_, depth_;
    Crown crown_;
    Points at_;  // one point
    Attack attack_;
    int attacks_ = 0;
    std::optional<Witness> witness_;

    std::vector<LinearForm> forms_;
    std::vector<LinearBound> below_;
    std::vector<double> point_;
    // Of each goal's bound: what the lines of open units cost it.
    std::vector<std::vector<Multiplier>> used_;
    std::vector<double> gain_;  // of halving each side
    Simplex simplex_;
    std::vector<ProgramRow> rows_;
    std::vector<double> row_;
    bool lost_ = false;  // the simplex method failed
};

}  // namespace plv
