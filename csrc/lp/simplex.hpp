// The primal simplex method on a small dense dictionary in doubles: what guesses vertices, points
// and multipliers. Nothing that it says is believed; its callers verify.
//
// The polyhedron is a box and rows a . x + c >= 0. A cell of a split tree starts from a copy of
// its parent's dictionary, which is at a vertex of the cell, so there is no first phase and a
// question costs a few pivots.
#pragma once

#include <cstddef>
#include <vector>

namespace plv {

class Simplex {
public:
    // The box lo <= x <= hi: rows 0 .. d-1 are x - lo, rows d .. 2 d - 1 are hi - x.
    void start(int dim, const double* lo, const double* hi);
    void copy_from(const Simplex& other);

    int dim() const { return dim_; }
    int rows() const { return rows_; }
    int pivots() const { return pivots_; }  // since start()

    // Adds a row, which must not be negative at the current vertex (but for rounding).
    void add_row(const double* a, double c);
    // Takes back the row added last; it must be basic, as it is until the next pivot.
    void drop_row();

    enum class End { positive, optimal, failed };
    // Walks to larger values of a . x + c: until it exceeds `enough`, or no larger value exists.
    // `failed`: too many pivots or numbers that are of no use.
    End maximize(const double* a, double c, double enough);
    // Of the last maximize(): the value at the vertex, and where it ended as `optimal`, multipliers
    // y > 0 of rows with a . x + c + sum of y row = the value.
    double value() const { return goal_[static_cast<size_t>(dim_)]; }
    void multipliers(std::vector<int>& rows, std::vector<double>& y) const;

    // The value of a . x + c at the current vertex.
    double at_vertex(const double* a, double c) const;
    double coordinate(int k) const;  // of the vertex
    // The mean of the vertex and its neighbours: inside, unless the vertex is degenerate.
    void inner_point(double* x);
    // The rows that are tight at the vertex by construction.
    const std::vector<int>& tight() const { return nonbasic_; }

private:
    double* row(int r) { return table_.data() + static_cast<size_t>(r) * stride_; }
    const double* row(int r) const { return table_.data() + static_cast<size_t>(r) * stride_; }
    void express(const double* a, double c, double* out) const;
    void pivot(int r, int s);

    int dim_ = 0, rows_ = 0, stride_ = 0, pivots_ = 0;
    std::vector<double> lo_;
    std::vector<double> table_;  // basic rows, by rows: dim coefficients of nonbasics, the constant
    std::vector<double> goal_, step_;
    std::vector<int> basic_, nonbasic_;
    std::vector<int> where_;  // of each row: its place in the table, or ~ its column
};

}  // namespace plv
