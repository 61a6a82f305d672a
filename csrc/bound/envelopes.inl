// Kernels of envelopes; see kernels.hpp. Included by kernels.inl.

// To the nearest 256th, which is what proofs hold.
static inline __attribute__((always_inline)) Vec in_256ths(const Vec& share) {
    return ((share * 256.0 + 0x1.8p52) - 0x1.8p52) * (1.0 / 256.0);
}

static inline __attribute__((always_inline)) Vec clip(const Vec& v, double lo, double hi) {
    const Vec none = v - v, up = v > lo ? v : none + lo;
    return up < hi ? up : none + hi;
}

// Where a unit's coefficient is below 0 and its envelope or hull is taken: that coefficient, else
// 0.
template <typename View>
static inline __attribute__((always_inline)) Vec below(const View& view, size_t u,
                                                       const double* x) {
    const Vec c = load(x + u * kLane), none = c - c;
    return (c < 0.0 ? c : none) * load(view.use + u * kLane);
}

static void relax_envelopes(const EnvelopeView& view, const int* units, int n_units,
                            const double* x, double* to) {
    for (int k = 0; k < n_units; ++k) {
        const auto u = static_cast<size_t>(units[k]);
        const Vec c = below(view, u, x);
        for (size_t e = view.start[u]; e < view.start[u + 1]; ++e) {
            double* at = to + static_cast<size_t>(view.col[e]) * kLane;
            store(at, load(at) + view.w[e] * c * in_256ths(load(view.share + e * kLane)));
        }
    }
}

static void bend_envelopes(const EnvelopeView& view, const int* units, int n_units, const double* x,
                           const double* from, double* to) {
    for (int k = 0; k < n_units; ++k) {
        const auto u = static_cast<size_t>(units[k]);
        Vec sum = load(to + u * kLane) - load(to + u * kLane);
        for (size_t e = view.start[u]; e < view.start[u + 1]; ++e)
            sum += view.w[e] * in_256ths(load(view.share + e * kLane)) *
                   load(from + static_cast<size_t>(view.col[e]) * kLane);
        const Vec now = load(to + u * kLane);
        store(to + u * kLane, below(view, u, x) < 0.0 ? now + sum : now);
    }
}

// The largest difference between a piece of the unit and the shares' function over the box.
static inline __attribute__((always_inline)) void lift_envelope(const EnvelopeView& view,
                                                                size_t u) {
    const double slope = view.slope[u], bias = view.bias[u];
    const Vec none = {};
    Vec left = none + slope * bias, right = none + bias;
    for (size_t e = view.start[u]; e < view.start[u + 1]; ++e) {
        const size_t j = static_cast<size_t>(view.col[e]) * kLane;
        const Vec a = view.w[e] * load(view.lo + j), b = view.w[e] * load(view.hi + j);
        const Vec share = in_256ths(load(view.share + e * kLane));
        const Vec most = a > b ? a : b, least = a > b ? b : a;
        left += (slope - share) * (share > slope ? least : most);
        right += (1.0 - share) * most;
    }
    const Vec old = load(view.lift + u * kLane), lift = left > right ? left : right;
    store(view.lift + u * kLane, load(view.use + u * kLane) > 0.0 ? lift : old);
}

static void lift_envelopes(const EnvelopeView& view, const int* units, int n_units) {
    for (int k = 0; k < n_units; ++k) lift_envelope(view, static_cast<size_t>(units[k]));
}

// Shares are projected onto the set by a common shift, found by Newton's method.
static void climb_envelopes(const EnvelopeView& view, const int* units, int n_units,
                            const double* x, const double* from, double decay, double step) {
    const Vec none = {};
    // Of every input: its range, and where in it the value is; of every weight what it spreads.
    double *range = view.scratch, *place = range + static_cast<size_t>(view.n) * kLane,
           *spread = place + static_cast<size_t>(view.n) * kLane;
    for (size_t j = 0; j < static_cast<size_t>(view.n) * kLane; j += kLane) {
        const Vec lo = load(view.lo + j), width = load(view.hi + j) - lo;
        store(range + j, width);
        store(place + j, width > 0.0 ? (load(from + j) - lo) / width : none);
    }
    for (int k = 0; k < n_units; ++k) {
        const auto u = static_cast<size_t>(units[k]);
        const size_t start = view.start[u], end = view.start[u + 1];
        const double slope = view.slope[u];
        const Vec moves = below(view, u, x) < 0.0 ? none + 1.0 : none, pace = step * moves;
        Vec sum = none, weight = none, wanted = none + (1.0 - slope) * view.bias[u];
        for (size_t e = start; e < end; ++e) {
            const size_t j = static_cast<size_t>(view.col[e]) * kLane;
            const double w = view.w[e], size = w < 0.0 ? -w : w;
            const Vec width = size * load(range + j), at = load(place + j);
            const Vec mean =
                decay * load(view.mean + e * kLane) + (1.0 - decay) * (w > 0.0 ? at : 1.0 - at);
            const Vec share = load(view.share + e * kLane) - pace * mean;
            store(view.mean + e * kLane, mean);
            store(view.share + e * kLane, share);
            store(spread + (e - start) * kLane, width);
            sum += width * share;
            weight += width;
            wanted += w * (load((w > 0.0 ? view.hi : view.lo) + j) -
                           slope * load((w > 0.0 ? view.lo : view.hi) + j));
        }
        Vec shift = weight > 0.0 ? (sum - wanted) / weight : none;
        for (int round = 0; round < 2; ++round) {
            Vec reached = none, free = none;
            for (size_t e = start; e < end; ++e) {
                const Vec width = load(spread + (e - start) * kLane);
                const Vec share = load(view.share + e * kLane) - shift;
                const Vec kept = clip(share, slope, 1.0);
                reached += width * kept;
                free += share == kept ? width : none;
            }
            shift += free > 0.0 ? (reached - wanted) / free : none;
        }
        shift = moves > 0.0 ? shift : none;
        for (size_t e = start; e < end; ++e)
            store(view.share + e * kLane, clip(load(view.share + e * kLane) - shift, slope, 1.0));
        lift_envelope(view, u);
    }
}

static inline __attribute__((always_inline)) Vec in_grains(const HullView& view, size_t u,
                                                           size_t e) {
    const double grain = view.grain[u];
    return ((load(view.coefficient + e * kLane) / grain + 0x1.8p52) - 0x1.8p52) * grain;
}

static void relax_hulls(const HullView& view, const int* windows, int n_windows, const double* x,
                        double* to) {
    for (int k = 0; k < n_windows; ++k) {
        const auto u = static_cast<size_t>(windows[k]);
        const Vec c = below(view, u, x);
        for (size_t e = view.start[u]; e < view.start[u + 1]; ++e) {
            double* at = to + static_cast<size_t>(view.col[e]) * kLane;
            store(at, load(at) + c * in_grains(view, u, e));
        }
    }
}

static void bend_hulls(const HullView& view, const int* windows, int n_windows, const double* x,
                       const double* from, double* to) {
    for (int k = 0; k < n_windows; ++k) {
        const auto u = static_cast<size_t>(windows[k]);
        const Vec now = load(to + u * kLane);
        Vec sum = now - now;
        for (size_t e = view.start[u]; e < view.start[u + 1]; ++e)
            sum += in_grains(view, u, e) * load(from + static_cast<size_t>(view.col[e]) * kLane);
        store(to + u * kLane, below(view, u, x) < 0.0 ? now + sum : now);
    }
}

// What each piece exceeds the function without its lift by, at most; the largest of these.
static inline __attribute__((always_inline)) Vec hull_tops(const HullView& view, size_t u,
                                                           Vec* top) {
    const auto pieces = static_cast<size_t>(view.pieces);
    for (size_t p = 0; p < pieces; ++p) top[p] = Vec{} + view.bias[u * pieces + p];
    for (size_t e = view.start[u]; e < view.start[u + 1]; ++e) {
        const size_t j = static_cast<size_t>(view.col[e]) * kLane;
        const Vec lo = load(view.lo + j), hi = load(view.hi + j), c = in_grains(view, u, e);
        for (size_t p = 0; p < pieces; ++p) {
            const Vec d = view.w[e * pieces + p] - c;
            top[p] += d * (d > 0.0 ? hi : lo);
        }
    }
    Vec most = top[0];
    for (size_t p = 1; p < pieces; ++p) most = top[p] > most ? top[p] : most;
    return most;
}

static inline __attribute__((always_inline)) void lift_hull(const HullView& view, size_t u) {
    Vec top[kMostPieces];
    const Vec most = hull_tops(view, u, top), old = load(view.lift + u * kLane);
    store(view.lift + u * kLane, load(view.use + u * kLane) > 0.0 ? most : old);
}

static void lift_hulls(const HullView& view, const int* windows, int n_windows) {
    for (int k = 0; k < n_windows; ++k) lift_hull(view, static_cast<size_t>(windows[k]));
}

static void climb_hulls(const HullView& view, const int* windows, int n_windows, const double* x,
                        const double* from, double decay, double step, double soft) {
    const auto pieces = static_cast<size_t>(view.pieces);
    const auto span = [&](size_t e, double& low, double& high) {
        low = high = view.w[e * pieces];
        for (size_t p = 1; p < pieces; ++p) {
            const double w = view.w[e * pieces + p];
            low = w < low ? w : low;
            high = w > high ? w : high;
        }
    };
    for (int k = 0; k < n_windows; ++k) {
        const auto u = static_cast<size_t>(windows[k]);
        const Vec none = {}, moves = below(view, u, x) < 0.0 ? none + 1.0 : none;
        Vec lead[kMostPieces];
        const Vec most = hull_tops(view, u, lead);
        Vec size = none + 1e-200, sum = none;
        double low, high;
        for (size_t e = view.start[u]; e < view.start[u + 1]; ++e) {
            const size_t j = static_cast<size_t>(view.col[e]) * kLane;
            span(e, low, high);
            size += (high - low) * (load(view.hi + j) - load(view.lo + j));
        }
        for (size_t p = 0; p < pieces; ++p) {
            const Vec behind = 1.0 + (most - lead[p]) / (soft * size);
            lead[p] = 1.0 / (behind * behind * behind);
            sum += lead[p];
        }
        for (size_t e = view.start[u]; e < view.start[u + 1]; ++e) {
            const size_t j = static_cast<size_t>(view.col[e]) * kLane;
            const Vec lo = load(view.lo + j), width = load(view.hi + j) - lo;
            const Vec c = load(view.coefficient + e * kLane);
            span(e, low, high);
            // Where the leading pieces less the function are largest, and where it is wanted least.
            Vec there = none;
            for (size_t p = 0; p < pieces; ++p)
                there += view.w[e * pieces + p] > c ? lead[p] : none;
            const Vec at = width > 0.0 ? (load(from + j) - lo) / width : none;
            const Vec mean =
                decay * load(view.mean + e * kLane) + (1.0 - decay) * (at - there / sum);
            store(view.mean + e * kLane, mean);
            store(view.coefficient + e * kLane,
                  clip(c - step * (high - low) * moves * mean, low, high));
        }
        lift_hull(view, u);
    }
}
