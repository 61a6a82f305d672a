// Enumeration of the activation regions of a network over a domain of up to eight dimensions, with
// vertices.
//
// Depth first over the layers. A cell of layer l is a polytope (in the plane a polygon) on which
// all layers below l have one pattern, so layer l's units are affine on it; the units whose
// hyperplane crosses it (their *conflict list*) split it one after the other, each child inheriting
// the part of the list that still crosses it. What is left when the list is empty is a cell of
// layer l + 1, whose map follows from that of the previous sibling by adding the columns of the
// units that flipped. Only the path from the root to the current cell is in memory.
//
// Exactness: every sign is either decided in floating point inside a proven bound (kernels.hpp,
// geom/vertex.hpp) or asked of the exact point (exact.hpp). A unit splits a cell if and only if it
// is strictly positive at one vertex and strictly negative at another; a zero at a vertex belongs
// to both children. Hence the cells are the exact ones, whatever the rounding.
//
// Parallel work: every thread walks the top of the split tree (down to `claim_depth` splits) by
// itself and claims the subtrees below it one by one from a shared counter; each subtree starts
// from freshly computed maps. So the result is the same to the last bit for any number of threads,
// ordered by the subtree and then by the walk.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <tuple>
#include <vector>

#include "base/stop.hpp"
#include "region/problem.hpp"

namespace plv {

enum class Decide : int {
    filtered = 0,      // floating point inside its bounds, exact where undecided
    exact_points = 1,  // the same, and every vertex is interned exactly
    exact_signs = 2,   // every sign is asked of the exact points; for tests
};

struct EnumerateOptions {
    int threads = 1;
    Decide decide = Decide::filtered;
    bool unchecked = false;  // no bound at all: what the filter costs is measured against this.
                             // Never for answers.
    bool portable = false;   // vector kernels without special instructions; for tests
};

struct EnumerateStats {
    double cpu_seconds = 0.0;
    std::vector<uint64_t> unit_tests;   // per layer: units tested against cells
    std::vector<uint64_t> undecided;    // per layer: of these, not settled by the vector test
    std::vector<uint64_t> exact_signs;  // per layer: signs asked of exact points
    uint64_t exact_points = 0;          // points interned
    uint64_t exact_passes = 0;          // exact forward passes
    void add(const EnumerateStats& other);
};

// A run of regions in walking order, as flat arrays. Coordinates are the user's. In one and two
// dimensions facet k of a region goes from its vertex k to the next (in 1-D it is that vertex), and
// the arrays of facets below are those of vertices; from three on facets are listed on their own.
template <int D>
struct RegionBatch {
    int64_t subtree = 0;
    int64_t count = 0;
    std::vector<uint8_t> patterns;      // count x pattern_bytes
    std::vector<int32_t> vertex_count;  // count
    std::vector<double> vertices;       // all vertices x D; a direction for a vertex at infinity
    std::vector<int32_t> line_layer;    // all facets: whose line it lies on
    std::vector<int32_t> line_unit;   // constraint or side number for negative kinds (see LineKind)
    std::vector<int32_t> line_piece;  // the unit's piece beyond the facet; -1 for negative kinds
    std::vector<uint8_t> flags;       // all vertices, bit 0: at infinity
    std::vector<uint8_t> coincident;  // all facets: 1 if other units vanish all over it as well
    std::vector<int32_t> facet_count;   // count; empty in one and two dimensions
    std::vector<int32_t> facet_size;    // all facets: how many vertices lie on it; likewise
    std::vector<int32_t> facet_vertex;  // their numbers in the region, facet after facet; likewise
    std::vector<int32_t> points;        // exact mode: index into `exact`
    std::vector<ExactPoint<D>> exact;   // the user's coordinates, canonical
    std::vector<double> jacobian;       // count x outputs x D
    std::vector<double> offset;         // count x outputs
    std::vector<double> map_error;  // count: bound of every entry of the local map's rows, summed
                                    // over their columns

    // All arrays but `exact`.
    auto arrays() {
        return std::tie(patterns, vertex_count, vertices, line_layer, line_unit, line_piece, flags,
                        coincident, facet_count, facet_size, facet_vertex, points, jacobian, offset,
                        map_error);
    }
};

// Where two outputs tie for the maximum: an edge of a cell on which outputs i < j are equal and no
// other is larger. With `open_set` they are equal on the whole cell, of which this is an edge.
template <int D>
struct TieSegment {
    ExactPoint<D> from, to;  // the user's coordinates
    int32_t i, j;
    bool open_set = false;
};

// What a run is for. `regions` and `ties` are called from worker threads, one call at a time.
template <int D>
struct Sink {
    std::function<void(RegionBatch<D>&&)> regions;  // null: count only
    std::function<void(int64_t subtree, std::vector<TieSegment<D>>&&)>
        ties;  // non-null: the decision boundary instead
    int64_t batch = 4096;
};

struct EnumerateResult {
    int64_t count = 0;  // regions found; all of them if complete
    bool complete = false;
    StopReason reason = StopReason::none;
    std::vector<uint8_t> ever_on,
        ever_off;  // per unit over all regions found: seen with bit 1, with bit 0
    EnumerateStats stats;
};

template <int D>
EnumerateResult enumerate(const Problem<D>& problem, const EnumerateOptions& options,
                          const Sink<D>& sink, StopToken& stop,
                          std::atomic<int64_t>* progress = nullptr);

}  // namespace plv
