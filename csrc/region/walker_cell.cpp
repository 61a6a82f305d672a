// Cells of the walk: polygons as rings of vertices, polytopes as vertices with facets and edges,
// and how a line cuts them.
//
// A polytope is split by signs at its vertices alone. A new vertex lies on every edge whose ends
// have opposite signs; the facets through it are those through both ends. Two vertices on the cut
// are joined by an edge of the cut if no third one lies on all the facets that both share; where
// every crossing edge lies on dim - 1 facets (general position), sharing dim - 2 is enough.
#include <algorithm>
#include <bit>

#include "region/walker.hpp"

namespace plv {

namespace {

// Cuts of more vertices look their neighbours up instead of trying all pairs.
constexpr int kManyCuts = 24;

int count_bits(const uint64_t* words, int n) {
    int out = 0;
    for (int k = 0; k < n; ++k) out += std::popcount(words[k]);
    return out;
}

// Whether a word has exactly n bits, for small n; the baseline instruction set cannot count them.
bool has_bits(uint64_t word, int n) {
    for (; n > 0 && word; --n) word &= word - 1;
    return n == 0 && word == 0;
}

template <class F>
void each_bit(const uint64_t* words, int n, F&& f) {
    for (int k = 0; k < n; ++k) for_each_bit(words[k], 64 * k, f);
}

bool covers(const uint64_t* outer, const uint64_t* inner, int n) {
    for (int k = 0; k < n; ++k)
        if (inner[k] & ~outer[k]) return false;
    return true;
}

}  // namespace

template <int D>
typename Walker<D>::Mark Walker<D>::mark() const {
    return {vertices_.size(), lines_.size(), bits_.size(), facets_.size(), edges_.size()};
}

template <int D>
void Walker<D>::release(const Mark& to) {
    vertices_.shrink(to.vertices);
    lines_.resize(to.lines);
    bits_.shrink(to.bits);
    facets_.shrink(to.facets);
    edges_.shrink(to.edges);
}

template <int D>
VertexBlock Walker<D>::block(Cell cell) const {
    VertexBlock out{vertices_[cell.at].x, static_cast<int>(sizeof(Vertex<D>) / sizeof(double)),
                    cell.n, 1.0, 0.0};
    for (int k = 0; k < cell.n; ++k) {
        out.rho = std::max(out.rho, vertices_[cell.at + k].rho);
        out.delta = std::max(out.delta, vertices_[cell.at + k].delta);
    }
    return out;
}

template <int D>
typename Walker<D>::Cell Walker<D>::root_cell() {
    Cell root{vertices_.size(), static_cast<int>(problem_.corners.size())};
    for (const DomainCorner<D>& corner : problem_.corners) {
        Vertex<D> v{};
        for (int k = 0; k < D; ++k)
            v.x[k] =
                Int::ratio(corner.at.infinite ? corner.at.q[k] : corner.at.p[k], corner.at.den);
        v.x[D] = corner.at.infinite ? 0.0 : 1.0;
        for (int k = 0; k < D; ++k)
            v.delta = std::max(v.delta, std::fabs(v.x[k]) * 0x1p-51 + 1e-300);
        detail::finish_vertex(v);
        v.point = options_.decide == Decide::filtered ? -1 : points_.intern(corner.at);
        v.line = corner.line;
        vertices_.push(v);
    }
    if constexpr (D > 2) {
        std::vector<int> used;
        for (const DomainCorner<D>& corner : problem_.corners)
            used.insert(used.end(), corner.on.begin(), corner.on.end());
        std::sort(used.begin(), used.end());
        used.erase(std::unique(used.begin(), used.end()), used.end());
        root.facet_count = static_cast<int>(used.size());
        root.words = (root.facet_count + 1 + 63) / 64;
        root.facets = facets_.size();
        for (int line : used) facets_.push({line, 0});
        root.bits = bits_.size();
        uint64_t* bits = bits_.grow(static_cast<size_t>(root.n) * root.words);
        std::fill_n(bits, static_cast<size_t>(root.n) * root.words, uint64_t{0});
        for (const DomainCorner<D>& corner : problem_.corners) {
            for (int line : corner.on) {
                const auto f = std::lower_bound(used.begin(), used.end(), line) - used.begin();
                bits[f >> 6] |= uint64_t{1} << (f & 63);
            }
            bits += root.words;
        }
        root.edges = edges_.size();
        std::vector<uint64_t> shared(static_cast<size_t>(root.words));
        const auto of = [&](int k) { return bits_.data() + root.bits + k * root.words; };
        for (int u = 0; u < root.n; ++u)
            for (int v = u + 1; v < root.n; ++v) {
                for (int w = 0; w < root.words; ++w) shared[w] = of(u)[w] & of(v)[w];
                if (count_bits(shared.data(), root.words) < D - 1) continue;
                int found = 0;
                for (int k = 0; k < root.n; ++k) found += covers(of(k), shared.data(), root.words);
                if (found == 2) edges_.push({u, v});
            }
        root.edge_count = static_cast<int>(edges_.size() - root.edges);
    }
    return root;
}

// The same cell with vertices and facets of its own.
template <int D>
typename Walker<D>::Cell Walker<D>::copy_cell(const Cell& cell) {
    Cell out = cell;
    out.at = vertices_.size();
    for (int v = 0; v < cell.n; ++v) vertices_.push(vertices_[cell.at + v]);
    out.facets = facets_.size();
    for (int f = 0; f < cell.facet_count; ++f) facets_.push(facets_[cell.facets + f]);
    return out;
}

// ---------------------------------------------------------------------------------------------------------------
// splitting

// children[1] is where the line's function is positive.
template <int D>
void Walker<D>::build_children(Cell cell, const int8_t* signs, int32_t line, Cell children[2]) {
    if constexpr (D == 1) {
        const Vertex<1> cut = new_vertex(line, line);
        const Vertex<1> left = vertices_[cell.at], right = vertices_[cell.at + 1];
        const size_t at = vertices_.size();
        for (const Vertex<1>& v : {left, cut, cut, right}) vertices_.push(v);
        const bool left_positive = signs[0] > 0;
        children[left_positive ? 1 : 0] = {at, 2};
        children[left_positive ? 0 : 1] = {at + 2, 2};
    } else if constexpr (D == 2) {
        // One pass around the cell; the boundary changes sign twice, at a vertex with sign 0 or
        // inside an edge.
        const size_t room = static_cast<size_t>(cell.n) + 2;
        Vertex<2>* const base = vertices_.grow(2 * room);
        const Vertex<2>* const from = vertices_.data() + cell.at;
        Vertex<2>* to[2] = {base, base + room};
        int cuts = 0;
        const auto put = [&](int side, const Vertex<2>& v, bool leaving) {
            *to[side] = v;
            if (leaving) {
                to[side]->line = line;
                to[side]->coincident = 0;
            }
            ++to[side];
        };
        for (int k = 0; k < cell.n; ++k) {
            const int here = signs[k], next = signs[k + 1 == cell.n ? 0 : k + 1];
            if (here >= 0) put(1, from[k], here == 0 && next < 0);
            if (here <= 0) put(0, from[k], here == 0 && next > 0);
            if (here * next < 0) {
                PLV_CHECK(++cuts <= 2);
                Vertex<2> cut = new_vertex(from[k].line, line);
                cut.line = from[k].line;
                cut.coincident = from[k].coincident;
                put(1, cut, here > 0);
                put(0, cut, here < 0);
            }
        }
        for (int side = 0; side < 2; ++side) {
            Vertex<2>* const first = base + static_cast<size_t>(side) * room;
            children[side] = {static_cast<size_t>(first - vertices_.data()),
                              static_cast<int>(to[side] - first)};
            for (Vertex<2>* gap = to[side]; gap < first + room; ++gap) gap->point = -1;
        }
    } else {
        split_polytope(cell, signs, line, children);
    }
}

// Fills cuts_, touching_ and cut_bits_.
template <int D>
void Walker<D>::find_cuts(const Cell& cell, const int8_t* signs) {
    cuts_.shrink(0);
    touching_.shrink(0);
    cut_bits_.shrink(0);
    const uint64_t* bits = bits_.data() + cell.bits;
    const auto words = static_cast<size_t>(cell.words);
    Edge* to = cuts_.grow(static_cast<size_t>(cell.edge_count));
    const Edge* edges = edges_.data() + cell.edges;
    size_t found = 0;
    for (int e = 0; e < cell.edge_count; ++e) {
        to[found] = edges[e];
        found += (signs[edges[e].u] ^ signs[edges[e].v]) == (1 ^ -1);
    }
    cuts_.shrink(found);
    uint64_t* shared = cut_bits_.grow(found * words);
    for (size_t j = 0; j < found; ++j)
        for (size_t w = 0; w < words; ++w)
            *shared++ = bits[to[j].u * words + w] & bits[to[j].v * words + w];
    for (int k = 0; k < cell.n; ++k) {
        if (signs[k] != 0) continue;
        touching_.push(k);
        std::copy_n(bits + k * words, words, cut_bits_.grow(words));
    }
}

// Whether an edge lies on no more than `few` facets, given the facets through it.
template <int D>
bool Walker<D>::is_simple(const uint64_t* facets, int words, int few) {
    return words == 1 ? has_bits(*facets, few) : count_bits(facets, words) == few;
}

// Fills joins_ with the edges between vertices on the cut.
template <int D>
void Walker<D>::join_cuts(const Cell& cell, bool simple) {
    joins_.shrink(0);
    const int n = static_cast<int>(cuts_.size() + touching_.size()), words = cell.words;
    const uint64_t* bits = cut_bits_.data();
    const int old = static_cast<int>(cuts_.size());
    const int dimension = dimension_;
    if (simple && words == 1) {
        if (n <= kManyCuts) {
            for (int a = 0; a < n; ++a)
                for (int b = a + 1; b < n; ++b)
                    if (has_bits(bits[a] & bits[b], dimension - 2)) joins_.push({a, b});
            return;
        }
        // Every set of dim - 2 facets through one vertex is shared with exactly one other: found
        // in a table of open addressing, the first of the two waiting for the second.
        const auto keys = static_cast<size_t>(n) * static_cast<size_t>(dimension - 1);
        const int log = std::bit_width(2 * keys);
        const size_t mask = (size_t{1} << log) - 1;
        if (pairing_.size() <= mask || ++pairing_stamp_ == 0) {
            pairing_.assign(std::max(pairing_.size(), mask + 1), {0, 0, 0});
            pairing_stamp_ = 1;
        }
        Waiting* const table = pairing_.data();
        const uint32_t stamp = pairing_stamp_;
        Edge* end = joins_.grow(keys);
        const Edge* const first = end;
        for (int32_t a = 0; a < n; ++a)
            for (uint64_t left = bits[a]; left; left &= left - 1) {
                const uint64_t key = bits[a] & ~(left & -left);
                size_t at = (key * 0x9e3779b97f4a7c15u) >> (64 - log);
                while (table[at].stamp == stamp && table[at].key != key) at = (at + 1) & mask;
                if (table[at].stamp == stamp)
                    *end++ = {table[at].first, a};
                else
                    table[at] = {key, a, stamp};
            }
        joins_.shrink(static_cast<size_t>(end - first));
        PLV_CHECK(2 * joins_.size() == keys);
        return;
    }
    shared_.resize(static_cast<size_t>(words));
    for (int a = 0; a < n; ++a) {
        const uint64_t* first = bits + static_cast<size_t>(a) * words;
        for (int b = a + 1; b < n; ++b) {
            const uint64_t* second = bits + static_cast<size_t>(b) * words;
            for (int w = 0; w < words; ++w) shared_[w] = first[w] & second[w];
            if (count_bits(shared_.data(), words) < dimension - 2) continue;
            bool alone = true;
            for (int c = 0; c < n && alone; ++c)
                alone = c == a || c == b ||
                        !covers(bits + static_cast<size_t>(c) * words, shared_.data(), words);
            if (!alone) continue;
            if (a >= old) {  // two old vertices: their edge may be there already
                const int32_t u = touching_[a - old], v = touching_[b - old];
                const Edge* edges = edges_.data() + cell.edges;
                if (std::any_of(edges, edges + cell.edge_count, [&](const Edge& e) {
                        return (e.u == u && e.v == v) || (e.u == v && e.v == u);
                    }))
                    continue;
            }
            joins_.push({a, b});
        }
    }
}

template <int D>
void Walker<D>::split_polytope(const Cell& cell, const int8_t* signs, int32_t line,
                               Cell children[2]) {
    find_cuts(cell, signs);
    const int cuts = static_cast<int>(cuts_.size()), words = cell.words;
    bool simple = touching_.size() == 0;
    for (int j = 0; j < cuts && simple; ++j)
        simple = is_simple(cut_bits_.data() + static_cast<size_t>(j) * words, words, D - 1);
    join_cuts(cell, simple);
    cut_vertices(cell, simple, line);
    renamed_.shrink(0);
    renamed_.grow(static_cast<size_t>(cell.n));
    for (const int side : {1, 0}) {
        const int way = side == 1 ? 1 : -1;
        Cell& child = children[side];
        child = {};
        child.at = vertices_.size();
        child.facets = facets_.size();
        child.edges = edges_.size();
        // A facet of the child has a vertex off the cut.
        used_.assign(static_cast<size_t>(words), 0);
        Vertex<D>* corner = vertices_.grow(static_cast<size_t>(cell.n + cuts));
        const Vertex<D>* const old = vertices_.data() + cell.at;
        const uint64_t* const old_bits = bits_.data() + cell.bits;
        for (int k = 0; k < cell.n; ++k) {
            renamed_[k] = -1;
            if (signs[k] * way < 0) continue;
            renamed_[k] = child.n++;
            *corner++ = old[k];
            if (signs[k] != 0)
                for (int w = 0; w < words; ++w)
                    used_[w] |= old_bits[static_cast<size_t>(k) * words + w];
        }
        const int first_cut = child.n;
        std::copy_n(fresh_.data(), cuts, corner);
        child.n += cuts;
        vertices_.shrink(child.at + static_cast<size_t>(child.n));
        // Facets keep their numbers while the words last.
        const int left = count_bits(used_.data(), words);
        const bool renumber = cell.facet_count + 1 > 64 * words || (words > 1 && left < 40);
        if (renumber) {
            numbers_.assign(static_cast<size_t>(cell.facet_count), -1);
            for (int f = 0; f < cell.facet_count; ++f) {
                if (!(used_[f >> 6] >> (f & 63) & 1)) continue;
                facets_.push(facets_[cell.facets + f]);
                numbers_[f] = child.facet_count++;
            }
        } else {
            child.facet_count = cell.facet_count;
            Facet* const facet = facets_.grow(static_cast<size_t>(cell.facet_count));
            std::copy_n(facets_.data() + cell.facets, cell.facet_count, facet);
        }
        facets_.push({line, 0});
        const int last = child.facet_count++;
        child.words = (child.facet_count + 63) / 64;
        if (!renumber) child.words = words;
        child.bits = bits_.size();
        uint64_t* to = bits_.grow(static_cast<size_t>(child.n) * child.words);
        std::fill_n(to, static_cast<size_t>(child.n) * child.words, uint64_t{0});
        const auto put = [&](const uint64_t* from, bool on_cut) {
            if (!renumber) {
                for (int w = 0; w < words; ++w) to[w] = from[w] & used_[w];
            } else {
                each_bit(from, words, [&](int f) {
                    if (numbers_[f] >= 0) to[numbers_[f] >> 6] |= uint64_t{1} << (numbers_[f] & 63);
                });
            }
            if (on_cut) to[last >> 6] |= uint64_t{1} << (last & 63);
            to += child.words;
        };
        const uint64_t* bits = bits_.data() + cell.bits;
        for (int k = 0; k < cell.n; ++k)
            if (signs[k] * way >= 0) put(bits + static_cast<size_t>(k) * words, signs[k] == 0);
        for (int j = 0; j < cuts; ++j) put(cut_bits_.data() + static_cast<size_t>(j) * words, true);
        Edge* const edges = edges_.grow(cell.edge_count + cuts + joins_.size());
        Edge* end = edges;
        const Edge* const parents = edges_.data() + cell.edges;
        const int32_t* const renamed = renamed_.data();
        for (int e = 0; e < cell.edge_count; ++e) {
            const int32_t u = renamed[parents[e].u], v = renamed[parents[e].v];
            *end = {u, v};
            end += (u | v) >= 0;
        }
        for (int j = 0; j < cuts; ++j) {
            const Edge edge = cuts_[j];
            *end++ = {std::max(renamed[edge.u], renamed[edge.v]), first_cut + j};
        }
        const auto place = [&](int32_t a) {
            return a < cuts ? first_cut + a : renamed[touching_[a - cuts]];
        };
        for (size_t e = 0; e < joins_.size(); ++e)
            *end++ = {place(joins_[e].u), place(joins_[e].v)};
        child.edge_count = static_cast<int>(end - edges);
        edges_.shrink(child.edges + static_cast<size_t>(child.edge_count));
    }
}

// Into fresh_ the vertices where the edges in cuts_ meet a line.
template <int D>
void Walker<D>::cut_vertices(const Cell& cell, bool simple, int32_t line) {
    if constexpr (D > 2) {
        const size_t words = static_cast<size_t>(cell.words);
        fresh_.shrink(0);
        meets_.clear();
        for (size_t j = 0; j < cuts_.size(); ++j) {
            candidates_.clear();
            each_bit(cut_bits_.data() + j * words, cell.words,
                     [&](int f) { candidates_.push_back(facets_[cell.facets + f].line); });
            if (!simple) choose_lines(line);
            for (int k = 0; k + 1 < D; ++k) meets_.push_back(&lines_[candidates_[k]].rounded);
            meets_.push_back(&lines_[line].rounded);
        }
        meet_lines();
        if (options_.decide == Decide::filtered) return;
        for (size_t j = 0; j < cuts_.size(); ++j) {
            candidates_.assign(1, line);
            each_bit(cut_bits_.data() + j * words, cell.words,
                     [&](int f) { candidates_.push_back(facets_[cell.facets + f].line); });
            fresh_[j].point = meet_exactly();
        }
    }
}

// Of the lines in candidates_, first those D - 1 that lie farthest from the span of `line` and the
// ones chosen before.
template <int D>
void Walker<D>::choose_lines(int32_t line) {
    double basis[D][D];
    const auto add = [&](int at, const RoundedLine<D>& row) {
        double size = 0.0, length = 0.0;
        for (int c = 0; c < D; ++c) size += std::fabs(basis[at][c] = row.a[c]);
        for (int b = 0; b < at; ++b) {
            double dot = 0.0;
            for (int c = 0; c < D; ++c) dot += basis[at][c] * basis[b][c];
            for (int c = 0; c < D; ++c) basis[at][c] -= dot * basis[b][c];
        }
        for (int c = 0; c < D; ++c) length += basis[at][c] * basis[at][c];
        length = std::sqrt(length);
        for (int c = 0; c < D; ++c) basis[at][c] /= length > 0 ? length : 1.0;
        return size > 0 ? length / size : 0.0;
    };
    add(0, lines_[line].rounded);
    for (size_t at = 1; at < D; ++at) {
        size_t best = at - 1;
        double farthest = -1.0;
        for (size_t k = at - 1; k < candidates_.size(); ++k) {
            const double far = add(static_cast<int>(at), lines_[candidates_[k]].rounded);
            if (far > farthest) best = k, farthest = far;
        }
        std::swap(candidates_[at - 1], candidates_[best]);
        add(static_cast<int>(at), lines_[candidates_[at - 1]].rounded);
    }
}

// Into fresh_ the vertices on the lines in meets_, D after D.
template <int D>
void Walker<D>::meet_lines() {
    const size_t n = meets_.size() / D;
    alignas(64) double a[D * D * kPad], c[D * kPad], error[D * kPad], x[D * kPad], delta[kPad];
    for (size_t first = 0; first < n; first += kPad) {
        bool infinite[kPad];
        for (size_t v = 0; v < kPad; ++v) {
            // the last group is filled up with copies of its first
            const RoundedLine<D>* const* on = &meets_[(first + v < n ? first + v : first) * D];
            infinite[v] = false;
            for (int i = 0; i < D; ++i) infinite[v] |= on[i]->d != 0.0;
            for (int i = 0; i < D; ++i) {
                for (int j = 0; j < D; ++j)
                    a[static_cast<size_t>(i * D + j) * kPad + v] = on[i]->a[j];
                c[static_cast<size_t>(i) * kPad + v] = infinite[v] ? on[i]->d : on[i]->c;
                error[static_cast<size_t>(i) * kPad + v] = on[i]->error;
            }
        }
        kernels_.meet(a, c, error, x, delta);
        for (size_t v = 0; v < kPad && first + v < n; ++v) {
            Vertex<D> out{};
            for (int k = 0; k < D; ++k) out.x[k] = x[static_cast<size_t>(k) * kPad + v];
            out.x[D] = infinite[v] ? 0.0 : 1.0;
            out.delta = delta[v];
            detail::finish_vertex(out);
            out.line = out.point = -1;
            fresh_.push(out);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// facets and what lies on them

// The vertices on each listed facet; none where it is no facet of the cell any more, but an edge or
// less.
template <int D>
std::vector<std::vector<int32_t>> Walker<D>::facet_vertices(const Cell& cell) const {
    std::vector<std::vector<int32_t>> out(static_cast<size_t>(cell.facet_count));
    bool simple = true;
    for (int k = 0; k < cell.n; ++k) {
        const uint64_t* bits = bits_.data() + cell.bits + static_cast<size_t>(k) * cell.words;
        int on = 0;
        each_bit(bits, cell.words, [&](int f) {
            out[f].push_back(k);
            ++on;
        });
        simple &= on == D;
    }
    if (simple) return out;
    for (size_t f = 0; f < out.size(); ++f)
        for (size_t g = 0; g < out.size() && !out[f].empty(); ++g)
            if (out[f].size() < out[g].size() &&
                std::includes(out[g].begin(), out[g].end(), out[f].begin(), out[f].end()))
                out[f].clear();
    return out;
}

// Whether vertex k of the cell lies by definition on the zero of a row that is the activation of a
// unit: then the row vanishes there, whatever floating point says.
template <int D>
bool Walker<D>::vanishes(int l, int row, Cell cell, int k) const {
    const Level& s = levels_[l];
    if (!s.nonnegative) return false;
    const int source = s.weights->blocks[0].source, unit = s.weights->copies[row];
    const auto is = [&](int32_t line) {
        const Wall& wall = lines_[line].wall;
        return wall.layer == source && wall.entry == unit && wall.minus < 0;
    };
    if constexpr (D > 2) {
        bool found = false;
        each_bit(bits_.data() + cell.bits + static_cast<size_t>(k) * cell.words, cell.words,
                 [&](int f) { found |= is(facets_[cell.facets + f].line); });
        return found;
    }
    if (is(vertices_[cell.at + k].line)) return true;
    return D == 2 && is(vertices_[cell.at + (k == 0 ? cell.n - 1 : k - 1)].line);
}

// Marks the edges or facets along which the function whose signs are in signs_ vanishes.
template <int D>
void Walker<D>::mark_zero_edges(Cell cell) {
    if constexpr (D > 2) {
        for (int f = 0; f < cell.facet_count; ++f) {
            bool zero = true, any = false;
            for (int k = 0; k < cell.n && zero; ++k)
                if (on_facet(cell, k, f)) any = true, zero = signs_[k] == 0;
            if (zero && any) facets_[cell.facets + f].coincident = 1;
        }
        return;
    }
    for (int k = 0; k < cell.n; ++k) {
        const int next = D == 1 ? k : (k + 1 == cell.n ? 0 : k + 1);
        if (signs_[k] == 0 && signs_[next] == 0) vertices_[cell.at + k].coincident = 1;
    }
}

// The same for a word of units whose signs at the vertices in known_ are at hand: those of `units`
// that vanish along an edge or facet between such vertices.
template <int D>
void Walker<D>::mark_known_zeros(int l, size_t word, Cell cell, uint64_t units) {
    const auto zeros = [&](int k) {
        const int32_t point = vertices_[cell.at + k].point;
        return ~(points_.positive(point, l)[word] | points_.negative(point, l)[word]);
    };
    if constexpr (D > 2) {
        for (int f = 0; f < cell.facet_count; ++f) {
            uint64_t zero = units;
            size_t next = 0;
            bool any = false;
            for (int k = 0; k < cell.n && zero; ++k) {
                while (next < known_.size() && known_[next] < k) ++next;
                if (!on_facet(cell, k, f)) continue;
                any = true;
                zero &= next < known_.size() && known_[next] == k ? zeros(k) : 0;
            }
            if (any && zero) facets_[cell.facets + f].coincident = 1;
        }
        return;
    }
    for (size_t i = 0; i < known_.size(); ++i) {
        const int k = known_[i];
        uint64_t zero = zeros(k);
        if constexpr (D == 2) {
            const int after = k + 1 == cell.n ? 0 : k + 1;
            if (known_[i + 1 == known_.size() ? 0 : i + 1] != after) continue;
            zero &= zeros(after);
        }
        if (zero & units) vertices_[cell.at + k].coincident = 1;
    }
}

template <int D>
const ExactLine<D>& Walker<D>::exact_line(int32_t line) {
    Line& entry = lines_[line];
    if (!entry.exact) {
        std::fill(flat_.begin(), flat_.end(), uint8_t{0});
        assemble_pattern(flat_.data(), entry.wall.layer);
        entry.exact = std::make_unique<ExactLine<D>>(problem_.exact->row(
            entry.wall.layer, entry.wall.entry, flat_.data(), entry.wall.minus));
    }
    return *entry.exact;
}

// The exact point where the lines in candidates_ meet.
template <int D>
int32_t Walker<D>::meet_exactly() {
    for (int32_t line : candidates_) exact_line(line);
    exact_.clear();
    for (int32_t line : candidates_) exact_.push_back(lines_[line].exact.get());
    return points_.intern(intersect<D>(exact_.data(), static_cast<int>(exact_.size())));
}

template <int D>
int32_t Walker<D>::intern(Cell cell, int k) {
    if (const int32_t known = vertices_[cell.at + k].point; known >= 0) return known;
    candidates_.clear();
    if constexpr (D > 2) {
        each_bit(bits_.data() + cell.bits + static_cast<size_t>(k) * cell.words, cell.words,
                 [&](int f) { candidates_.push_back(facets_[cell.facets + f].line); });
    } else {
        candidates_.push_back(vertices_[cell.at + k].line);
        if (D == 2) candidates_.push_back(vertices_[cell.at + (k == 0 ? cell.n - 1 : k - 1)].line);
    }
    return vertices_[cell.at + k].point = meet_exactly();
}

// In one and two dimensions, the vertex where a line meets that of an edge.
template <int D>
Vertex<D> Walker<D>::new_vertex(int32_t edge_line, int32_t line) {
    Vertex<D> v;
    candidates_.clear();
    if constexpr (D == 1) {
        v = meet(lines_[line].rounded);
    } else {
        v = meet(lines_[edge_line].rounded, lines_[line].rounded);
        candidates_.push_back(edge_line);
    }
    candidates_.push_back(line);
    v.line = line;
    v.point = options_.decide == Decide::filtered ? -1 : meet_exactly();
    return v;
}

template <int D>
int32_t Walker<D>::push_line(const double* row, double error, const Wall& wall) {
    Line line;
    for (int k = 0; k < D; ++k) line.rounded.a[k] = row[k];
    line.rounded.c = row[D];
    line.rounded.error = error;
    line.wall = wall;
    lines_.push_back(std::move(line));
    return static_cast<int32_t>(lines_.size()) - 1;
}

#define PLV_INSTANTIATE(D)                                                                        \
    template typename Walker<D>::Mark Walker<D>::mark() const;                                    \
    template void Walker<D>::release(const Mark& to);                                             \
    template VertexBlock Walker<D>::block(Cell cell) const;                                       \
    template typename Walker<D>::Cell Walker<D>::root_cell();                                     \
    template typename Walker<D>::Cell Walker<D>::copy_cell(const Cell& cell);                     \
    template void Walker<D>::build_children(Cell cell, const int8_t* signs, int32_t line,         \
                                            Cell children[2]);                                    \
    template std::vector<std::vector<int32_t>> Walker<D>::facet_vertices(const Cell& cell) const; \
    template bool Walker<D>::vanishes(int l, int row, Cell cell, int k) const;                    \
    template void Walker<D>::mark_zero_edges(Cell cell);                                          \
    template void Walker<D>::mark_known_zeros(int l, size_t word, Cell cell, uint64_t units);     \
    template const ExactLine<D>& Walker<D>::exact_line(int32_t line);                             \
    template int32_t Walker<D>::intern(Cell cell, int k);                                         \
    template int32_t Walker<D>::push_line(const double* row, double error, const Wall& wall);     \
    template void Walker<D>::find_cuts(const Cell& cell, const int8_t* signs);                    \
    template void Walker<D>::join_cuts(const Cell& cell, bool simple);                            \
    template bool Walker<D>::is_simple(const uint64_t* facets, int words, int few);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
