#include "region/problem.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>

#include "base/contract.hpp"
#include "base/rounding.hpp"
#include "geom/dimension.hpp"
#include "geom/vertex.hpp"

namespace plv {

DomainSpec DomainSpec::parse(std::string_view bytes) {
    using namespace std::string_view_literals;
    ByteReader in(bytes);
    in.expect("PLDOM\0001\n"sv);
    DomainSpec out;
    const uint32_t dim = in.u32(), ambient = in.u32();
    if (dim == 0 || dim > (1u << 24) || ambient > (1u << 24))
        throw std::invalid_argument("malformed domain bytes");
    out.dim = static_cast<int>(dim);
    out.ambient = static_cast<int>(ambient);
    out.is_slice = in.u8() != 0;
    if (out.is_slice) {
        out.slice_scale = in.ints(1)[0];
        if (out.slice_scale.sign() <= 0)
            throw std::invalid_argument("malformed domain bytes: slice scale");
        out.slice = in.ints(static_cast<size_t>(ambient) * (dim + 1));
    } else if (dim != ambient) {
        throw std::invalid_argument("malformed domain bytes: dimensions");
    }
    const uint32_t count = in.u32();
    std::vector<Int> flat = in.ints(static_cast<size_t>(count) * (dim + 1));
    for (size_t i = 0; i < count; ++i) {
        const auto row = std::make_move_iterator(&flat[i * (dim + 1)]);
        out.constraints.push_back({{row, row + dim}, row[dim]});
    }
    if (!in.at_end()) throw std::invalid_argument("malformed domain bytes: trailing");
    return out;
}

void no_volume(bool empty, int dim) {
    throw std::invalid_argument(empty ? "the domain is empty"
                                      : std::string("the domain has no interior: a domain with "
                                                    "positive ") +
                                            (dim == 1   ? "length"
                                             : dim == 2 ? "area"
                                                        : "volume") +
                                            " is needed");
}

namespace {

// Corners of the symbolic box. Sides in the order -1: R - t_k >= 0 at first_side + 2 k, R + t_k >=
// 0 at first_side + 2 k + 1.
template <int D>
std::vector<DomainCorner<D>> symbolic_box(const std::vector<ExactLine<D>>& lines, int first_side) {
    const auto at = [&](const std::array<int, D>& sides) {
        const ExactLine<D>* on[D];
        DomainCorner<D> out;
        for (int k = 0; k < D; ++k) {
            on[k] = &lines[first_side + sides[k]];
            out.on.push_back(first_side + sides[k]);
        }
        out.at = intersect<D>(on);
        out.line = out.on.back();
        return out;
    };
    if constexpr (D == 1) return {at({1}), at({0})};
    if constexpr (D == 2) return {at({1, 3}), at({3, 0}), at({0, 2}), at({2, 1})};
    std::vector<DomainCorner<D>> out;
    for (int c = 0; c < 1 << D; ++c) {
        std::array<int, D> sides{};
        for (int k = 0; k < D; ++k) sides[k] = 2 * k + (c >> k & 1);
        out.push_back(at(sides));
    }
    return out;
}

// Sets of lines as bits, one row of words per corner.
class Incidence {
public:
    template <int D>
    Incidence(const std::vector<DomainCorner<D>>& cell, size_t lines)
        : words_((lines + 63) / 64), bits_(cell.size() * words_, 0), shared_(words_) {
        for (size_t k = 0; k < cell.size(); ++k)
            for (int line : cell[k].on)
                bits_[k * words_ + static_cast<size_t>(line) / 64] |= uint64_t{1} << (line % 64);
    }
    // The lines on which both corners lie, if they are at least `few` and no third corner does.
    std::vector<int> edge(size_t u, size_t v, int few) {
        int count = 0;
        for (size_t w = 0; w < words_; ++w)
            count += std::popcount(shared_[w] = bits_[u * words_ + w] & bits_[v * words_ + w]);
        std::vector<int> out;
        if (count < few) return out;
        int found = 0;
        for (size_t k = 0; k * words_ < bits_.size() && found <= 2; ++k) {
            bool all = true;
            for (size_t w = 0; w < words_; ++w) all &= (shared_[w] & ~bits_[k * words_ + w]) == 0;
            found += all;
        }
        for (size_t w = 0; found == 2 && w < words_; ++w)
            for (uint64_t rest = shared_[w]; rest; rest &= rest - 1)
                out.push_back(static_cast<int>(64 * w) + std::countr_zero(rest));
        return out;
    }

private:
    size_t words_;
    std::vector<uint64_t> bits_, shared_;
};

// The same from three dimensions on. Two corners are joined by an edge if no third one lies on all
// facets that they share.
template <int D>
void clip_corners(std::vector<DomainCorner<D>>& cell, const std::vector<int>& sign,
                  const std::vector<ExactLine<D>>& lines, int which) {
    std::vector<DomainCorner<D>> out;
    Incidence incidence(cell, lines.size());
    const size_t n = cell.size();
    for (size_t u = 0; u < n; ++u) {
        if (sign[u] >= 0) out.push_back(cell[u]);
        if (sign[u] == 0) out.back().on.push_back(which);
        for (size_t v = 0; sign[u] > 0 && v < n; ++v) {
            if (sign[v] >= 0) continue;
            std::vector<int> shared = incidence.edge(u, v, D - 1);
            if (shared.empty()) continue;
            std::vector<const ExactLine<D>*> on{&lines[which]};
            for (int line : shared) on.push_back(&lines[line]);
            shared.push_back(which);
            out.push_back({intersect<D>(on.data(), static_cast<int>(on.size())), -1, shared});
        }
    }
    // A facet all of whose corners lie on another one has become an edge or less.
    std::map<int, std::vector<int>> members;
    for (size_t k = 0; k < out.size(); ++k)
        for (int line : out[k].on) members[line].push_back(static_cast<int>(k));
    for (const auto& [line, corners] : members)
        for (const auto& [other, more] : members)
            if (line != other && corners.size() < more.size() &&
                std::includes(more.begin(), more.end(), corners.begin(), corners.end())) {
                for (int k : corners) std::erase(out[k].on, line);
                break;
            }
    cell = std::move(out);
}

// Keeps the part of the polygon where lines[which] >= 0.
template <int D>
void clip(std::vector<DomainCorner<D>>& cell, const std::vector<ExactLine<D>>& lines, int which) {
    const ExactLine<D>& line = lines[which];
    if (std::all_of(line.a.begin(), line.a.end(), [](const Int& v) { return v.is_zero(); })) {
        if (line.c.sign() < 0) no_volume(true, D);
        return;
    }
    const int n = static_cast<int>(cell.size());
    std::vector<int> sign(cell.size());
    for (int k = 0; k < n; ++k) sign[k] = cell[k].at.sign_of(line);
    if (std::none_of(sign.begin(), sign.end(), [](int s) { return s > 0; }))
        no_volume(std::none_of(sign.begin(), sign.end(), [](int s) { return s == 0; }), D);
    if (std::none_of(sign.begin(), sign.end(), [](int s) { return s < 0; })) return;
    if constexpr (D == 1) {
        const ExactLine<1>* on[] = {&line};
        cell[sign[0] < 0 ? 0 : 1] = {intersect<1>(on), which, {}};
    } else if constexpr (D > 2) {
        clip_corners<D>(cell, sign, lines, which);
    } else {
        std::vector<DomainCorner<D>> out;
        for (int k = 0; k < n; ++k) {
            const int next = (k + 1) % n;
            if (sign[k] >= 0) {
                out.push_back(cell[k]);
                if (sign[k] == 0 && sign[next] < 0) out.back().line = which;
            }
            if (sign[k] * sign[next] < 0) {
                const ExactLine<2>* on[] = {&lines[cell[k].line], &line};
                out.push_back({intersect<2>(on), sign[k] > 0 ? which : cell[k].line, {}});
            }
        }
        cell = std::move(out);
    }
}

template <int D>
std::vector<DomainCorner<D>> domain_cell(const std::vector<ExactLine<D>>& lines, int constraints) {
    std::vector<DomainCorner<D>> cell = symbolic_box<D>(lines, constraints);
    for (int k = 0; k < constraints; ++k) clip<D>(cell, lines, k);
    return cell;
}

template <int D>
std::vector<ExactLine<D>> constraint_lines(const DomainSpec& spec) {
    std::vector<ExactLine<D>> lines(spec.constraints.size());
    for (size_t i = 0; i < lines.size(); ++i) {
        std::copy_n(spec.constraints[i].a.begin(), D, lines[i].a.begin());
        lines[i].c = spec.constraints[i].c;
    }
    return lines;
}

template <int D>
void add_box_sides(std::vector<ExactLine<D>>& lines) {
    for (int k = 0; k < D; ++k)
        for (int side : {-1, 1}) {
            ExactLine<D> line;
            line.a[k] = side;
            line.d = 1;
            lines.push_back(line);
        }
}

// A frame in which the bounded domain fits |s_k| <= 1, each half-width a power of two.
template <int D>
Frame<D> fit(const std::vector<DomainCorner<D>>& corners) {
    Frame<D> frame;
    for (int k = 0; k < D; ++k) {
        double lo = INFINITY, hi = -INFINITY;
        for (const auto& corner : corners) {
            const double v = Int::ratio(corner.at.p[k], corner.at.den);
            lo = std::min(lo, v);
            hi = std::max(hi, v);
        }
        if (!(std::fabs(lo) < 0x1p1000 && std::fabs(hi) < 0x1p1000))
            throw std::invalid_argument("the domain reaches beyond the range of double precision");
        frame.center[k] = lo / 2 + hi / 2;
        if (std::frexp(std::max({hi - frame.center[k], frame.center[k] - lo, 0x1p-1000}),
                       &frame.exponent[k]) == 0.5)
            --frame.exponent[k];  // exactly a power of two
        // Rounding may have left a corner outside by a hair: decide exactly.
        for (bool fits = false; !fits;) {
            fits = true;
            for (const auto& corner : corners) {
                ExactLine<D> side;  // side of the unit box, in t: center_k +- size_k -+ t_k >= 0
                int ce = 0;
                const Int m = Int::from_double_scaled(frame.center[k], ce);
                const int bits = std::max({0, m.is_zero() ? 0 : -ce, -frame.exponent[k]});
                Int size = 1;
                size <<= static_cast<size_t>(bits + frame.exponent[k]);
                const Int mid = m.is_zero() ? m : m << static_cast<size_t>(bits + ce);
                side.a[k] = Int(1) << static_cast<size_t>(bits);
                side.c = size - mid;
                if (corner.at.sign_of(side) < 0) fits = false;
                side.a[k].negate();
                side.c = size + mid;
                if (corner.at.sign_of(side) < 0) fits = false;
            }
            if (!fits) ++frame.exponent[k];
        }
    }
    return frame;
}

// Rows over a common scale in doubles, by columns, with their errors.
template <int D>
typename Problem<D>::Input round_rows(const ExactRows<D>& rows, const Int& scale, int stride) {
    typename Problem<D>::Input out;
    out.map.assign(static_cast<size_t>(stride) * (D + 1), 0.0);
    out.error.assign(static_cast<size_t>(stride), 0.0);
    for (size_t r = 0; r < rows.size(); ++r) {
        double size = 0.0;
        for (int k = 0; k <= D; ++k) {
            const double v = Int::ratio(k < D ? rows[r].a[k] : rows[r].c, scale);
            out.map[static_cast<size_t>(k) * stride + r] = v;
            size += std::fabs(v);
        }
        // Each entry is rounded once; beyond kHuge the products with a vertex might overflow.
        out.error[r] =
            size <= kHuge ? 4 * kRound * size + 1e-290 : std::numeric_limits<double>::infinity();
    }
    return out;
}

}  // namespace

template <int D>
std::shared_ptr<const Problem<D>> Problem<D>::build(std::shared_ptr<const Net> net,
                                                    const DomainSpec& spec) {
    PLV_EXPECT(spec.dim == D, "this engine has another dimension");
    PLV_EXPECT(spec.ambient == net->input_size,
               "the domain lies in " + std::to_string(spec.ambient) +
                   " dimensions, the network has " + std::to_string(net->input_size) + " inputs");
    auto out = std::make_shared<Problem>();
    out->net = net;
    out->constraint_count = static_cast<int>(spec.constraints.size());
    out->lines = constraint_lines<D>(spec);
    add_box_sides<D>(out->lines);
    out->corners = domain_cell<D>(out->lines, out->constraint_count);
    out->bounded = std::none_of(out->corners.begin(), out->corners.end(),
                                [](const DomainCorner<D>& corner) { return corner.at.infinite; });
    if (out->bounded) {
        out->frame = fit<D>(out->corners);
        out->lines.resize(static_cast<size_t>(out->constraint_count));
        for (ExactLine<D>& line : out->lines) line = out->frame.to_local(line);
        add_box_sides<D>(out->lines);
        out->corners = domain_cell<D>(out->lines, out->constraint_count);
    }

    // The input's part of every layer's form, composed with the slice and the frame. to_local
    // multiplies by one power of two, the same for every row; the constant 1 shows which.
    ExactLine<D> unit;
    unit.c = spec.slice_scale;
    const Int local = out->frame.to_local(unit).c;
    std::vector<ExactRows<D>> inputs;
    std::vector<Int> scales;
    const int depth = static_cast<int>(net->layers.size());
    for (int l = 0; l <= depth; ++l) {
        const ExactForm& form = net->exact_form(l);
        ExactRows<D> rows(static_cast<size_t>(form.rows));
        const bool reads = !form.blocks.empty() && form.blocks[0].source == kInput;
        for (int r = 0; r < form.rows; ++r) {
            ExactLine<D>& row = rows[r];
            row.c = form.bias[r];
            if (!reads) continue;
            const ExactBlock& block = form.blocks[0];
            row.c *= spec.slice_scale;
            for (size_t k = block.first(r); k < block.last(r); ++k) {
                const int i = block.column(r, k);
                if (block.is_zero(k)) continue;
                if (spec.is_slice) {
                    const Int* b = &spec.slice[static_cast<size_t>(i) * (D + 1)];
                    for (int c = 0; c < D; ++c) block.add_term(row.a[c], k, b[c]);
                    block.add_term(row.c, k, b[D]);
                } else {
                    row.a[i] = block.weight(k);
                }
            }
            row = out->frame.to_local(row);
        }
        scales.push_back(reads ? form.scale * local : form.scale);
        Input rounded_input;
        if (reads || form.blocks.empty())
            rounded_input = round_rows<D>(rows, scales.back(), padded(form.rows));
        out->input.push_back(std::move(rounded_input));
        inputs.push_back(std::move(rows));
    }
    out->exact = std::make_unique<ExactNet<D>>(*net, std::move(inputs), scales);
    return out;
}

#define PLV_INSTANTIATE(D) template struct Problem<D>;
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
