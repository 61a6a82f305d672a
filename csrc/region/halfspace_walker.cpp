#include "region/halfspace_walker.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/contract.hpp"
#include "base/rounding.hpp"
#include "proof/writer.hpp"

namespace plv {

HalfspaceWalker::HalfspaceWalker(const HalfspaceProblem& problem, const HalfspaceSink& sink,
                                 StopToken& stop, std::atomic<int64_t>& next_claim,
                                 std::atomic<int64_t>* progress)
    : problem_(problem),
      net_(*problem.net),
      sink_(sink),
      stop_(stop),
      next_claim_(next_claim),
      progress_(progress),
      dim_(problem.dim),
      depth_(static_cast<int>(problem.net->layers.size())),
      width_(static_cast<size_t>(problem.dim) + 1),
      levels_(problem.net->layers.size() + 1),
      pattern_(static_cast<size_t>(problem.net->pattern_bytes()), 0),
      scratch_(width_),
      point_(width_),
      sum_(width_),
      size_(width_),
      ever_on_(pattern_.size(), 0),
      ever_off_(pattern_.size(), 0) {
    while (claim_depth_ < 6 && (1 << claim_depth_) < net_.unit_count) ++claim_depth_;
    for (auto* counts : {&stats_.unit_tests, &stats_.undecided, &stats_.exact_signs})
        counts->assign(levels_.size(), 0);
}

void HalfspaceWalker::run() {
    if (sink_.prove) nodes_ = &top_;
    cells_.push_back(std::make_unique<Cell>());
    Cell& root = *cells_[0];
    std::vector<double> row(width_);
    for (int i : problem_.others) {
        Row out{-1, i, -1, 1, coefficients_.size(), 0, 1, static_cast<uint64_t>(i), -1, {}};
        const double error = problem_.to_local(problem_.constraints[i], 1, row.data());
        double size = 0.0;
        for (double v : row) size += std::fabs(v);
        out.error = (error + (dim_ + 4) * kRound * size) * problem_.reach * kUp + 1e-290;
        out.scale = scaled(row.data(), 1);
        std::copy(row.begin(), row.end(), coefficients_.grow(width_));
        rows_.push_back(std::move(out));
    }
    root.rows = rows_.size();
    root.coefficients = coefficients_.size();
    root.path = problem_.constraints.size();
    restart(root);
    if (!problem_.start.empty() && verify_point(0, problem_.start.data()))
        add_point(0, problem_.start.data());
    try {
        enter_layer(0, 0);
    } catch (...) {
        flush();
        throw;
    }
    flush();
}

// ------------------------------------------------------------------------------- claims

// Whether this thread walks the subtree that begins here.
bool HalfspaceWalker::claim() {
    const int64_t node = node_++;
    if (sink_.prove) offsets_.push_back(top_.size());
    if (mine_ < node) mine_ = next_claim_.fetch_add(1, std::memory_order_relaxed);
    return mine_ == node;
}

bool HalfspaceWalker::begin(bool& owner) {
    owner = false;
    if (in_subtree_) return true;
    if (!claim()) return false;
    owner = in_subtree_ = true;
    subtree_ = mine_;
    if (sink_.prove) nodes_ = &here_;
    return true;
}

void HalfspaceWalker::end(bool owner) {
    if (!owner) return;
    in_subtree_ = false;
    if (sink_.prove) {
        pieces_.push_back({subtree_, std::move(here_)});
        here_.clear();
        nodes_ = &top_;
    }
    flush();
}

void HalfspaceWalker::flush() {
    if (progress_ && count_ > reported_) progress_->fetch_add(count_ - reported_);
    reported_ = count_;
    if (batch_.count == 0) return;
    batch_.subtree = subtree_;
    sink_.regions(std::move(batch_));
    batch_ = {};
}

// ------------------------------------------------------------------------------- maps

// The layer's pre-activations over s. With float rows a~ of the activations, A their sizes and e
// their errors (both summed over columns), a row of weights W~ with relative errors u gives a sum
// off by at most |W~| (e + (n + 4) u A), n terms, beside what the input contributes.
void HalfspaceWalker::make_map(int l) {
    const FloatForm& form = net_.float_form(l);
    const HalfspaceProblem::Input& input = problem_.rounded[l];
    const size_t stride = static_cast<size_t>(padded(form.rows)), n = width_;
    Level& s = levels_[l];
    std::vector<double> map(input.map.begin(), input.map.end());  // by columns
    std::vector<double> error(stride);
    const double gamma = (form.terms + 8) * kRound;
    for (size_t r = 0; r < stride; ++r) error[r] = input.error[r] + gamma * input.size[r];
    for (const FloatBlock& block : form.blocks) {
        const Level& below = levels_[block.source];
        for (int j = 0; j < block.cols; ++j) {
            const double* a = below.units.data() + static_cast<size_t>(j) * n;
            const double mass = below.mass[j];
            if (mass == 0.0) continue;
            const auto add = [&](const double* w, size_t at, size_t count) {
                for (size_t k = 0; k < n; ++k) {
                    const double v = a[k];
                    double* to = map.data() + k * stride + at;
                    for (size_t i = 0; i < count; ++i) to[i] += w[i] * v;
                }
                double* to = error.data() + at;
                for (size_t i = 0; i < count; ++i)
                    to[i] += std::fabs(w[i]) * (mass + gamma * below.size[j]);
            };
            if (block.dense) {
                add(block.w.data() + static_cast<size_t>(j) * stride, 0, stride);
            } else {
                for (size_t g = block.start[j]; g < block.start[j + 1]; ++g)
                    add(block.values.data() + g * kPad, static_cast<size_t>(block.group[g]) * kPad,
                        kPad);
            }
        }
    }
    s.rows.resize(static_cast<size_t>(form.rows) * n);
    s.error.resize(static_cast<size_t>(form.rows));
    s.drift.resize(static_cast<size_t>(form.rows));
    for (int r = 0; r < form.rows; ++r) {
        double size = 0.0;
        for (size_t k = 0; k < n; ++k) {
            const double v = map[k * stride + static_cast<size_t>(r)];
            s.rows[static_cast<size_t>(r) * n + k] = v;
            size += std::fabs(v);
        }
        s.drift[r] = error[r] * kUp + 1e-290;
        s.error[r] = (s.drift[r] + (dim_ + 4) * kRound * size) * problem_.reach * kUp;
        if (!(size < 1e150)) s.drift[r] = s.error[r] = HUGE_VAL;
    }
}

// The activations of a layer whose pieces are all known.
void HalfspaceWalker::pass_units(int l) {
    const Layer& layer = net_.layers[l];
    Level& s = levels_[l];
    const size_t n = width_;
    s.units.assign(static_cast<size_t>(layer.units) * n, 0.0);
    s.mass.assign(static_cast<size_t>(layer.units), 0.0);
    s.size.assign(static_cast<size_t>(layer.units), 0.0);
    for (int i = 0; i < layer.units; ++i) {
        const int piece = net_.piece(pattern_.data(), l, i);
        const int from = layer.is_max() ? layer.entry(i, piece) : i;
        const bool straight = layer.is_max() || piece != 0 || layer.one_piece[i];
        const double factor = straight ? 1.0 : layer.slope[i];
        if (factor == 0.0) continue;
        double size = 0.0;
        for (size_t k = 0; k < n; ++k) {
            const double v = factor * s.rows[static_cast<size_t>(from) * n + k];
            s.units[static_cast<size_t>(i) * n + k] = v;
            size += std::fabs(v);
        }
        s.size[i] = size;
        s.mass[i] = (std::fabs(factor) * s.drift[from] + 4 * kRound * size) * kUp + 1e-290;
    }
}

// ------------------------------------------------------------------------------- walking

void HalfspaceWalker::enter_layer(int l, int k) {
    if (stop_.poll()) throw Stopped{};
    if (l > 0) pass_units(l - 1);
    if (l == depth_) {
        leaf(k);
        return;
    }
    make_map(l);
    const Layer& layer = net_.layers[l];
    if (layer.is_max()) {
        enter_windows(l, k, 0);
        return;
    }
    const Level& s = levels_[l];
    const size_t list = list_.size();
    size_t kept = list;
    for (int i = 0; i < layer.units; ++i) {
        net_.set_piece(pattern_.data(), l, i, 0);
        if (layer.one_piece[i]) continue;
        Candidate u{i, l, i, -1, s.rows.data() + static_cast<size_t>(i) * width_, s.error[i]};
        ++stats_.unit_tests[l];
        if (vanishes(u)) {
            certificate_ = {};
            put_fix(l, i, 0);
            continue;
        }
        list_.push_back(u);
        const Side side = probe(k, list_.back());
        if (side == Side::both) {
            list_[kept++] = list_.back();
        } else {
            const int piece = side == Side::positive;
            net_.set_piece(pattern_.data(), l, i, piece);
            put_fix(l, i, piece);
        }
        list_.resize(kept);
    }
    descend(l, k, list, kept - list);
    list_.resize(list);
}

// list_[list ..] cross cell k, and no other units of the layer do.
void HalfspaceWalker::descend(int l, int k, size_t list, size_t count) {
    if (count == 0) {
        enter_layer(l + 1, k);
        return;
    }
    bool owner = false;
    const bool last = l + 1 == depth_ && !sink_.regions && !sink_.prove && count == 1;
    if ((splits_ >= claim_depth_ || last) && !begin(owner)) return;
    if (last) {
        for (int piece : {0, 1}) {
            net_.set_piece(pattern_.data(), l, list_[list].unit, piece);
            ++count_;
            mark_pieces();
        }
    } else {
        split(l, k, list, count);
    }
    end(owner);
}

void HalfspaceWalker::split(int l, int k, size_t list, size_t count) {
    const Candidate u = list_[list];
    const uint64_t path = cells_[k]->path;
    if (nodes_) {
        put_var(*nodes_, 1);
        put_var(*nodes_, static_cast<uint64_t>(net_.unit_offset[l] + u.unit));
    }
    for (int sign : {1, -1}) {
        push_cell(k);
        Cell& child = *cells_[k + 1];
        child.path = path + 1;
        cut(k + 1, u, sign, path, -1);
        const uint64_t inherited = child.alive;  // slots of later points may be known for others
        net_.set_piece(pattern_.data(), l, u.unit, sign > 0);
        ++splits_;
        const size_t begin_at = list_.size();
        size_t kept = begin_at;
        for (size_t i = 1; i < count; ++i) {
            Candidate v = list_[list + i];
            v.positive &= inherited, v.negative &= inherited, v.seen &= inherited;
            list_.push_back(v);
            const Side side = probe(k + 1, list_.back());
            if (side == Side::both) {
                list_[kept++] = list_.back();
            } else {
                const int piece = side == Side::positive;
                net_.set_piece(pattern_.data(), l, v.unit, piece);
                put_fix(l, v.unit, piece);
            }
            list_.resize(kept);
        }
        descend(l, k + 1, begin_at, kept - begin_at);
        list_.resize(begin_at);
        --splits_;
        pop_cell(k);
    }
}

// The cell where slot p of a window leads is cut out of cell k as cell k + 1; false if it has no
// interior, and then certificate_ says why. Slots that are the same function lead where the first
// of them does.
bool HalfspaceWalker::cut_to_slot(int l, int k, int window, int slot) {
    const Layer& layer = net_.layers[l];
    const Level& s = levels_[l];
    push_cell(k);
    Cell& child = *cells_[k + 1];
    const size_t before = std::exchange(window_rows_, rows_.size());
    std::vector<double> row(width_);
    uint64_t path = child.path;
    bool holds = true;
    for (int j = 0; j < layer.slots && holds; ++j) {
        const int a = layer.entry(window, slot), b = layer.entry(window, j);
        if (j == slot || b < 0) continue;
        for (size_t i = 0; i < width_; ++i)
            row[i] = s.rows[static_cast<size_t>(a) * width_ + i] -
                     s.rows[static_cast<size_t>(b) * width_ + i];
        Candidate u{window, l, a, b, row.data(), 0.0};
        double size = 0.0;
        for (double v : row) size += std::fabs(v);
        u.error = (s.error[a] + s.error[b] + 4 * kRound * size * problem_.reach) * kUp;
        ++stats_.unit_tests[l];
        if (a == b || vanishes(u)) {
            certificate_ = {};
            window_slot_ = j;
            holds = slot < j;
        } else {
            const Side side = probe(k + 1, u);
            if (side == Side::both) cut(k + 1, u, 1, path, j);
            window_slot_ = j;
            holds = side != Side::negative;
        }
        ++path;
    }
    window_rows_ = before;
    child.path = path;
    return holds;
}

void HalfspaceWalker::enter_windows(int l, int k, int window) {
    const Layer& layer = net_.layers[l];
    if (window == layer.units) {
        enter_layer(l + 1, k);
        return;
    }
    if (stop_.poll()) throw Stopped{};
    std::vector<int> kept;
    std::string dropped;
    std::string* const nodes = nodes_;
    if (nodes) nodes_ = &dropped;
    for (int p = 0; p < layer.slots; ++p) {
        if (layer.entry(window, p) < 0) continue;
        if (cut_to_slot(l, k, window, p))
            kept.push_back(p);
        else if (nodes_)
            put_window_certificate();
        pop_cell(k);
    }
    nodes_ = nodes;
    bool owner = false;
    if (kept.size() > 1 && splits_ >= claim_depth_ && !begin(owner)) return;
    if (nodes_) {
        put_var(*nodes_, 3);
        put_var(*nodes_, static_cast<uint64_t>(net_.unit_offset[l] + window));
        put_var(*nodes_, kept.size());
        for (int p : kept) put_var(*nodes_, static_cast<uint64_t>(p));
        *nodes_ += dropped;
    }
    if (kept.size() == 1) {
        // No slot's half-space cuts the cell.
        const uint64_t path = cells_[k]->path;
        for (int p = 0; p < layer.slots; ++p)
            cells_[k]->path += p != kept[0] && layer.entry(window, p) >= 0;
        net_.set_piece(pattern_.data(), l, window, kept[0]);
        enter_windows(l, k, window + 1);
        cells_[k]->path = path;
        return;
    }
    ++splits_;
    for (int p : kept) {
        net_.set_piece(pattern_.data(), l, window, p);
        PLV_CHECK(cut_to_slot(l, k, window, p));
        enter_windows(l, k + 1, window + 1);
        pop_cell(k);
    }
    --splits_;
    end(owner);
}

void HalfspaceWalker::leaf(int k) {
    bool owner = false;
    if (!begin(owner)) return;
    ++count_;
    mark_pieces();
    if (sink_.regions) emit(k);
    if (nodes_) put_leaf(k);
    if (progress_ && count_ - reported_ >= 1024) {
        progress_->fetch_add(count_ - reported_);
        reported_ = count_;
    }
    end(owner);
}

void HalfspaceWalker::mark_pieces() {
    for (size_t i = 0; i < pattern_.size(); ++i) {
        ever_on_[i] |= pattern_[i];
        ever_off_[i] = static_cast<uint8_t>(ever_off_[i] | ~pattern_[i]);
    }
}

}  // namespace plv
