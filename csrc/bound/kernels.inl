// Body of the kernels, included once per instruction set by kernels.cpp, inside a namespace.

typedef double Vec __attribute__((vector_size(kLane * sizeof(double)), aligned(sizeof(double))));

static inline Vec load(const double* p) { return *reinterpret_cast<const Vec*>(p); }
static inline void store(double* p, const Vec& v) { *reinterpret_cast<Vec*>(p) = v; }

// Of a comparison of two vectors. Comparisons are not joined by && or &, which compilers take lane
// by lane: a choice between numbers comes before the next comparison.
template <typename Mask>
static inline __attribute__((always_inline)) bool is_any(const Mask& mask) {
    typedef signed char Bytes __attribute__((vector_size(kLane)));
    const Bytes bytes = __builtin_convertvector(mask, Bytes);
    uint64_t all = 0;
    static_assert(sizeof(all) == sizeof(bytes));
    __builtin_memcpy(&all, &bytes, sizeof(all));
    return all != 0;
}

static inline __attribute__((always_inline)) Vec root_of(Vec v) {
    for (int i = 0; i < kLane; ++i) v[i] = __builtin_sqrt(v[i]);
    return v;
}

static inline __attribute__((always_inline)) Vec absolute(Vec v) { return v < 0.0 ? -v : v; }

// kTile outputs by kWide vectors are kept in registers.
template <int kTile, int kWide>
static inline __attribute__((always_inline)) void tile(const MatrixView& m, const int* outs,
                                                       const int* ins, int n_ins,
                                                       const double* from, double* to, int lanes) {
    const double* w[kTile];
    Vec sum[kTile][kWide];
    for (int t = 0; t < kTile; ++t) {
        w[t] = m.w + static_cast<size_t>(outs[t]) * m.out_step;
        for (int v = 0; v < kWide; ++v)
            sum[t][v] = load(to + static_cast<size_t>(outs[t]) * lanes + v * kLane);
    }
    for (int k = 0; k < n_ins; ++k) {
        const size_t i = static_cast<size_t>(ins[k]), at = i * m.in_step;
        Vec x[kWide];
        for (int v = 0; v < kWide; ++v) x[v] = load(from + i * lanes + v * kLane);
        for (int t = 0; t < kTile; ++t)
            for (int v = 0; v < kWide; ++v) sum[t][v] += w[t][at] * x[v];
    }
    for (int t = 0; t < kTile; ++t)
        for (int v = 0; v < kWide; ++v)
            store(to + static_cast<size_t>(outs[t]) * lanes + v * kLane, sum[t][v]);
}

// One output of one vector: in several sums, which do not wait for one another.
static inline __attribute__((always_inline)) void one_output(const MatrixView& m, int out,
                                                             const int* ins, int n_ins,
                                                             const double* from, double* to,
                                                             int lanes) {
    constexpr int kSums = 4;
    const double* w = m.w + static_cast<size_t>(out) * m.out_step;
    const auto term = [&](int k) __attribute__((always_inline)) {
        const auto i = static_cast<size_t>(ins[k]);
        return w[i * m.in_step] * load(from + i * lanes);
    };
    Vec sum[kSums] = {load(to + static_cast<size_t>(out) * lanes)};
    int k = 0;
    for (; k + kSums <= n_ins; k += kSums)
        for (int t = 0; t < kSums; ++t) sum[t] += term(k + t);
    for (; k < n_ins; ++k) sum[0] += term(k);
    store(to + static_cast<size_t>(out) * lanes, (sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <int kTile, int kWide>
static void multiply_wide(const MatrixView& m, const int* outs, int n_outs, const int* ins,
                          int n_ins, const double* from, double* to, int lanes) {
    int o = 0;
    for (; o + kTile <= n_outs; o += kTile)
        tile<kTile, kWide>(m, outs + o, ins, n_ins, from, to, lanes);
    for (; o + 4 <= n_outs; o += 4) tile<4, kWide>(m, outs + o, ins, n_ins, from, to, lanes);
    for (; o < n_outs; ++o)
        if constexpr (kWide == 1)
            one_output(m, outs[o], ins, n_ins, from, to, lanes);
        else
            tile<1, kWide>(m, outs + o, ins, n_ins, from, to, lanes);
}

static void multiply(const MatrixView& m, const int* outs, int n_outs, const int* ins, int n_ins,
                     const double* from, double* to, int lanes) {
    int l = 0;
    for (; l + 4 * kLane <= lanes; l += 4 * kLane)
        multiply_wide<4, 4>(m, outs, n_outs, ins, n_ins, from + l, to + l, lanes);
    for (; l + 2 * kLane <= lanes; l += 2 * kLane)
        multiply_wide<8, 2>(m, outs, n_outs, ins, n_ins, from + l, to + l, lanes);
    for (; l < lanes; l += kLane)
        multiply_wide<12, 1>(m, outs, n_outs, ins, n_ins, from + l, to + l, lanes);
}

static void gather(const size_t* start, const int32_t* col, const double* w, const int* rows,
                   int n_rows, const double* from, double* to, int lanes) {
    for (int k = 0; k < n_rows; ++k) {
        const auto r = static_cast<size_t>(rows[k]);
        for (int l = 0; l < lanes; l += kLane) {
            Vec sum = load(to + r * lanes + l);
            for (size_t e = start[r]; e < start[r + 1]; ++e)
                sum += w[e] * load(from + static_cast<size_t>(col[e]) * lanes + l);
            store(to + r * lanes + l, sum);
        }
    }
}

static void scatter(const size_t* start, const int32_t* col, const double* w, const int* rows,
                    int n_rows, const double* from, double* to, int lanes) {
    for (int k = 0; k < n_rows; ++k) {
        const auto r = static_cast<size_t>(rows[k]);
        for (int l = 0; l < lanes; l += kLane) {
            const Vec x = load(from + r * lanes + l);
            // Of a convolution's forms most depend on few of its pixels.
            if (!is_any(x != 0.0)) continue;
            for (size_t e = start[r]; e < start[r + 1]; ++e) {
                double* at = to + static_cast<size_t>(col[e]) * lanes + l;
                store(at, load(at) + w[e] * x);
            }
        }
    }
}

static void relax(const LineView& lines, const int* units, int n_units, const double* x, double* h,
                  double* constant, int lanes) {
    for (int l = 0; l < lanes; l += kLane) {
        Vec sum = load(constant + l);
        for (int k = 0; k < n_units; ++k) {
            const auto u = static_cast<size_t>(units[k]);
            const Vec c = load(x + u * lanes + l), none = c - c;
            const Vec above = c > 0.0 ? c : none, below = c > 0.0 ? none : c;
            store(h + u * lanes + l, above * lines.under[u] + below * lines.over[u]);
            sum += above * lines.under_lift[u] + below * lines.over_lift[u];
        }
        store(constant + l, sum);
    }
}

static void least(const double* x, const double* lo, const double* hi, int n, double* constant,
                  int lanes) {
    for (int l = 0; l < lanes; l += kLane) {
        Vec sum = load(constant + l);
        for (int i = 0; i < n; ++i) {
            const Vec c = load(x + static_cast<size_t>(i) * lanes + l);
            sum += c > 0.0 ? c * lo[i] : c * hi[i];
        }
        store(constant + l, sum);
    }
}

static void add_sizes(const double* weight, const int* rows, int n_rows, const double* x,
                      double* sizes, int lanes) {
    for (int l = 0; l < lanes; l += kLane) {
        Vec sum = load(sizes + l);
        for (int k = 0; k < n_rows; ++k) {
            const auto r = static_cast<size_t>(rows[k]);
            sum += weight[r] * absolute(load(x + r * lanes + l));
        }
        store(sizes + l, sum);
    }
}

static void add_lifts(const LineView& lines, const int* units, int n_units, const double* x,
                      double* sizes, int lanes) {
    for (int l = 0; l < lanes; l += kLane) {
        Vec sum = load(sizes + l);
        for (int k = 0; k < n_units; ++k) {
            const auto u = static_cast<size_t>(units[k]);
            const double under = lines.under_lift[u], over = lines.over_lift[u];
            if (under == 0.0 && over == 0.0) continue;
            const Vec c = load(x + u * lanes + l), none = c - c;
            sum += absolute(c * (c > 0.0 ? none + under : none + over));
        }
        store(sizes + l, sum);
    }
}

static void relax_each(const LineView& lines, const int* units, int n_units, const double* x,
                       double* h, double* constant) {
    Vec sum = load(constant);
    for (int k = 0; k < n_units; ++k) {
        const auto u = static_cast<size_t>(units[k]) * kLane;
        const Vec c = load(x + u), none = c - c;
        const Vec above = c > 0.0 ? c : none, below = c > 0.0 ? none : c;
        store(h + u, above * load(lines.under + u) + below * load(lines.over + u));
        sum += above * load(lines.under_lift + u) + below * load(lines.over_lift + u);
    }
    store(constant, sum);
}

static void least_each(const double* x, const double* lo, const double* hi, int n, double* constant,
                       double* at) {
    Vec sum = load(constant);
    for (int i = 0; i < n; ++i) {
        const auto k = static_cast<size_t>(i) * kLane;
        const Vec c = load(x + k);
        const Vec end = c > 0.0 ? load(lo + k) : load(hi + k);
        sum += c * end;
        store(at + k, end);
    }
    store(constant, sum);
}

static void bend(const LineView& lines, const int* units, int n_units, const double* x,
                 const double* z, double* to) {
    for (int k = 0; k < n_units; ++k) {
        const auto u = static_cast<size_t>(units[k]) * kLane;
        const Vec c = load(x + u), v = load(z + u);
        store(to + u, c > 0.0 ? v * load(lines.under + u) + load(lines.under_lift + u)
                              : v * load(lines.over + u) + load(lines.over_lift + u));
    }
}

static void relax_windows(const WindowView& view, const int* units, int n_units, const double* x,
                          double* h, double* constant) {
    Vec sum = load(constant);
    for (int k = 0; k < n_units; ++k) {
        const size_t j = static_cast<size_t>(units[k]), first = j * static_cast<size_t>(view.slots);
        const Vec c = load(x + j * kLane), none = c - c;
        const Vec above = c > 0.0 ? c : none, below = c > 0.0 ? none : c;
        sum += below * load(view.over_lift + j * kLane);
        for (size_t s = first; s < first + static_cast<size_t>(view.slots); ++s) {
            if (view.entries[s] < 0) continue;
            double* to = h + static_cast<size_t>(view.entries[s]) * kLane;
            store(to, load(to) + above * load(view.under + s * kLane) +
                          below * load(view.over + s * kLane));
        }
    }
    store(constant, sum);
}

static void bend_windows(const WindowView& view, const int* units, int n_units, const double* x,
                         const double* z, double* to) {
    for (int k = 0; k < n_units; ++k) {
        const size_t j = static_cast<size_t>(units[k]), first = j * static_cast<size_t>(view.slots);
        const Vec c = load(x + j * kLane);
        Vec above = c - c, below = load(view.over_lift + j * kLane);
        for (size_t s = first; s < first + static_cast<size_t>(view.slots); ++s) {
            if (view.entries[s] < 0) continue;
            const Vec v = load(z + static_cast<size_t>(view.entries[s]) * kLane);
            above += v * load(view.under + s * kLane);
            below += v * load(view.over + s * kLane);
        }
        store(to + j * kLane, c > 0.0 ? above : below);
    }
}

static inline __attribute__((always_inline)) void lift_window(const WindowView& view, size_t j) {
    const size_t first = j * static_cast<size_t>(view.slots);
    const Vec level = load(view.level + j * kLane), none = level - level;
    const Vec moves = load(view.leveled + j * kLane);
    Vec lift = level;
    for (size_t s = first; s < first + static_cast<size_t>(view.slots); ++s) {
        if (view.entries[s] < 0) continue;
        const Vec lo = load(view.lo + s * kLane), hi = load(view.hi + s * kLane);
        const Vec factor = hi > level ? (hi - level) / (hi - lo) : none;
        lift -= factor * lo;
        const Vec old = load(view.over + s * kLane);
        store(view.over + s * kLane, moves > 0.0 ? factor : old);
    }
    const Vec old = load(view.over_lift + j * kLane);
    store(view.over_lift + j * kLane, moves > 0.0 ? lift : old);
}

static void lift_windows(const WindowView& view, const int* units, int n_units) {
    for (int k = 0; k < n_units; ++k) lift_window(view, static_cast<size_t>(units[k]));
}

static void climb_windows(const WindowView& view, const int* units, int n_units, const double* x,
                          const double* z, const double* a, double step) {
    for (int k = 0; k < n_units; ++k) {
        const size_t j = static_cast<size_t>(units[k]), first = j * static_cast<size_t>(view.slots);
        const size_t last = first + static_cast<size_t>(view.slots);
        const Vec c = load(x + j * kLane), mean = load(a + j * kLane), none = c - c;
        const Vec moves = c > 0.0 ? load(view.open + j * kLane) : none;
        const Vec level = load(view.level + j * kLane);
        Vec spread = none + 1e-200, slope = none + 1.0;
        for (size_t s = first; s < last; ++s) {
            if (view.entries[s] < 0) continue;
            const Vec at = load(z + static_cast<size_t>(view.entries[s]) * kLane);
            const Vec size = at > mean ? at - mean : mean - at;
            spread = size > spread ? size : spread;
            const Vec lo = load(view.lo + s * kLane), hi = load(view.hi + s * kLane);
            slope -= hi > level ? (at - lo) / (hi - lo) : none;
        }
        Vec sum = none;
        for (size_t s = first; s < last; ++s) {
            if (view.entries[s] < 0) continue;
            // Between -1 and 1 that is the exponential function but for a thousandth.
            const Vec above = load(z + static_cast<size_t>(view.entries[s]) * kLane) - mean;
            const Vec t = step * moves * above / spread, even = 1.0 + t * t * (1.0 / 12.0);
            const Vec share = load(view.under + s * kLane);
            Vec next = share * (even + 0.5 * t) / (even - 0.5 * t);
            next = next < 1e-9 ? (share > 0.0 ? 1e-9 + none : none) : next;
            sum += next;
            store(view.under + s * kLane, next);
        }
        // All shares are 0 of a window that is known to be.
        for (size_t s = first; s < last; ++s) {
            if (view.entries[s] < 0) continue;
            const Vec share = load(view.under + s * kLane);
            store(view.under + s * kLane, sum > 0.0 ? share / sum : share);
        }
        const Vec least = load(view.level_lo + j * kLane), most = load(view.level_hi + j * kLane);
        Vec next = level - (c < 0.0 ? 0.3 * step * slope * (most - least) : none);
        next = next < least ? least : next;
        next = next > most ? most : next;
        store(view.level + j * kLane, next);
        lift_window(view, j);
    }
}

static void climb(const ClimbView& view, const int* units, int n_units, const ClimbRates& rates) {
    for (int k = 0; k < n_units; ++k) {
        const double s = view.slope[units[k]], lo = s < 1.0 ? s : 1.0, hi = s < 1.0 ? 1.0 : s;
        const auto u = static_cast<size_t>(units[k]) * kLane;
        double* line = (s > 1.0 ? view.over : view.under) + u;
        const Vec g = load(view.g + u), z = load(view.z + u), none = g - g;
        const Vec uses = s > 1.0 ? (g < 0.0 ? g : none) : (g > 0.0 ? g : none);
        const Vec slope = uses * z;
        const Vec first = rates.first * load(view.first + u) + (1.0 - rates.first) * slope;
        const Vec second =
            rates.second * load(view.second + u) + (1.0 - rates.second) * slope * slope;
        store(view.first + u, first);
        store(view.second + u, second);
        const Vec root = root_of(second * rates.unbias);
        const Vec now = load(line);
        Vec next = now + rates.step * load(view.open + u) * first / (root + 1e-200);
        next = next < lo ? lo + none : next;
        next = next > hi ? hi + none : next;
        store(line, load(view.open + u) > 0.0 ? next : now);
    }
}

static void rectify(const double* z, const double* x, const double* slope, int n, double* to,
                    int lanes) {
    for (int i = 0; i < n; ++i)
        for (int l = 0; l < lanes; l += kLane) {
            const size_t at = static_cast<size_t>(i) * lanes + l;
            const Vec v = load(x + at);
            store(to + at, load(z + at) > 0.0 ? v : slope[i] * v);
        }
}

#include "bound/balls.inl"
#include "bound/envelopes.inl"

static const BoundKernels kTable = {
    multiply,       gather,           scatter,          relax,       least,
    add_sizes,      add_lifts,        rectify,          relax_each,  least_each,
    least_where,    least_in_l1_ball, least_in_l2_ball, bend,        relax_windows,
    bend_windows,   lift_windows,     climb_windows,    climb,       relax_envelopes,
    bend_envelopes, lift_envelopes,   climb_envelopes,  relax_hulls, bend_hulls,
    lift_hulls,     climb_hulls};
