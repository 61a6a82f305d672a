// Kernels of linear functions over boxes together with balls or half-spaces; see kernels.hpp.
// Included by kernels.inl.

constexpr int kTangents = 12;
constexpr double kFlat = 0x1p-30;    // of the terms of a half-space: as a slope, 0
constexpr double kRounding = 1e-10;  // of all its terms: by so much a checker's may differ

// Newton's method, as it were: the inputs that the box holds back are taken as known.
static void least_in_l2_ball(const BallView& ball, const double* x, const double* lo,
                             const double* hi, int n, double* constant, double* at,
                             double* multiplier) {
    const Vec none = {};
    Vec square = none;
    for (int k = 0; k < n; ++k) {
        const Vec c = load(x + static_cast<size_t>(k) * kLane);
        square += c * c / ball.weight[k];
    }
    Vec m = root_of(square / ball.size) * 0.5;
    const auto end = [&](int k, const Vec& half, Vec& inner) __attribute__((always_inline)) {
        const size_t i = static_cast<size_t>(k) * kLane;
        inner = ball.center[k] - load(x + i) * half * (1.0 / ball.weight[k]);
        Vec s = inner > load(lo + i) ? inner : load(lo + i);
        return s < load(hi + i) ? s : load(hi + i);
    };
    for (int round = 0; round < 6; ++round) {
        const Vec half = m > 0.0 ? 0.5 / m : none;
        Vec free = none, left = none + ball.size;
        for (int k = 0; k < n; ++k) {
            const Vec c = load(x + static_cast<size_t>(k) * kLane);
            Vec inner;
            const Vec s = end(k, half, inner), d = s - ball.center[k];
            free += s == inner ? c * c / ball.weight[k] : none;
            left -= s == inner ? none : ball.weight[k] * d * d;
        }
        const Vec next = root_of(free / left) * 0.5;
        bool moved = false;
        for (int i = 0; i < kLane; ++i) {
            if (!(left[i] > 0.0 && free[i] > 0.0)) continue;
            moved |= !(__builtin_fabs(next[i] - m[i]) <= 1e-14 * next[i]);
            m[i] = next[i];
        }
        if (!moved) break;
    }
    const Vec half = m > 0.0 ? 0.5 / m : none;
    Vec inside = -m * ball.size, outside = none;
    for (int k = 0; k < n; ++k) {
        const size_t i = static_cast<size_t>(k) * kLane;
        const Vec c = load(x + i);
        Vec inner;
        const Vec s = end(k, half, inner), d = s - ball.center[k];
        inside += c * s + m * ball.weight[k] * d * d;
        outside += c * (c > 0.0 ? load(lo + i) : load(hi + i));
        store(at + i, s);
    }
    // Where the box alone is better, or the multiplier is of no use.
    const Vec found = inside > outside ? inside : outside;
    m = inside > outside ? m : none;
    for (int k = 0; k < n; ++k) {
        const size_t i = static_cast<size_t>(k) * kLane;
        const Vec side = load(x + i) > 0.0 ? load(lo + i) : load(hi + i);
        store(at + i, m > 0.0 ? load(at + i) : side);
    }
    store(constant, load(constant) + found);
    store(multiplier, m);
}

// Where tangents on both sides of the best multiplier meet, over and over: the bound is concave and
// piecewise linear in it. The point lies between those of the two sides, at the ball's surface.
static void least_in_l1_ball(const BallView& ball, const double* x, const double* lo,
                             const double* hi, int n, double* constant, double* at,
                             double* multiplier) {
    const Vec none = {};
    const auto ends = [&](int k, const Vec& m, Vec& s) __attribute__((always_inline)) {
        const size_t i = static_cast<size_t>(k) * kLane;
        const Vec c = load(x + i), a = load(lo + i), b = load(hi + i);
        const Vec size = c < 0.0 ? -c : c, center = none + ball.center[k];
        Vec near = center > a ? center : a;
        near = near < b ? near : b;
        s = size > m * ball.weight[k] ? (c > 0.0 ? a : b) : near;
        return c;
    };
    struct Tangent {
        Vec at, value, slope;
    };
    const auto tangent = [&](const Vec& m) __attribute__((always_inline)) {
        Vec value = none, distance = none - ball.size;
        for (int k = 0; k < n; ++k) {
            Vec s;
            value += ends(k, m, s) * s;
            const Vec d = s - ball.center[k];
            distance += ball.weight[k] * (d < 0.0 ? -d : d);
        }
        return Tangent{m, value + m * distance, distance};
    };
    Vec most = none;
    for (int k = 0; k < n; ++k) {
        const Vec c = load(x + static_cast<size_t>(k) * kLane) * (1.0 / ball.weight[k]);
        const Vec size = c < 0.0 ? -c : c;
        most = size > most ? size : most;
    }
    Tangent left = tangent(none), right = tangent(most * (1.0 + 0x1p-40));
    for (int round = 0; round < kTangents; ++round) {
        const Vec bend =
            (right.value - left.value + left.slope * left.at - right.slope * right.at) /
            (left.slope - right.slope);
        Vec room = bend > left.at ? left.slope : none;
        room = bend < right.at ? room : none;
        room = right.slope < 0.0 ? room : none;
        const auto open = room > 0.0;
        const Tangent next = tangent(open ? bend : left.at);
        if (!is_any(open)) break;
        const auto up = (open ? next.slope : none) > 0.0;
        const auto down = (next.slope <= 0.0 ? room : none) > 0.0;
        left = {up ? next.at : left.at, up ? next.value : left.value, up ? next.slope : left.slope};
        right = {down ? next.at : right.at, down ? next.value : right.value,
                 down ? next.slope : right.slope};
    }
    const Vec share = right.slope < 0.0 ? left.slope / (left.slope - right.slope) : none + 1.0;
    const Vec part = left.slope > 0.0 ? share : none;
    for (int k = 0; k < n; ++k) {
        Vec s, t;
        ends(k, left.at, s);
        ends(k, right.at, t);
        store(at + static_cast<size_t>(k) * kLane, s + part * (t - s));
    }
    const auto later = (left.slope > 0.0 ? right.value - left.value : none) > 0.0;
    store(constant, load(constant) + (later ? right.value : left.value));
    store(multiplier, later ? right.at : left.at);
}

// One multiplier after the other, up to where a coefficient becomes 0 and the minimum grows no
// more. Where one is 0 it is the function's own slope that tells where its minimum goes.
static void least_where(const HalfSpacesView& view, const double* x, const double* lo,
                        const double* hi, int n, const double* start, double* least, int lanes) {
    const Vec none = {}, never = none + __builtin_inf();
    double inverse[kMostWhere * kMostWhere], flat[kMostWhere];
    for (int r = 0; r < view.count; ++r) {
        flat[r] = view.constant[r] < 0.0 ? -view.constant[r] : view.constant[r];
        for (int k = 0; k < n; ++k) {
            const double a = view.slope[r * n + k], low = a * lo[k], high = a * hi[k];
            inverse[r * n + k] = -1.0 / a;
            flat[r] += __builtin_fabs(low) + __builtin_fabs(high);
        }
        flat[r] *= kFlat;  // a slope that small counts as 0, as in docs/proof_format.md
    }
    for (int l = 0; l < lanes; l += kLane) {
        Vec c[kMostWhere], at[kMostWhere], bend[kMostWhere], constant = load(start + l);
        for (int k = 0; k < n; ++k) c[k] = load(x + static_cast<size_t>(k) * lanes + l);
        bool any = false;
        for (int r = 0; r < view.count; ++r) {
            const double* a = view.slope + static_cast<size_t>(r) * n;
            Vec beyond = none + view.constant[r];
            for (int k = 0; k < n; ++k) {
                const double low = a[k] * lo[k], high = a[k] * hi[k];
                const double own = a[k] > 0.0 ? low : high;
                beyond += c[k] > 0.0 ? none + low : c[k] < 0.0 ? none + high : none + own;
            }
            if (!is_any(beyond > flat[r])) continue;
            for (int k = 0; k < n; ++k) {
                at[k] = c[k] * inverse[r * n + k];
                bend[k] = at[k] = at[k] > 0.0 ? at[k] : never;
            }
            Vec multiplier = none;
            for (int round = 0; round < n; ++round) {
                Vec next = bend[0];
                for (int k = 1; k < n; ++k) next = bend[k] < next ? bend[k] : next;
                const auto open = (next < never ? beyond : none) > flat[r];
                if (!is_any(open)) break;
                multiplier = open ? next : multiplier;
                for (int k = 0; k < n; ++k) {
                    const auto here = bend[k] <= next;
                    const double size = (a[k] < 0.0 ? -a[k] : a[k]) * (hi[k] - lo[k]);
                    beyond -= here ? none + size : none;
                    bend[k] = here ? never : bend[k];
                }
            }
            for (int k = 0; k < n; ++k)
                c[k] = at[k] == multiplier ? none : c[k] + multiplier * a[k];
            constant += multiplier * (view.constant[r] - kRounding * view.size[r] - flat[r]);
            any = true;
        }
        if (!any) continue;
        for (int k = 0; k < n; ++k) constant += c[k] > 0.0 ? c[k] * lo[k] : c[k] * hi[k];
        const Vec old = load(least + l);
        store(least + l, constant > old ? constant : old);
    }
}
