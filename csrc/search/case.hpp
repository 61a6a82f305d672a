// The search of one case by one thread: visits nodes, which end as leaves of the proof or make
// children.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.hpp"
#include "bound/ascent.hpp"
#include "bound/crown.hpp"
#include "lp/nearest.hpp"
#include "lp/simplex.hpp"
#include "search/attack.hpp"
#include "search/contract.hpp"
#include "search/leaf.hpp"
#include "search/node.hpp"
#include "search/problem.hpp"
#include "search/verify.hpp"
#include "search/walls.hpp"

namespace plv {

class CaseSearch {
public:
    CaseSearch(const CaseProblem& problem, bool attack, StopToken& stop, VerifyResult& counts);

    Node root() const;
    enum class Answer { refuted, violated, split, unknown };
    // Of a visit: what is written of the node, and of a split the children that wait, the first to
    // be visited last, and the text of those that are refuted already, by their place. `unknown`:
    // given up on.
    struct Outcome {
        Answer answer = Answer::unknown;
        std::string text;
        std::vector<Node> children;
        std::vector<std::pair<int, std::string>> leaves;
        // Of a root: bounds stated once for all cases of its box, after the first `begun` bytes.
        std::shared_ptr<const std::string> stated;
        size_t begun = 0;
    };
    // How many nodes are best visited together.
    size_t together() const;
    // Ends with the first violation. Throws Stopped when stopped.
    void visit(std::vector<Node>& nodes, std::vector<Outcome>& out);
    // Tries points of earlier visits that wait for others; whether one is a violation.
    bool try_waiting();
    // What the last visit or try found.
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
    // A part of a side that is refuted, by a leaf.
    struct Cut {
        int side;
        bool above;  // what is cut off
        double at;
        double left;  // share of the side
        std::string leaf;
    };
    static constexpr int kMostOfPrograms = 150;  // inputs
    struct Pick {
        int layer = -1, unit = -1;
    };

    Answer visit_one(Node&& node, Outcome& out);
    void bound_goals(const CellView& cell);
    void keep_goals(Node& node) const;
    bool tighten(Node& node, std::string& text);
    // cut.cpp
    bool inside(const Node& node, int side, double value) const;
    Cut cut_at(const Node& node, int side, bool above, double value) const;
    void cut_by_goals(const Node& node, std::vector<Cut>& cuts) const;
    void cut_by_program(const Node& node, std::vector<Cut>& cuts);
    void cut_by_ascent(const Node& node, int lane, std::vector<Cut>& cuts);
    Answer cut(Node&& node, std::vector<Cut>& cuts, Outcome& out);
    Answer halve(Node&& node, Outcome& out);
    void condense(Node& node) const;
    Answer split_unit(Node&& node, const Pick& pick, Outcome& out);
    // many.cpp
    bool climb(std::vector<Node>& nodes, std::vector<Outcome>& out);
    bool begin(Node& node, Outcome& out);
    bool bound_again(Node& node, Outcome& out);
    bool worth_improving(Node& node) const;
    void improve(Node& node, Outcome& out);
    void state_bounds(Ascent& ascent, int layer, const std::vector<int>& rows, Node& node,
                      std::string& text);
    std::vector<ListedEnvelope> listed_envelopes(const Ascent::Shown& shown) const;
    bool affine_refuted(Node& node, std::string& text);
    bool program_pays(Node& node, std::string& text, std::vector<Cut>* cuts = nullptr);
    // The pieces of a unit, and whether bounds tell that a slot is never the largest.
    std::vector<std::pair<int, bool>> pieces_of(const Node& node, int layer, int unit) const;
    std::vector<int> promising(const Node& node, const std::vector<Ascent::Loss>& losses);
    void split_best(Node&& node, const std::vector<Ascent::Loss>& losses, Outcome& out);
    void write_shown(const std::vector<FixedUnit>& path, const Ascent::Shown& shown,
                     std::string& text);
    // program.cpp
    // settle.cpp
    bool crawls(const Node& node, const std::vector<Ascent::Loss>& losses) const;
    std::optional<Answer> settle(Node& node, Outcome& out);
    Pick most_wrong(Node& node);
    bool is_decided(Node& node, int layer, int unit) const;
    Answer split_wrong(Node&& node, const Pick& pick, Outcome& out);
    bool settle_exactly(Node& node, std::string& text, Pick& pick);
    Pick other_piece(Node& node, const uint8_t* pattern);
    Pick off_piece(Node& node, const uint8_t* pattern, bool decided);
    bool list_open(Node& node, const uint8_t* pattern, std::vector<std::pair<int, Int>>& goals,
                   std::vector<std::pair<uint64_t, Int>>& listed, Pick& pick);
    // exact_leaf.cpp
    struct ExactSystem {
        std::vector<ExactRow> rows;  // the sides of the box first
        std::vector<uint8_t> strict;
        std::vector<Wall> walls;
        std::vector<Int> goal_scales;
        size_t sides = 0, first_goal = 0;
        // The multipliers of goals and unit inputs in a proof, of those of rows.
        void list(const std::vector<std::pair<int, Int>>& multipliers,
                  std::vector<std::pair<int, Int>>& goals,
                  std::vector<std::pair<uint64_t, Int>>& listed) const;
    };
    std::vector<uint8_t> pattern_of(const Node& node, const Points* at) const;
    ExactSystem exact_system(const Node& node, const uint8_t* pattern) const;
    Answer solve_exactly(const Node& node, std::string& text);
    std::optional<StrictPoint> refute_in_ball(const Node& node, const std::vector<ExactRow>& all,
                                              const std::vector<uint8_t>& strict);
    bool refute_by_goals(Node& node, std::string& text);
    bool refute_jointly(Node& node, std::string& text);
    const std::vector<Multiplier>& lines_of(size_t goal, const CellView& cell);
    void gain_by(const CellView& cell, const std::vector<Multiplier>& used, double weight);
    // `affine`: no unit is open.
    bool refute_by_program(Node& node, std::string& text, bool affine = false);
    void start_program(const CellView& cell);
    bool contradicts(ProgramRow&& row, const CellView& cell);
    bool out_of_reach(ProgramRow&& row, const CellView& cell);
    void below(int layer, const LinearForm& form, const CellView& cell, ProgramRow& row);
    void rows_of_path(const Node& node, const CellView& cell, std::vector<ProgramRow>& rows);
    void rows_of_goals(const CellView& cell, std::vector<ProgramRow>& rows);
    double weigh_rows(std::vector<double>& weight);
    void write_program(const Node& node, const std::vector<double>& weight,
                       std::string& text) const;
    int open_units(Node& node) const;
    Pick pick_unit(Node& node, const double* point);
    int best_side(const Node& node) const;
    bool try_point(const double* s);
    void try_points(const CellView& cell);
    bool is_violation(const Points& points, int lane, const double* s);

    const CaseProblem& problem_;
    const LocalBox& box_;
    const Net& net_;
    StopToken& stop_;
    VerifyResult& counts_;
    const int dim_, depth_;
    const LocalBall* ball_ = nullptr;
    const bool attacks_on_;
    bool climbs_ = false;
    bool pooled_ = false;  // there are windows
    Crown crown_;
    Points at_;        // one point
    Points tried_at_;  // points that may be violations
    int waiting_ = 0;  // those that were not evaluated
    Attack attack_;
    std::unique_ptr<Ascent> ascent_;
    // What splits to one piece of a unit raised the bound by, and the losses before, in sum.
    struct Tried {
        double gain = 0.0, loss = 0.0;
        int count = 0;
        void add(double by, double of) {
            gain += by;
            loss += of;
            ++count;
        }
    };
    std::vector<std::array<Tried, 2>> tried_;
    int wait_ = 0, skip_ = 0;  // nodes between programs
    int attacks_ = 0;
    std::optional<Witness> witness_;

    std::optional<Contraction> contraction_;
    std::vector<LinearForm> forms_;
    std::vector<LinearBound> below_;  // by default lines
    std::vector<double> point_;
    // Of goals' bounds that counted last: what the lines of open units cost them.
    std::vector<std::vector<Multiplier>> used_;
    std::vector<double> cost_;  // of each goal: what these lines cost it, in sum
    std::vector<double> gain_;  // of halving each side
    double left_ = 0.0;         // of what lines cost the goals, where these have most left
    bool joint_ = false;        // several goals are weighed against each other in every node
    bool narrows_ = false;      // bounds need to hold for violations only
    Simplex simplex_;
    Nearest nearest_;
    std::vector<ProgramRow> rows_;
    std::vector<double> row_;
    bool in_ball_ = false;  // what the program is
    bool lost_ = false;     // it failed
};

}  // namespace plv
