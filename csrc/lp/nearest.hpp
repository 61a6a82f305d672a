// The point of a small polyhedron within a box that is nearest to the origin, in l1, l2 or linf: a
// dual active-set method in doubles. Nothing that it says is believed; its callers verify.
//
// The box lo <= d <= hi holds the origin (not needed in l2) and is never made of rows: given the
// multipliers y of the tight rows, a coordinate d_j depends on the one number w_j = (sum of y
// row)_j, in l2 as w_j cut off at the box, in the other norms by thresholds (they are piecewise
// linear, so a coordinate may also be basic: w_j stays on a threshold and the tight rows determine
// d_j). So all systems that are solved are as small as the number of tight rows, whatever the
// dimension.
//
// Rows may be added at any time. solve() goes on from the multipliers it stands at: it takes what
// is violated most and raises its multiplier until it holds; the sets change on the way as
// coordinates reach thresholds and multipliers reach zero (Goldfarb and Idnani 1983 for l2; the
// bounded dual simplex method for the others, with long steps in l1 and variable upper bounds
// |d_j| <= r in linf). The distance only grows, so that at every step it is a lower bound, but for
// rounding, of the distance with all rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace plv {

enum class Norm { l1, l2, linf };

// Where a coordinate of the nearest point is: determined by the tight rows (in l2 a multiple of the
// rows added up with their multipliers), 0, at an end of the box, or as far away as any.
enum class Place : int8_t { free, still, low, high, minus_radius, plus_radius };

// Of a vector; the dual norm is its largest product with vectors of norm 1.
double norm_of(Norm norm, const double* v, int n);
double dual_norm_of(Norm norm, const double* v, int n);

class Nearest {
public:
    // lo <= 0 <= hi (in l2 lo <= hi), infinite where there is no bound.
    void start(Norm norm, int dim, const double* lo, const double* hi);
    // Adds the row a . d >= b; the rows are numbered from 0.
    void add_row(const double* a, double b);

    // `failed`: too many steps, or numbers that are of no use.
    enum class End { optimal, infeasible, failed };
    // Ends early, as `optimal`, once the distance exceeds `enough`.
    End solve(double enough);

    const std::vector<double>& point() const { return d_; }
    double distance() const { return norm_of(norm_, d_.data(), dim_); }
    int rows() const { return static_cast<int>(bound_.size()); }
    const double* row(int i) const {
        return table_.data() + static_cast<size_t>(i) * static_cast<size_t>(dim_);
    }
    double bound(int i) const { return bound_[i]; }
    double row_size(int i) const { return size_[i]; }  // dual norm
    double shortage(int row) const;                    // b - a . d
    // Rows that have positive multipliers, and these.
    const std::vector<int>& tight() const { return tight_; }
    const std::vector<double>& multipliers() const { return y_; }
    Place place(int j) const;

private:
    // Of a coordinate: at that end of its range (in linf the end of the ball or the box, whichever
    // is nearer), free in l2 and 0 in l1, or determined by the tight rows.
    enum Side : int8_t { low = -1, middle = 0, high = 1, basic = 2 };
    // What a step is to repair: a row, or the basic coordinate at a place and its end.
    struct Fault {
        double size = 0.0;
        int row = -1, place = -1;
        Side side = middle;
    };

    Fault worst_row() const;
    void weigh();  // w from the multipliers
    void remove_tight(size_t place);

    End solve_l2(double enough);
    bool raise_l2(int row);
    void settle_l2();

    End solve_lp(double enough);
    End stand();
    bool find_radius(double goal);
    Fault worst() const;
    End step(const Fault& fault);
    void directions(const Fault& fault);
    void leave(const Fault& fault);
    int first_sign(double block) const;
    bool flip_weightless();
    int pass_thresholds(double slope, double block, double& end);
    bool at_radius(size_t j) const;

    Norm norm_ = Norm::l2;
    int dim_ = 0;
    std::vector<double> lo_, hi_, table_, bound_, size_;
    std::vector<int> tight_;
    std::vector<double> y_;
    std::vector<uint8_t> is_tight_;
    std::vector<double> d_, w_, g_;
    std::vector<Side> side_;
    std::vector<int> basic_;    // l1 and linf
    std::vector<double> ends_;  // l1, of basic coordinates: the threshold, 1 or -1
    double radius_ = 0.0;       // linf
    int flips_ = 0;
    std::vector<double> matrix_, delta_, rhs_;  // scratch
};

}  // namespace plv
