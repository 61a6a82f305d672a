// Body of the vector kernels. Included once per instruction set by kernels.cpp, inside a namespace
// that defines
//   kLanes, Vec, load, store, set1, zero, fma, mul, add, abs, max, min, div, gt (bit mask of lanes
//   a > b, ordered), if_gt (lanes of x where a > b, else of y), gather, from_int, kAccVectors (how
//   many accumulators fit the registers together with a broadcast per column).

template <int NC, int VR>
static inline __attribute__((always_inline)) void accumulate_rows(double* m, int stride,
                                                                  const double* w, const int* cols,
                                                                  const double* coef, int count) {
    Vec acc[NC][VR];
    for (int c = 0; c < NC; ++c)
        for (int v = 0; v < VR; ++v) acc[c][v] = load(m + c * stride + v * kLanes);
    for (int j = 0; j < count; ++j) {
        const double* col = w + static_cast<long>(cols[j]) * stride;
        Vec f[NC];
        for (int c = 0; c < NC; ++c) f[c] = set1(coef[j * NC + c]);
        for (int v = 0; v < VR; ++v) {
            const Vec x = load(col + v * kLanes);
            for (int c = 0; c < NC; ++c) acc[c][v] = fma(x, f[c], acc[c][v]);
        }
    }
    for (int c = 0; c < NC; ++c)
        for (int v = 0; v < VR; ++v) store(m + c * stride + v * kLanes, acc[c][v]);
}

template <int NC>
static void accumulate(double* m, int stride, const double* w, const int* cols, const double* coef,
                       int count) {
    // As many vectors of rows at a time as the registers hold accumulators for.
    constexpr int most = kAccVectors / NC, wide = most >= 8 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1;
    int r = 0;
    for (; r + wide * kLanes <= stride; r += wide * kLanes)
        accumulate_rows<NC, wide>(m + r, stride, w + r, cols, coef, count);
    if constexpr (wide > 4)
        for (; r + 4 * kLanes <= stride; r += 4 * kLanes)
            accumulate_rows<NC, 4>(m + r, stride, w + r, cols, coef, count);
    if constexpr (wide > 2)
        for (; r + 2 * kLanes <= stride; r += 2 * kLanes)
            accumulate_rows<NC, 2>(m + r, stride, w + r, cols, coef, count);
    if constexpr (wide > 1)
        for (; r + kLanes <= stride; r += kLanes)
            accumulate_rows<NC, 1>(m + r, stride, w + r, cols, coef, count);
}

template <int NC>
static void accumulate_groups(double* m, int stride, double* stamps, double stamp,
                              const int32_t* group, const double* values, int count,
                              const double* coef) {
    Vec f[NC];
    for (int c = 0; c < NC; ++c) f[c] = set1(coef[c]);
    const Vec none = zero(), now = set1(stamp);
    for (int g = 0; g < count; ++g, values += kPad) {
        const int r = group[g] * kPad;
        for (int h = 0; h < kPad; h += kLanes) {
            const Vec x = load(values + h);
            for (int c = 0; c < NC; ++c) {
                double* at = m + static_cast<long>(c) * stride + r + h;
                store(at, fma(x, f[c], load(at)));
            }
            store(stamps + r + h, if_gt(abs(x), none, now, load(stamps + r + h)));
        }
    }
}

// Rows a at the vertex x.
template <int NC>
static inline __attribute__((always_inline)) Vec value(const Vec* a, const double* x) {
    Vec z = mul(a[NC - 1], set1(x[NC - 1]));
    for (int c = 0; c + 1 < NC; ++c) z = fma(a[c], set1(x[c]), z);
    return z;
}

template <int NC, bool kRanges>
static inline __attribute__((always_inline)) void classify_rows(const double* m, int stride,
                                                                int blocks, const RowError& error,
                                                                const VertexBlock& v,
                                                                const SignMasks& out, double* low,
                                                                double* high) {
    const Vec scale = set1(error.scale), extra = set1(error.extra), rho = set1(v.rho),
              delta = set1(v.delta);
    const Vec eval = set1(detail::kEvalOf<NC - 1>), two = set1(2.0);
    for (int b = 0; b < blocks; ++b) {
        unsigned positive = 0, negative = 0, crossing = 0;
        for (int h = 0; h < kPad / kLanes; ++h) {
            const int r = b * kPad + h * kLanes;
            Vec a[NC];
            for (int c = 0; c < NC; ++c) a[c] = load(m + c * stride + r);
            Vec gradient = abs(a[0]);
            for (int c = 1; c + 1 < NC; ++c) gradient = add(gradient, abs(a[c]));
            const Vec size = add(gradient, abs(a[NC - 1]));
            const Vec e = add(fma(load(error.norm + r), scale, load(error.base + r)), extra);
            // T = (E + kEval S) rho + (|gradient| + 2 E) delta
            const Vec t = fma(fma(eval, size, e), rho, mul(fma(two, e, gradient), delta));
            const double* x = v.x;
            Vec lo = value<NC>(a, x), hi = lo;
            for (int k = 1; k < v.count; ++k) {
                x += v.step;
                const Vec z = value<NC>(a, x);
                lo = min(lo, z);
                hi = max(hi, z);
            }
            if constexpr (kRanges) {
                // Rounding once more stays within the 8 u and this factor. What is NaN is unknown.
                const Vec wide = mul(t, set1(kUp)), far = set1(kFar);
                const Vec least = sub(lo, wide), most = add(hi, wide), minus = set1(-kFar);
                store(low + r, if_gt(least, minus, least, minus));
                store(high + r, if_gt(far, most, most, far));
            }
            const Vec minus_t = sub(zero(), t);
            positive |= gt(lo, t) << (h * kLanes);
            negative |= gt(minus_t, hi) << (h * kLanes);
            crossing |= (gt(hi, t) & gt(minus_t, lo)) << (h * kLanes);
        }
        out.positive[b] = static_cast<uint8_t>(positive);
        out.negative[b] = static_cast<uint8_t>(negative);
        out.crossing[b] = static_cast<uint8_t>(crossing);
    }
}

template <int NC>
static void classify(const double* m, int stride, int blocks, const RowError& error,
                     const VertexBlock& v, const SignMasks& out) {
    classify_rows<NC, false>(m, stride, blocks, error, v, out, nullptr, nullptr);
}

template <int NC>
static void classify_ranges(const double* m, int stride, int blocks, const RowError& error,
                            const VertexBlock& v, const SignMasks& out, double* low, double* high) {
    classify_rows<NC, true>(m, stride, blocks, error, v, out, low, high);
}

template <int NC>
static void classify_unchecked(const double* m, int stride, int blocks, const VertexBlock& v,
                               const SignMasks& out) {
    for (int b = 0; b < blocks; ++b) {
        unsigned low = 0, high = 0;
        for (int h = 0; h < kPad / kLanes; ++h) {
            Vec a[NC];
            for (int c = 0; c < NC; ++c) a[c] = load(m + c * stride + b * kPad + h * kLanes);
            const double* x = v.x;
            Vec lo = value<NC>(a, x), hi = lo;
            for (int k = 1; k < v.count; ++k) {
                x += v.step;
                const Vec z = value<NC>(a, x);
                lo = min(lo, z);
                hi = max(hi, z);
            }
            low |= gt(zero(), lo) << (h * kLanes);
            high |= gt(hi, zero()) << (h * kLanes);
        }
        out.positive[b] = static_cast<uint8_t>(~low & high);
        out.negative[b] = static_cast<uint8_t>(~high);
        out.crossing[b] = static_cast<uint8_t>(low & high);
    }
}

static void leaders(const double* low, const double* high, const int32_t* table, int slots,
                    int stride, int32_t* value, uint8_t* swing, uint8_t* open) {
    constexpr unsigned all = (1u << kLanes) - 1;
    const Vec none = zero();
    for (int w = 0; w < stride; w += kPad) {
        unsigned swings = 0, opens = 0;
        for (int h = 0; h < kPad; h += kLanes) {
            const int32_t* at = table + w + h;
            Vec least = gather(low, at), most = gather(high, at), others = set1(-kFar);
            Vec row = from_int(at);
            for (int s = 1; s < slots; ++s) {
                at += stride;
                const Vec l = gather(low, at), m = gather(high, at);
                others = max(others, if_gt(l, least, most, m));
                row = if_gt(l, least, from_int(at), row);
                most = if_gt(l, least, m, most);
                least = if_gt(l, least, l, least);
            }
            const unsigned on = gt(least, none), off = ~gt(max(most, others), none);
            const unsigned led = (gt(least, others) | ~gt(others, none)) & all;
            swings |= (led & ~on & ~off) << h;
            opens |= (~led & all) << h;
            alignas(64) double rows[kLanes];
            store(rows, if_gt(max(most, others), none, row, set1(-1.0)));
            for (int i = 0; i < kLanes; ++i) value[w + h + i] = static_cast<int32_t>(rows[i]);
        }
        swing[w / kPad] = static_cast<uint8_t>(swings);
        open[w / kPad] = static_cast<uint8_t>(opens);
    }
}

// One slot of some windows: rows, thresholds T as in classify, and E + S, which is 0 for a row that
// surely is zero.
template <int NC>
struct Slot {
    Vec a[NC], t, size;
};

template <int NC>
static inline __attribute__((always_inline)) Slot<NC> load_slot(const double* m, int stride,
                                                                const int32_t* rows,
                                                                const double* error,
                                                                const VertexBlock& v) {
    Slot<NC> out;
    for (int c = 0; c < NC; ++c) out.a[c] = gather(m + static_cast<long>(c) * stride, rows);
    Vec gradient = abs(out.a[0]);
    for (int c = 1; c + 1 < NC; ++c) gradient = add(gradient, abs(out.a[c]));
    const Vec size = add(gradient, abs(out.a[NC - 1])), e = gather(error, rows);
    out.t = mul(fma(fma(set1(detail::kEvalOf<NC - 1>), size, e), set1(v.rho),
                    mul(fma(set1(2.0), e, gradient), set1(v.delta))),
                set1(kUp));
    out.size = add(size, e);
    return out;
}

template <int NC>
static void windows(const double* m, int stride, const WindowTable& table, const double* error,
                    const VertexBlock& v, int32_t* best, uint8_t* decided) {
    constexpr unsigned all = (1u << kLanes) - 1;
    const Vec none = zero(), far = set1(-1e300);
    for (int w = 0; w < table.stride; w += kPad) {
        unsigned mask = 0;
        for (int h = 0; h < kPad; h += kLanes) {
            const int32_t* at = table.table + w + h;
            Slot<NC> top{};
            Vec lead = none, slot = none, row = none;
            for (int s = 0; s < table.slots; ++s, at += table.stride) {
                const Slot<NC> here = load_slot<NC>(m, stride, at, error, v);
                Vec z = value<NC>(here.a, v.x);
                if (table.nonnegative) z = if_gt(here.size, none, z, far);
                if (s == 0) {
                    top = here;
                    lead = z;
                    row = from_int(at);
                    continue;
                }
                for (int c = 0; c < NC; ++c) top.a[c] = if_gt(z, lead, here.a[c], top.a[c]);
                top.t = if_gt(z, lead, here.t, top.t);
                top.size = if_gt(z, lead, here.size, top.size);
                slot = if_gt(z, lead, set1(s), slot);
                row = if_gt(z, lead, from_int(at), row);
                lead = if_gt(z, lead, z, lead);
            }
            const unsigned nothing = table.nonnegative ? all : ~gt(top.size, none);
            unsigned sure = all;
            at = table.table + w + h;
            for (int s = 0; s < table.slots && sure; ++s, at += table.stride) {
                const Slot<NC> here = load_slot<NC>(m, stride, at, error, v);
                // Rounding the difference first costs less than the 8 u in both thresholds.
                Vec gap[NC];
                for (int c = 0; c < NC; ++c) gap[c] = sub(top.a[c], here.a[c]);
                const double* x = v.x;
                Vec least = value<NC>(gap, x);
                for (int k = 1; k < v.count; ++k) {
                    x += v.step;
                    least = min(value<NC>(gap, x), least);
                }
                const Vec mine = from_int(at);
                const unsigned same = ~(gt(mine, row) | gt(row, mine));
                sure &= gt(least, add(top.t, here.t)) | (~gt(here.size, none) & nothing) | same;
            }
            mask |= (sure & all) << h;
            alignas(64) double slots[kLanes];
            store(slots, slot);
            for (int i = 0; i < kLanes; ++i) best[w + h + i] = static_cast<int32_t>(slots[i]);
        }
        decided[w / kPad] = static_cast<uint8_t>(mask);
    }
}

template <int NC>
static double mass(const double* m, int stride, int blocks, const RowError& error, double k,
                   const uint8_t* skip) {
    const Vec scale = set1(error.scale), extra = set1(error.extra), kk = set1(k);
    double total = 0.0;
    alignas(64) double lanes[kPad];
    for (int b = 0; b < blocks; ++b) {
        if (skip && skip[b] == 0xff) continue;
        for (int h = 0; h < kPad / kLanes; ++h) {
            const int r = b * kPad + h * kLanes;
            Vec size = abs(load(m + r));
            for (int c = 1; c < NC; ++c) size = add(size, abs(load(m + c * stride + r)));
            const Vec e = add(fma(load(error.norm + r), scale, load(error.base + r)), extra);
            const Vec q = fma(kk, size, e);
            store(lanes + h * kLanes, mul(q, q));
        }
        const unsigned dead = skip ? skip[b] : 0;
        for (int i = 0; i < kPad; ++i)
            if (!(dead >> i & 1)) total += lanes[i];
    }
    return total;
}

// As plv::meet (geom/vertex.hpp), for kPad points at a time; see there for what is proven.
template <int NC>
static void meet_all(const double* a, const double* c, const double* error, double* x,
                     double* delta) {
    constexpr int D = NC - 1;
    const Vec none = zero(), one = set1(1.0), unit = set1((D + 4) * kRound);
    for (int h = 0; h < kPad; h += kLanes) {
        const auto at = [&](const double* table, int i) { return load(table + i * kPad + h); };
        Vec m[D][D], inverse[D][D];
        for (int i = 0; i < D; ++i)
            for (int j = 0; j < D; ++j) {
                m[i][j] = at(a, i * D + j);
                inverse[i][j] = i == j ? one : none;
            }
        for (int k = 0; k < D; ++k) {
            for (int i = k + 1; i < D; ++i) {
                const Vec mine = abs(m[i][k]), top = abs(m[k][k]);
                const auto swap = [&](Vec& p, Vec& q) {
                    const Vec keep = p;
                    p = if_gt(mine, top, q, p);
                    q = if_gt(mine, top, keep, q);
                };
                for (int j = k; j < D; ++j) swap(m[k][j], m[i][j]);
                for (int j = 0; j < D; ++j) swap(inverse[k][j], inverse[i][j]);
            }
            const Vec scale = div(one, m[k][k]);
            for (int j = k; j < D; ++j) m[k][j] = mul(m[k][j], scale);
            for (int j = 0; j < D; ++j) inverse[k][j] = mul(inverse[k][j], scale);
            for (int i = 0; i < D; ++i) {
                if (i == k) continue;
                const Vec f = sub(none, m[i][k]);
                for (int j = k; j < D; ++j) m[i][j] = fma(f, m[k][j], m[i][j]);
                for (int j = 0; j < D; ++j) inverse[i][j] = fma(f, inverse[k][j], inverse[i][j]);
            }
        }
        Vec point[D], size = one;
        for (int i = 0; i < D; ++i) {
            Vec sum = none;
            for (int k = 0; k < D; ++k) sum = fma(inverse[i][k], at(c, k), sum);
            point[i] = sub(none, sum);
            size = max(size, abs(sum));
            store(x + i * kPad + h, point[i]);
        }
        Vec residual[D], gradient[D];
        for (int k = 0; k < D; ++k) {
            Vec z = at(c, k), terms = abs(z);
            gradient[k] = none;
            for (int j = 0; j < D; ++j) {
                const Vec entry = at(a, k * D + j), t = mul(entry, point[j]);
                z = add(z, t);
                terms = add(terms, abs(t));
                gradient[k] = add(gradient[k], abs(entry));
            }
            residual[k] = add(fma(set1(detail::kEvalOf<D>), terms, abs(z)),
                              fma(at(error, k), size, set1(1e-290)));
        }
        Vec worst[3] = {none, none, none};  // alpha, distance, largest of the inverse
        for (int i = 0; i < D; ++i) {
            Vec row = unit, far = none;
            for (int j = 0; j < D; ++j) {
                Vec g = i == j ? set1(-1.0) : none;
                for (int k = 0; k < D; ++k) g = fma(inverse[i][k], at(a, k * D + j), g);
                row = add(row, abs(g));
            }
            for (int k = 0; k < D; ++k) {
                const Vec r = abs(inverse[i][k]);
                row = fma(r, fma(unit, gradient[k], at(error, k)), row);
                far = fma(r, residual[k], far);
                worst[2] = if_gt(r, worst[2], r, worst[2]);
            }
            // What is too large, or NaN, makes alpha 1.
            worst[0] = max(worst[0], if_gt(set1(0.5), row, row, one));
            worst[0] = if_gt(set1(1e280), far, worst[0], one);
            worst[1] = max(worst[1], if_gt(set1(1e280), far, far, none));
        }
        const Vec bound = fma(div(worst[1], sub(one, worst[0])), set1(kUp), set1(1e-300));
        const Vec lost = set1(std::numeric_limits<double>::infinity());
        const Vec out = if_gt(set1(0.5), worst[0], bound, lost);
        store(delta + h, if_gt(set1(1e280), worst[2], out, lost));
    }
}

// The threshold T of classify, and the values of rows at every vertex.
template <int NC>
static void values(const double* m, int stride, int blocks, const double* error,
                   const VertexBlock& v, double* z, double* bound) {
    const Vec rho = set1(v.rho), delta = set1(v.delta), eval = set1(detail::kEvalOf<NC - 1>);
    for (int r = 0; r < blocks * kPad; r += kLanes) {
        Vec a[NC];
        for (int c = 0; c < NC; ++c) a[c] = load(m + c * stride + r);
        Vec gradient = abs(a[0]);
        for (int c = 1; c + 1 < NC; ++c) gradient = add(gradient, abs(a[c]));
        const Vec size = add(gradient, abs(a[NC - 1])), e = load(error + r);
        store(bound + r, fma(fma(eval, size, e), rho, mul(fma(set1(2.0), e, gradient), delta)));
        const double* x = v.x;
        for (int k = 0; k < v.count; ++k, x += v.step)
            store(z + k * blocks * kPad + r, value<NC>(a, x));
    }
}

static void mix(int blocks, const MixEnd& u, const MixEnd& v, double* z, double* bound) {
    const Vec p = set1(u.weight), q = set1(v.weight), dp = set1(u.error), dq = set1(v.error);
    const Vec up = set1(kUp), rounding = set1(8 * kRound), tiny = set1(1e-290);
    for (int r = 0; r < blocks * kPad; r += kLanes) {
        const Vec zu = load(u.z + r), zv = load(v.z + r), eu = load(u.bound + r),
                  ev = load(v.bound + r);
        const Vec su = abs(zu), sv = abs(zv);
        store(z + r, fma(p, zv, mul(q, zu)));
        Vec e = fma(p, ev, mul(q, eu));
        e = fma(dp, add(sv, ev), e);
        e = fma(dq, add(su, eu), e);
        e = fma(rounding, fma(p, sv, mul(q, su)), e);
        store(bound + r, fma(e, up, tiny));
    }
}

static void judge(int blocks, int count, const double* z, const double* bound, int step,
                  const SignMasks& out) {
    for (int b = 0; b < blocks; ++b) {
        unsigned positive = 0, negative = 0, crossing = 0;
        for (int h = 0; h < kPad; h += kLanes) {
            const int r = b * kPad + h;
            constexpr unsigned all = (1u << kLanes) - 1;
            unsigned every_up = all, every_down = all, some_up = 0, some_down = 0;
            for (int k = 0; k < count; ++k) {
                const Vec value = load(z + k * blocks * kPad + r), e = load(bound + k * step + r);
                const unsigned up = gt(value, e), down = gt(sub(zero(), value), e);
                every_up &= up;
                every_down &= down;
                some_up |= up;
                some_down |= down;
            }
            positive |= every_up << h;
            negative |= every_down << h;
            crossing |= (some_up & some_down) << h;
        }
        out.positive[b] = static_cast<uint8_t>(positive);
        out.negative[b] = static_cast<uint8_t>(negative);
        out.crossing[b] = static_cast<uint8_t>(crossing);
    }
}

template <int NC>
constexpr KernelTable table() {
    return {&accumulate<NC>,
            &accumulate_groups<NC>,
            &classify<NC>,
            &classify_ranges<NC>,
            &classify_unchecked<NC>,
            &leaders,
            &windows<NC>,
            &meet_all<NC>,
            &values<NC>,
            &mix,
            &judge,
            &mass<NC>};
}
static constexpr KernelTable kTables[kMaxDimension] = {
    table<2>(), table<3>(), table<4>(), table<5>(), table<6>(), table<7>(), table<8>(), table<9>()};
