// The search for one case of a property: one box and the constraints that must hold together.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bound/crown.hpp"
#include "lp/exact.hpp"
#include "lp/simplex.hpp"
#include "net/scales.hpp"
#include "search/spec.hpp"
#include "search/verify.hpp"

namespace plv {

class CaseSearch {
public:
    enum class Answer { refuted, violated, unknown };

    // Throws Stopped when stopped, or when `enough` becomes true.
    CaseSearch(std::shared_ptr<const Net> net, const SpecCase& spec, StopToken& stop,
               const std::atomic<bool>& enough, VerifyResult& result,
               std::atomic<int64_t>* progress);
    Answer run();

private:
    // A constraint, as functions that are <= 0 (or < 0) where it holds.
    struct Goal {
        std::vector<double> outputs;  // coefficients
        std::vector<double> slope;    // over s, from the inputs
        double constant = 0.0;
        bool strict = false;
    };
    struct Node {
        std::vector<double> lo, hi;           // over s
        std::vector<uint8_t> cut_lo, cut_hi;  // an end that is not the box's own
        Crown::Fixed fixed;
        LayerBounds bounds;
        int depth = 0;
        bool units = false;  // from here on units are split
    };
    // A unit that is fixed on the path.
    struct FixedUnit {
        int layer, unit, piece;
    };

    // A row of the node's program: a fixed unit's, or a goal's.
    struct ProgramRow {
        int fixed = -1, goal = -1;  // in path_, in goals_
        int slot = -1;              // fixed windows: the row is z_piece - z_slot
        double scale = 1.0;         // of the simplex method's row
        LinearBound bound;
    };

    bool build_domain();
    void build_goals();
    Answer visit(Node& node);
    Answer halve(Node& node);
    Answer split_unit(Node& node, int layer, int unit);
    bool refute_by_program(const Node& node, std::vector<LinearBound>& below,
                           std::vector<double>& point);
    Answer solve_exactly(const Node& node);
    bool pick_unit(const Node& node, const std::vector<LinearBound>& below, const double* point,
                   int& layer, int& unit, int& open) const;
    bool is_open(const Node& node, int layer, int unit) const;

    bool try_point(const double* s);
    bool violated_at(const std::vector<Rational>& x);
    std::vector<Int> outputs_at(const std::vector<Int>& x, const Int& den) const;
    bool holds_nearly(const double* s) const;

    void add_input(int layer, int row, const Int& weight, ExactRow& out) const;
    ExactRow unit_row(int layer, int entry, int minus, const uint8_t* pattern) const;
    ExactRow goal_row(size_t goal, const uint8_t* pattern, Int& scale) const;
    Rational input_value(int k, double s) const;
    uint64_t number(int layer, int unit, int slot) const;

    void put_rule(int goal);
    struct Listed {
        uint64_t number;
        double value;
        bool open;  // of a unit that is neither fixed nor known
    };
    void put_dual(const std::vector<std::pair<int, double>>& mu, std::vector<Listed> listed);
    void put_exact(const std::vector<std::pair<int, Int>>& mu,
                   const std::vector<std::pair<uint64_t, Int>>& listed);
    void put_body(std::vector<std::pair<int, Int>> mu,
                  std::vector<std::pair<uint64_t, Int>> listed);

    std::shared_ptr<const Net> net_;
    const SpecCase& spec_;
    StopToken& stop_;
    const std::atomic<bool>& enough_;
    VerifyResult& result_;
    std::atomic<int64_t>* progress_;
    int dim_ = 0, depth_;
    // Inputs that are not points: t_k = x of free_[k] = center_k + 2^exponent_k s_k.
    std::vector<uint32_t> free_;
    std::vector<int> place_;  // of each input in free_, or -1
    std::vector<double> center_;
    std::vector<int> exponent_;
    Int common_ = 1;             // denominator of the inputs that are points
    std::vector<Int> constant_;  // their values over it; 0 for the others
    std::unique_ptr<Scales> scales_;
    std::unique_ptr<Crown> crown_;
    std::vector<Goal> goals_;
    std::vector<FixedUnit> path_;
    std::vector<std::vector<uint64_t>> first_slot_;  // number of each unit's first slot
    bool limited_ = false;                           // something was too large to go on with
    std::string& out_;
};

}  // namespace plv
