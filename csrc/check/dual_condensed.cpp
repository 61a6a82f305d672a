// Bounds by condensed networks.
#include "check/dual_condensed.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "check/clones.hpp"
#include "check/dual_doubles.hpp"
#include "check/vectors.hpp"

namespace plv::check {

namespace {

constexpr double kHalfUlp = 0x1p-53;
constexpr size_t kMostBytes = size_t{1} << 26;  // of all on a path
constexpr double kMuchSmaller = 0.6;            // weights of those before

}  // namespace

void DualDoubles::condense(const Cell& cell, const std::vector<DualRow>* where) {
    const uint32_t inputs = net_.net.input_size;
    if (weights_ == 0) return;
    Condensed out;
    out.has.assign(net_.units, 0);
    bool finite = true;
    for (uint32_t k = 0; k < net_.nodes.size(); ++k) {
        const DualNode& extra = net_.nodes[k];
        out.first.push_back(out.units.size());
        const uint32_t size = net_.net.nodes[k].is_linear() ? 0 : net_.net.nodes[k].size;
        for (uint32_t i = 0; i < size; ++i) {
            const uint32_t unit = extra.first_unit + i, at = extra.first_input + i;
            if (net_.own_piece[unit] >= 0) continue;
            if (cell.pieces[unit] < 0 && state_of(-1, cell.lo[at], cell.hi[at]) >= 0) continue;
            out.has[unit] = 1;
            out.units.push_back({k, i, unit, at, extra.slot_entry[i], extra.base + i});
            finite = finite && std::isfinite(cell.lo[at]) && std::isfinite(cell.hi[at]);
        }
    }
    out.first.push_back(out.units.size());
    if (where != nullptr && where->empty()) where = nullptr;
    const size_t outputs = where == nullptr ? 0 : std::min(kLanes, where->size());
    size_t weights = (inputs + out.units.size()) * outputs;
    for (size_t k = 0; k + 1 < out.first.size(); ++k)
        weights += (inputs + out.first[k]) * (out.first[k + 1] - out.first[k]);
    const Condensed* now = small_network(where);
    const size_t before = now != nullptr ? now->weights : weights_;
    if (!finite || static_cast<double>(weights) > kMuchSmaller * static_cast<double>(before) ||
        condensed_bytes_ + weights * sizeof(double) > kMostBytes)
        return;
    out.weights = weights;
    measure(cell);
    if (!(local_.tiny < kInfinity)) return;
    make_rows(cell, where, out);
    const auto is_finite = [](double v) { return std::isfinite(v); };
    for (const auto* v : {&out.turned, &out.constant, &out.off})
        if (!std::all_of(v->begin(), v->end(), is_finite)) return;
    if (condensed_bytes_ + out.bytes() <= kMostBytes) push(std::move(out));
}

// By the whole network, where gradients stay at the units.
void DualDoubles::make_rows(const Cell& cell, const std::vector<DualRow>* where, Condensed& net) {
    const size_t inputs = net_.net.input_size, units = net.units.size();
    const size_t of_system = where == nullptr ? 0 : std::min(kLanes, where->size());
    net.rows = units + of_system;
    size_t weights = 0;
    const auto add_column = [&](size_t row) {
        net.columns.push_back({row, weights - row});  // not before the first weight: see the inputs
        weights += net.rows - row;
    };
    for (size_t i = 0; i < inputs; ++i) add_column(0);
    for (const Condensed::Unit& u : net.units) add_column(net.first[u.node + 1]);
    net.turned.assign(weights, 0.0);
    // As DualNet::terms: every row may read a unit, every unit is a node.
    const auto rows = static_cast<double>(net.rows), all = static_cast<double>(inputs + units);
    net.unit = (2 * (rows + 3 * all + 64) + all) * kHalfUlp;
    make_room();
    lo_ = cell.lo;
    hi_ = cell.hi;
    for (uint32_t k = 0; k < net_.nodes.size(); ++k)
        if (!net_.net.nodes[k].is_linear()) relax(cell, k);
    for (const Condensed::Unit& u : net.units) held_[u.makes] = 1;
    for (size_t at = 0; at < net.rows;) {
        tick_();
        const bool system = at >= units;
        const size_t n = std::min(kLanes, (system ? net.rows : units) - at);
        Lanes sum{};
        uint32_t nodes = 0;
        if (system) {
            nodes = static_cast<uint32_t>(net_.nodes.size());
            start_rows(*where, at - units, n, sum);
        }
        for (size_t l = 0; l < n && !system; ++l) {
            const uint32_t e = net.units[at + l].reads;
            nodes = std::max(nodes, net_.tensor_of(e));
            lanes_[e * kLanes + l] = 1;
            reached_[e] = 1;
            sum.error[l] = local_.a[e];
        }
        pull_batch(cell, nodes, sum);
        const auto take = [&](size_t column, size_t entry) {
            const auto [row, begin] = net.columns[column];
            for (size_t l = 0; l < n; ++l)
                if (at + l >= row) net.turned[begin + at + l] = lanes_[entry * kLanes + l];
            std::fill_n(&lanes_[entry * kLanes], kLanes, 0.0);
            reached_[entry] = 0;
        };
        for (size_t i = 0; i < inputs; ++i) take(i, i);
        for (size_t j = 0; j < units; ++j) take(inputs + j, net.units[j].makes);
        for (size_t l = 0; l < n; ++l) {
            net.constant.push_back(sum.lower[l]);
            net.off.push_back(sum.error[l] * unit_ + local_.tiny);
        }
        at += n;
    }
    for (const Condensed::Unit& u : net.units) held_[u.makes] = 0;
}

void DualDoubles::push(Condensed&& net) {
    condensed_bytes_ += net.bytes();
    condensed_.push_back(std::move(net));
}

void DualDoubles::fixed(uint32_t unit) {
    const Condensed* net = small_network(nullptr);
    if (net != nullptr && net->has[unit] == 0) push(Condensed{});
}

void DualDoubles::go_back(size_t condensed) {
    for (; condensed_.size() > condensed; condensed_.pop_back())
        condensed_bytes_ -= condensed_.back().bytes();
}

// Null where the whole network is needed.
const Condensed* DualDoubles::small_network(const std::vector<DualRow>* where) const {
    if (condensed_.empty() || condensed_.back().units.empty()) return nullptr;
    const Condensed& net = condensed_.back();
    const bool has_rows = net.rows > net.units.size();
    return has_rows || where == nullptr || where->empty() ? &net : nullptr;
}

bool DualDoubles::bound_condensed(const Cell& cell, const Condensed& net,
                                  const std::vector<DualRow>* where) {
    active_.resize(net.rows);
    sizes_of_rows_.resize(net.rows);
    measure(cell, net);
    units_.resize(net.units.size() * kLanes);
    panel_.resize(net.rows * kLanes);
    if (where != nullptr) {
        for (size_t k = 0; k + 1 < net.first.size(); ++k) relax_units(cell, net, k);
        narrow(net);
    }
    for (size_t k = 0; k + 1 < net.first.size(); ++k) {
        batch_.clear();
        rows_.clear();
        for (size_t j = net.first[k]; j < net.first[k + 1]; ++j) {
            const Condensed::Unit& u = net.units[j];
            // A unit whose piece is known keeps its bounds.
            if (cell.pieces[u.unit] < 0 && !(lo_[u.input] < 0 && hi_[u.input] > 0)) continue;
            rows_.push_back(static_cast<uint32_t>(j));
            const uint32_t tensor = net_.tensor_of(u.reads);
            batch_.push_back({u.input, u.reads, tensor, 1});
            batch_.push_back({u.input, u.reads, tensor, -1});
        }
        for (size_t at = 0; at < batch_.size(); at += kLanes) {
            tick_();
            const size_t n = std::min(kLanes, batch_.size() - at);
            Lanes sum{};
            sum.unit = net.unit;
            std::fill_n(panel_.begin(), n / 2 * kLanes, 0.0);
            for (size_t i = 0; i < n / 2; ++i) {
                active_[i] = rows_[at / 2 + i];
                panel_[i * kLanes + 2 * i] = 1;
                panel_[i * kLanes + 2 * i + 1] = -1;
            }
            pull_condensed(net, k, n / 2, sum);
            if (!end_batch(cell, &batch_[at], n, sum)) return false;
        }
        relax_units(cell, net, k);
    }
    return true;
}

void DualDoubles::relax_units(const Cell& cell, const Condensed& net, size_t node) {
    for (size_t j = net.first[node]; j < net.first[node + 1]; ++j)
        relax_unit(cell, net.units[j].node, net.units[j].place);
}

void DualDoubles::narrow(const Condensed& net) {
    const size_t units = net.units.size(), n = net.rows - units;
    Lanes sum{};
    sum.unit = net.unit;
    std::fill_n(panel_.begin(), n * kLanes, 0.0);
    for (size_t l = 0; l < n; ++l) {
        active_[l] = static_cast<uint32_t>(units + l);
        panel_[l * kLanes + l] = 1;
    }
    pull_condensed(net, net.first.size() - 1, n, sum);
    keep_half_spaces(n, sum);
}

// Magnitudes on the cell, by its bounds.
PLV_CLONES void DualDoubles::measure(const Cell& cell, const Condensed& net) {
    const size_t inputs = net_.net.input_size;
    double* __restrict r = sizes_of_rows_.data();
    const auto add = [&](size_t column, double size) __attribute__((always_inline)) {
        const auto [row, begin] = net.columns[column];
        const double* w = net.turned.data() + begin;
        for (size_t i = row; i < net.rows; ++i) r[i] += std::abs(w[i]) * size;
    };
    for (size_t i = 0; i < net.rows; ++i) r[i] = std::abs(net.constant[i]);
    for (size_t i = 0; i < inputs; ++i) {
        local_.a[i] = std::max(std::abs(cell.box.lo[i].rounded), std::abs(cell.box.hi[i].rounded));
        add(i, local_.a[i]);
    }
    ball_.set(cell);
    // A node's units do not read one another.
    for (size_t j = 0; j < net.units.size(); ++j) {
        const Condensed::Unit& u = net.units[j];
        local_.a[u.reads] = r[j] + net.off[j];
        measure_unit(cell, cell.lo.data(), cell.hi.data(), u.node, u.place);
        add(inputs + j, local_.a[u.makes]);
    }
}

// From rows in the panel that read the units before a node.
void DualDoubles::pull_condensed(const Condensed& net, size_t node, size_t rows, Lanes& sum) {
    std::fill_n(units_.begin(), net.first[node] * kLanes, 0.0);
    pull_rows(net, net.first[node], rows, sum);
    for (size_t k = node; k-- > 0;) {
        if (net.first[k] == net.first[k + 1]) continue;
        const size_t count = pull_units(net, k, sum);
        pull_rows(net, net.first[k], count, sum);
    }
}

// The rows in the panel, to the inputs and the first units.
PLV_CLONES void DualDoubles::pull_rows(const Condensed& net, size_t units, size_t rows,
                                       Lanes& sum) {
    Vector constant = {}, error = vector_at(sum.error);
    for (size_t a = 0; a < rows; ++a) {
        const uint32_t r = active_[a];
        const Vector y = vector_at(&panel_[a * kLanes]), size = absolute(y);
        constant += y * net.constant[r] - size * net.off[r];
        error += size * (sizes_of_rows_[r] + net.off[r]);
    }
    vector_at(sum.error) = error;
    vector_at(sum.lower) += constant;
    const size_t inputs = net_.net.input_size;
    sum_columns(
        inputs + units, active_.data(), rows, panel_.data(),
        [&](size_t c) { return net.turned.data() + net.columns[c].begin; },
        [&](size_t c, const Vector& total) {
            vector_at(c < inputs ? &lanes_[c * kLanes] : &units_[(c - inputs) * kLanes]) += total;
        });
}

// The units of a node, by their default lines; their rows are in the panel then.
PLV_CLONES size_t DualDoubles::pull_units(const Condensed& net, size_t node, Lanes& sum) {
    Vector term = {}, error = {};
    size_t count = 0;
    for (size_t j = net.first[node]; j < net.first[node + 1]; ++j) {
        const Condensed::Unit& u = net.units[j];
        if (zero_[u.makes] != 0) continue;
        const double s = net_.nodes[u.node].slope[u.place];
        const double above = above_[u.input], below = below_[u.input];
        const Vector x = vector_at(&units_[j * kLanes]), none = {};
        const Vector h = (x > 0.0 ? x : none) * below + (x < 0.0 ? x : none) * above;
        const Vector a = (x - h) * right_[u.input], b = (s * x - h) * left_[u.input];
        const Vector low = a < b ? a : b;
        term += low < 0.0 ? low : none;
        error += absolute(x) * local_.a[u.makes] + absolute(h) * local_.a[u.reads];
        vector_at(&panel_[count * kLanes]) = h;
        active_[count++] = static_cast<uint32_t>(j);
    }
    vector_at(sum.error) += error;
    vector_at(sum.lower) += term;
    return count;
}

}  // namespace plv::check
