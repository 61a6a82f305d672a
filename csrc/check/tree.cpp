#include "check/tree.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace plv::check {

namespace {

constexpr uint64_t kMaxScale = 1u << 13;
constexpr uint64_t kMaxDepth = 1u << 16;
// Factors beyond are left to integers: products with rows of at most 1e150 stay in range.
constexpr double kLargestFactor = 1e100;

void require(bool condition, const char* reason) {
    if (!condition) [[unlikely]]
        throw Rejected(reason);
}

}  // namespace

TreeChecker::TreeChecker(const TreeQuestion& question, Body::More more, std::function<void()> tick)
    : domain_(question.domain),
      regions_(question.regions),
      body_(std::move(more)),
      tick_(std::move(tick)),
      maps_(question.net, question.domain),
      dim_(question.domain.dim) {
    const auto& layers = maps_.layers();
    for (uint32_t l = 0; l < layers.size(); ++l) {
        open_.push_back(0);
        for (uint32_t i = 0; i < layers[l].count; ++i) {
            const bool single = !layers[l].is_max && layers[l].single[i];
            layer_of_.push_back(l);
            single_.push_back(single);
            pieces_.push_back(single ? 0 : -1);
            open_[l] += !single;
        }
    }
    want_.assign(pieces_.size(), 0.0);
    const size_t width = dim_ + 1;
    const auto first = static_cast<uint32_t>(maps_.entries() - domain_.constraint_count);
    for (uint32_t i = 0; i < domain_.constraint_count; ++i) {
        path_.push_back({first + i, kNone});
        bool any = false;
        for (size_t c = 0; c < dim_; ++c) any = any || !domain_.constraints.is_zero(i * width + c);
        if (any)
            constraints_.push_back(first + i);
        else if (domain_.constraints.at(i * width + dim_).is_negative())
            is_empty_ = true;
    }
    sum_.resize(width);
    witness_.resize(dim_);
    exact_witness_.resize(width);
    point_.resize(dim_);
    difference_.resize(width);
    total_.resize(width);
    if (!layers.empty()) maps_.enter(0, pieces_.data());
    settle();
}

void TreeChecker::run() {
    while (true) {
        if ((stats_.nodes++ & 63) == 0) tick_();
        const uint64_t code = body_.var();
        if (code == 1) {
            split();
        } else if (code == 2) {
            fix();
        } else if (code == 3) {
            window();
        } else {
            require(code == 0, "unknown kind of node");
            leaf();
            if (branches_.empty()) break;
            next_child();
        }
    }
    if (stats_.leaves != regions_)
        throw Rejected("the tree has " + std::to_string(stats_.leaves) + " leaves");
    require(body_.at_end(), "bytes follow the last leaf");
}

// --------------------------------------------------------------------------------------- nodes

void TreeChecker::leaf() {
    require(layer_ == maps_.layers().size(), "a leaf before all units are fixed");
    depth_ = body_.var();
    require(depth_ <= kMaxDepth, "the denominator of a witness is too long");
    has_exact_witness_ = false;
    reach_ = 1;
    for (size_t k = 0; k < dim_; ++k) {
        body_.number(witness_[k]);
        point_[k] = maps_.local(witness_[k].value(), depth_, k);
        reach_ = std::max(reach_, std::abs(point_[k]));
    }
    reach_ *= 1 + 0x1p-40;
    require(!is_empty_, "a constraint without coefficients does not hold");
    const double* tolerance = maps_.tolerance();
    for (const uint32_t g : constraints_) {
        double z = maps_.at(g, dim_);
        for (size_t k = 0; k < dim_; ++k) z += maps_.at(g, k) * point_[k];
        if (z > tolerance[g] * reach_) continue;
        bool is_zero = false;
        require(exact_sign({g, kNone}, is_zero) > 0, "a witness is not inside the domain");
    }
    for (const Layer& layer : maps_.layers()) {
        if (layer.is_max)
            check_windows(layer);
        else
            check_units(layer);
    }
    require(++stats_.leaves <= regions_, "the tree has more leaves than the header says");
}

void TreeChecker::check_units(const Layer& layer) {
    const size_t n = layer.count;
    values_.resize(std::max(values_.size(), n));
    double* z = values_.data();
    std::copy_n(maps_.column(dim_) + layer.base, n, z);
    for (size_t k = 0; k < dim_; ++k) {
        const double* a = maps_.column(k) + layer.base;
        const double s = point_[k];
        for (size_t i = 0; i < n; ++i) z[i] += a[i] * s;
    }
    const double* want = want_.data() + layer.first;
    const double* tolerance = maps_.tolerance() + layer.base;
    int64_t open = 0;
    for (size_t i = 0; i < n; ++i) open += !(want[i] * z[i] > tolerance[i] * reach_);
    if (open == 0) return;
    for (uint32_t i = 0; i < n; ++i) {
        if (layer.single[i] || want[i] * z[i] > tolerance[i] * reach_) continue;
        bool is_zero = false;
        const int sign = exact_sign({layer.base + i, kNone}, is_zero);
        const int32_t piece = pieces_[layer.first + i];
        // A row of zeros has piece 0, the canonical one.
        require(is_zero ? piece == 0 : sign == (piece != 0 ? 1 : -1),
                "a witness is not strictly on the piece of a unit");
    }
}

void TreeChecker::check_windows(const Layer& layer) {
    const double* tolerance = maps_.tolerance();
    const auto value = [&](uint32_t g) {
        double z = maps_.at(g, dim_);
        for (size_t k = 0; k < dim_; ++k) z += maps_.at(g, k) * point_[k];
        return z;
    };
    for (uint32_t w = 0; w < layer.count; ++w) {
        const auto piece = static_cast<uint32_t>(pieces_[layer.first + w]);
        const uint32_t best = slot(layer, w, piece);
        const double top = value(best);
        for (uint32_t k = 0; k < layer.slots; ++k) {
            const uint32_t g = slot(layer, w, k);
            if (k == piece || g == kNone) continue;
            // The difference is rounded once more.
            const double bound = (tolerance[best] + tolerance[g]) * reach_ * (1 + 0x1p-40);
            if (top - value(g) > bound) continue;
            bool is_zero = false;
            const int sign = exact_sign({best, g}, is_zero);
            require(is_zero ? piece < k : sign > 0,
                    "a witness is not strictly on the piece of a window");
        }
    }
}

void TreeChecker::split() {
    const uint32_t unit = next_unit(false);
    const size_t kept = kept_.size();
    kept_.push_back(1);
    kept_.push_back(0);
    branch(unit, kept);
}

void TreeChecker::fix() {
    const uint32_t unit = next_unit(false);
    const uint64_t piece = body_.var();
    require(piece <= 1, "a unit has no such piece");
    begin_terms();
    add_term(side(unit, piece == 0));
    certificate();
    set(unit, static_cast<int32_t>(piece));
    settle();
}

void TreeChecker::window() {
    const uint32_t unit = next_unit(true);
    const Layer& layer = layer_of(unit);
    const uint32_t w = unit - layer.first;
    const size_t kept = kept_.size();
    const uint64_t count = body_.var();
    int64_t last = -1;
    for (uint64_t k = 0; k < count; ++k) {
        const uint64_t p = body_.var();
        require(p<layer.slots&& static_cast<int64_t>(p)> last &&
                    slot(layer, w, static_cast<uint32_t>(p)) != kNone,
                "a window has no slot");
        last = static_cast<int64_t>(p);
        kept_.push_back(static_cast<uint32_t>(p));
    }
    require(count > 0, "a window keeps no slot");
    size_t at = kept;
    for (uint32_t p = 0; p < layer.slots; ++p) {
        const uint32_t own = slot(layer, w, p);
        if (own == kNone) continue;
        if (at < kept_.size() && kept_[at] == p) {
            ++at;
            continue;
        }
        begin_terms();
        const uint64_t others = body_.var();
        bool lost = false;  // whether a region with this piece would contradict the certificate
        last = -1;
        for (uint64_t k = 0; k < others; ++k) {
            const uint64_t j = body_.var();
            require(j<layer.slots&& static_cast<int64_t>(j)> last && j != p, "no such slot");
            const uint32_t other = slot(layer, w, static_cast<uint32_t>(j));
            require(other != kNone, "a window has no slot");
            last = static_cast<int64_t>(j);
            // Where the two are one function, only the second one loses for sure.
            lost = lost || j < p || !vanishes({own, other});
            add_term({own, other});
        }
        require(lost, "a certificate compares a piece with nothing that could beat it");
        certificate();
    }
    branch(unit, kept);
}

uint32_t TreeChecker::next_unit(bool is_max) {
    const uint64_t unit = body_.var();
    require(unit < pieces_.size(), "there is no such unit");
    const auto u = static_cast<uint32_t>(unit);
    require(pieces_[u] < 0, "a unit has a piece already");
    require(layer_of_[u] == layer_, "a unit comes before an earlier layer is done");
    require(layer_of(u).is_max == is_max, "the node does not fit its unit");
    return u;
}

TreeChecker::Row TreeChecker::side(uint32_t unit, int32_t piece) const {
    const Layer& layer = layer_of(unit);
    const uint32_t g = layer.base + (unit - layer.first);
    return piece != 0 ? Row{g, kNone} : Row{kNone, g};
}

// -------------------------------------------------------------------------------- certificates

void TreeChecker::begin_terms() {
    terms_.clear();
    big_count_ = 0;
}

void TreeChecker::add_term(Row row) {
    body_.number(number_);
    const uint64_t zigzag = body_.var();
    require(number_.sign() > 0 && zigzag <= 2 * kMaxScale,
            "a multiplier is not positive or out of range");
    Term term;
    term.row = row;
    term.e = static_cast<int32_t>(zigzag >> 1) ^ -static_cast<int32_t>(zigzag & 1);
    double factor;
    long e = term.e;
    if (!number_.is_big) {
        term.m = number_.small;
        factor = static_cast<double>(number_.small);
    } else {
        if (bigs_.size() == big_count_) bigs_.emplace_back();
        bigs_[big_count_] = number_.big;
        term.big = static_cast<int32_t>(big_count_++);
        long more = 0;
        factor = number_.big.to_double(more);
        e += more;
    }
    // Left to the integers, by an undefined sum, if it is too large or too small.
    term.factor = std::abs(e) < 600 ? std::ldexp(factor, static_cast<int>(e)) : NAN;
    if (!(term.factor <= kLargestFactor && term.factor >= 1 / kLargestFactor)) term.factor = NAN;
    terms_.push_back(term);
}

void TreeChecker::certificate() {
    const uint64_t count = body_.var();
    int64_t last = -1;
    for (uint64_t k = 0; k < count; ++k) {
        const uint64_t index = body_.var();
        require(index < path_.size() && static_cast<int64_t>(index) > last,
                "a certificate uses no row of the path");
        last = static_cast<int64_t>(index);
        add_term(path_[index]);
    }
    ++stats_.certificates;
    if (!holds_in_doubles()) {
        ++stats_.exact_certificates;
        require(holds_exactly(), "a certificate proves nothing");
    }
}

// Whether the sum F of the terms is <= 0 on the box for certain. With n entries in the sum, factors
// rounded once, and every partial sum, |F^ - F| <= r sum |y| (error + (n + 2) u size) for |s| <= r;
// the evaluation at the corner where F^ is largest rounds dim + 1 more times, and the corner's
// coordinates were rounded once. On a coordinate with an infinite end the sign of the slope must be
// certain; F is then largest at the finite end, which counts like any other point.
bool TreeChecker::holds_in_doubles() {
    std::fill(sum_.begin(), sum_.end(), 0.0);
    double error = 0, size = 0;
    size_t n = 0;
    const auto add = [&](uint32_t g, double y) {
        if (g == kNone) return;
        ++n;
        for (size_t c = 0; c <= dim_; ++c) sum_[c] += y * maps_.at(g, c);
        error += std::abs(y) * maps_.error(g);
        size += std::abs(y) * maps_.size(g);
    };
    for (const Term& term : terms_) {
        add(term.row.plus, term.factor);
        add(term.row.minus, -term.factor);
    }
    const Box& box = maps_.box();
    const double bound =
        (error + static_cast<double>(n + dim_ + 10) * kUnit * size) * slack(n + dim_);
    double most = sum_[dim_], reach = box.reach;
    for (size_t k = 0; k < dim_; ++k) {
        const Box::End& end = sum_[k] > 0 ? box.upper[k] : box.lower[k];
        if (!(box.upper[k].finite && box.lower[k].finite)) {
            if (!end.finite || !(std::abs(sum_[k]) > bound)) return false;
            reach = std::max(reach, std::abs(end.local) * (1 + 0x1p-40));
        }
        most += sum_[k] * end.local;
    }
    return most <= -bound * reach;
}

bool TreeChecker::holds_exactly() {
    int32_t low = terms_[0].e;
    Scale den;
    for (const Term& term : terms_) {
        low = std::min(low, term.e);
        for (const uint32_t g : {term.row.plus, term.row.minus})
            if (g != kNone) den = lcm(den, maps_.den(g));
    }
    for (Int& v : total_) v = 0;
    Int factor;
    for (const Term& term : terms_) {
        for (const bool minus : {false, true}) {
            const uint32_t g = minus ? term.row.minus : term.row.plus;
            if (g == kNone) continue;
            const Int* row = maps_.exact(g);
            factor = term.big < 0 ? Int(term.m) : bigs_[static_cast<size_t>(term.big)];
            factor <<= static_cast<size_t>(term.e - low);
            quotient(den, maps_.den(g)).apply(factor);
            if (minus) factor.negate();
            for (size_t c = 0; c <= dim_; ++c) total_[c].add_mul(row[c], factor);
        }
    }
    const Box& box = maps_.box();
    box.den.apply(total_[dim_]);
    Int& most = total_[dim_];
    for (size_t k = 0; k < dim_; ++k) {
        if (total_[k].is_zero()) continue;
        const Box::End& end = total_[k].sign() > 0 ? box.upper[k] : box.lower[k];
        if (!end.finite) return false;
        most.add_mul(total_[k], end.num);
    }
    return most.sign() <= 0;
}

bool TreeChecker::vanishes(const Row& row) {
    // A coefficient of the difference that is not 0 for certain.
    const double bound = (maps_.error(row.plus) + maps_.error(row.minus) +
                          8 * kUnit * (maps_.size(row.plus) + maps_.size(row.minus))) *
                         slack(dim_);
    for (size_t c = 0; c <= dim_; ++c)
        if (std::abs(maps_.at(row.plus, c) - maps_.at(row.minus, c)) > bound) return false;
    exact_row(row, difference_);
    return std::all_of(difference_.begin(), difference_.end(),
                       [](const Int& v) { return v.is_zero(); });
}

void TreeChecker::exact_row(const Row& row, std::vector<Int>& out) {
    const Int* plus = maps_.exact(row.plus);
    if (row.minus == kNone) {
        std::copy_n(plus, dim_ + 1, out.begin());
        return;
    }
    const Int* minus = maps_.exact(row.minus);
    const Scale &a = maps_.den(row.plus), &b = maps_.den(row.minus);
    const Scale den = lcm(a, b), to_a = quotient(den, a), to_b = quotient(den, b);
    Int scaled;
    for (size_t c = 0; c <= dim_; ++c) {
        out[c] = plus[c];
        to_a.apply(out[c]);
        scaled = minus[c];
        to_b.apply(scaled);
        out[c] -= scaled;
    }
}

// The sign of a row at the witness.
int TreeChecker::exact_sign(const Row& row, bool& is_zero) {
    ++stats_.exact_signs;
    exact_row(row, difference_);
    is_zero = std::all_of(difference_.begin(), difference_.end(),
                          [](const Int& v) { return v.is_zero(); });
    if (is_zero) return 0;
    if (!has_exact_witness_) {
        for (size_t k = 0; k < dim_; ++k) exact_witness_[k] = witness_[k].value();
        exact_witness_[dim_] = Int(1) << static_cast<size_t>(depth_);
        has_exact_witness_ = true;
    }
    Int value;
    for (size_t c = 0; c <= dim_; ++c) value.add_mul(difference_[c], exact_witness_[c]);
    return value.sign();
}

// ------------------------------------------------------------------------------------ the path

void TreeChecker::branch(uint32_t unit, size_t kept) {
    branches_.push_back({unit, static_cast<uint32_t>(path_.size()),
                         static_cast<uint32_t>(fixed_.size()), static_cast<uint32_t>(kept),
                         static_cast<uint32_t>(kept), layer_});
    next_child();
}

// Goes to the next child of the last branch: back from a leaf, or ahead right after `branch`.
void TreeChecker::next_child() {
    Branch& top = branches_.back();
    for (size_t i = top.fixed; i < fixed_.size(); ++i) {
        pieces_[fixed_[i]] = -1;
        ++open_[layer_of_[fixed_[i]]];
    }
    fixed_.resize(top.fixed);
    path_.resize(top.path);
    layer_ = top.layer;
    const auto piece = static_cast<int32_t>(kept_[top.next++]);
    const Branch state = top;
    if (state.next == kept_.size()) {
        kept_.resize(state.kept);
        branches_.pop_back();
    }
    enter(state, piece);
}

void TreeChecker::enter(const Branch& state, int32_t piece) {
    const Layer& layer = layer_of(state.unit);
    if (layer.is_max) {
        const uint32_t w = state.unit - layer.first;
        const uint32_t own = slot(layer, w, static_cast<uint32_t>(piece));
        for (uint32_t k = 0; k < layer.slots; ++k) {
            const uint32_t other = slot(layer, w, k);
            if (k != static_cast<uint32_t>(piece) && other != kNone) path_.push_back({own, other});
        }
    } else {
        path_.push_back(side(state.unit, piece));
    }
    set(state.unit, piece);
    settle();
}

void TreeChecker::set(uint32_t unit, int32_t piece) {
    pieces_[unit] = piece;
    want_[unit] = piece != 0 ? 1.0 : -1.0;
    fixed_.push_back(unit);
    --open_[layer_of_[unit]];
}

// Goes on to the next layer with an open unit; all layers below it have their pieces.
void TreeChecker::settle() {
    const auto& layers = maps_.layers();
    while (layer_ < layers.size() && open_[layer_] == 0)
        if (++layer_ < layers.size()) maps_.enter(layer_, pieces_.data());
}

}  // namespace plv::check
