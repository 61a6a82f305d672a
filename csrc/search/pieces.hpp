// The affine maps of one activation region at a time, in doubles: values, gradients, and the region
// beyond a facet.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.hpp"
#include "bound/kernels.hpp"
#include "bound/layers.hpp"

namespace plv {

// One piece per unit, layer after layer: 0 or 1, of windows the slot.
using Pieces = std::vector<int32_t>;

// A pre-activation, less another one where `minus` is not -1. Layer depth: outputs.
struct Entry {
    int layer = 0, entry = 0, minus = -1;
};

// A facet of a region: entry times sign >= 0 inside. `piece`: the unit's piece beyond it.
struct Facet {
    Entry of;
    int unit = 0;  // of the layer
    int piece = 0;
    double sign = 1.0;
};

class PieceMap {
public:
    explicit PieceMap(const BoundNet& net);

    const BoundNet& net() const { return net_; }
    // The pieces that the units take at a point; the values there are kept. Ties take the first.
    void at(const double* x, Pieces& pieces);
    // The values at a point under given pieces.
    void evaluate(const double* x, const Pieces& pieces);
    // Of the last of these.
    double value(int layer, int entry) const { return z_[layer][entry]; }
    double value(const Entry& e) const {
        return z_[e.layer][e.entry] - (e.minus < 0 ? 0.0 : z_[e.layer][e.minus]);
    }
    // The largest absolute value of a layer.
    double scale(int layer) const;

    // Gradients in the input under pieces, one per entry, each of net().dim numbers.
    void gradients(const std::vector<Entry>& entries, const Pieces& pieces, double* out);

    // All inequalities of a unit's piece.
    template <typename Visit>
    void facets(int layer, int unit, int piece, Visit visit) const {
        const Layer& of = net_.net.layers[layer];
        if (!of.is_max()) {
            if (!of.one_piece[unit])
                visit(Facet{{layer, unit, -1}, unit, 1 - piece, piece ? 1.0 : -1.0});
            return;
        }
        for (int s = 0; s < of.slots; ++s)
            if (s != piece && of.entry(unit, s) >= 0)
                visit(Facet{{layer, of.entry(unit, piece), of.entry(unit, s)}, unit, s, 1.0});
    }

    // The pieces of the region beyond a facet: those at x + eps * towards for a small eps. x lies
    // on the facet; units listed in `held` lie on theirs, too, and keep their pieces.
    void beyond(const double* x, const double* towards, const Facet& facet,
                const std::vector<Facet>& held, const Pieces& pieces, Pieces& out);

private:
    void forward(const LinearMap& map, const double* from, double* to) const;
    void affine(int layer, const double* x, bool constant,
                const std::vector<AlignedVector<double>>& from, AlignedVector<double>& to) const;
    double through(const Layer& layer, int unit, int piece, const double* z) const;

    const BoundNet& net_;
    const BoundKernels& kernels_;
    std::vector<AlignedVector<double>> z_, a_, dz_, da_;
    // Of gradients(): kLane vectors side by side.
    std::vector<AlignedVector<double>> back_;
    AlignedVector<double> h_, input_;
    std::vector<int> all_, live_;
};

}  // namespace plv
