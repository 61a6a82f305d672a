#include "region/kernels.hpp"

#include <cmath>
#include <limits>

#include "base/rounding.hpp"
#include "geom/vertex.hpp"
#include "net/net.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PLV_X86_DISPATCH 1
#include <immintrin.h>
// GCC 12 takes the undefined pass-through operand of its own AVX-512 intrinsics for a use of a
// variable.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#else
#define PLV_X86_DISPATCH 0
#endif

namespace plv {

namespace portable {
constexpr int kLanes = 2, kAccVectors = 12;
struct Vec {
    double v[2];
};
static inline Vec load(const double* p) { return {{p[0], p[1]}}; }
static inline void store(double* p, Vec a) { p[0] = a.v[0], p[1] = a.v[1]; }
static inline Vec set1(double x) { return {{x, x}}; }
static inline Vec zero() { return {{0, 0}}; }
static inline Vec add(Vec a, Vec b) { return {{a.v[0] + b.v[0], a.v[1] + b.v[1]}}; }
static inline Vec sub(Vec a, Vec b) { return {{a.v[0] - b.v[0], a.v[1] - b.v[1]}}; }
static inline Vec mul(Vec a, Vec b) { return {{a.v[0] * b.v[0], a.v[1] * b.v[1]}}; }
static inline Vec div(Vec a, Vec b) { return {{a.v[0] / b.v[0], a.v[1] / b.v[1]}}; }
static inline Vec fma(Vec a, Vec b, Vec c) {
    return {{a.v[0] * b.v[0] + c.v[0], a.v[1] * b.v[1] + c.v[1]}};
}
static inline Vec abs(Vec a) { return {{std::fabs(a.v[0]), std::fabs(a.v[1])}}; }
static inline Vec min(Vec a, Vec b) {
    return {{a.v[0] < b.v[0] ? a.v[0] : b.v[0], a.v[1] < b.v[1] ? a.v[1] : b.v[1]}};
}
static inline Vec max(Vec a, Vec b) {
    return {{a.v[0] > b.v[0] ? a.v[0] : b.v[0], a.v[1] > b.v[1] ? a.v[1] : b.v[1]}};
}
static inline unsigned gt(Vec a, Vec b) { return (a.v[0] > b.v[0]) | (a.v[1] > b.v[1]) << 1; }
static inline Vec if_gt(Vec a, Vec b, Vec x, Vec y) {
    return {{a.v[0] > b.v[0] ? x.v[0] : y.v[0], a.v[1] > b.v[1] ? x.v[1] : y.v[1]}};
}
static inline Vec gather(const double* p, const int32_t* i) { return {{p[i[0]], p[i[1]]}}; }
static inline Vec from_int(const int32_t* i) {
    return {{static_cast<double>(i[0]), static_cast<double>(i[1])}};
}
#include "region/kernels.inl"
}  // namespace portable

#if PLV_X86_DISPATCH
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
// Single loads take a third of the time of the gather instructions, whose microcode is mitigated on
// many machines.
constexpr int kLanes = 4, kAccVectors = 12;
using Vec = __m256d;
static inline Vec load(const double* p) { return _mm256_loadu_pd(p); }
static inline void store(double* p, Vec a) { _mm256_storeu_pd(p, a); }
static inline Vec set1(double x) { return _mm256_set1_pd(x); }
static inline Vec zero() { return _mm256_setzero_pd(); }
static inline Vec add(Vec a, Vec b) { return _mm256_add_pd(a, b); }
static inline Vec sub(Vec a, Vec b) { return _mm256_sub_pd(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm256_mul_pd(a, b); }
static inline Vec div(Vec a, Vec b) { return _mm256_div_pd(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_pd(a, b, c); }
static inline Vec abs(Vec a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
static inline Vec min(Vec a, Vec b) { return _mm256_min_pd(a, b); }
static inline Vec max(Vec a, Vec b) { return _mm256_max_pd(a, b); }
static inline unsigned gt(Vec a, Vec b) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ)));
}
static inline Vec if_gt(Vec a, Vec b, Vec x, Vec y) {
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_GT_OQ));
}
static inline Vec gather(const double* p, const int32_t* i) {
    return _mm256_set_pd(p[i[3]], p[i[2]], p[i[1]], p[i[0]]);
}
static inline Vec from_int(const int32_t* i) {
    return _mm256_cvtepi32_pd(_mm_loadu_si128(reinterpret_cast<const __m128i*>(i)));
}
#include "region/kernels.inl"
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f")
namespace avx512 {
constexpr int kLanes = 8, kAccVectors = 24;
using Vec = __m512d;
static inline Vec load(const double* p) { return _mm512_loadu_pd(p); }
static inline void store(double* p, Vec a) { _mm512_storeu_pd(p, a); }
static inline Vec set1(double x) { return _mm512_set1_pd(x); }
static inline Vec zero() { return _mm512_setzero_pd(); }
static inline Vec add(Vec a, Vec b) { return _mm512_add_pd(a, b); }
static inline Vec sub(Vec a, Vec b) { return _mm512_sub_pd(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm512_mul_pd(a, b); }
static inline Vec div(Vec a, Vec b) { return _mm512_div_pd(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_pd(a, b, c); }
static inline Vec abs(Vec a) { return _mm512_abs_pd(a); }
static inline Vec min(Vec a, Vec b) { return _mm512_min_pd(a, b); }
static inline Vec max(Vec a, Vec b) { return _mm512_max_pd(a, b); }
static inline unsigned gt(Vec a, Vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
static inline Vec if_gt(Vec a, Vec b, Vec x, Vec y) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), y, x);
}
static inline Vec gather(const double* p, const int32_t* i) {
    return _mm512_set_pd(p[i[7]], p[i[6]], p[i[5]], p[i[4]], p[i[3]], p[i[2]], p[i[1]], p[i[0]]);
}
static inline Vec from_int(const int32_t* i) {
    return _mm512_cvtepi32_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(i)));
}
#include "region/kernels.inl"
}  // namespace avx512
#pragma GCC pop_options
#endif

namespace {

enum class Isa { portable, avx2, avx512 };

Isa detect() {
#if PLV_X86_DISPATCH
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return Isa::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
    return Isa::portable;
}

const Isa kIsa = detect();

}  // namespace

const KernelTable& portable_kernels(int dim) { return portable::kTables[dim - 1]; }

const KernelTable& kernels(int dim) {
#if PLV_X86_DISPATCH
    if (kIsa == Isa::avx512) return avx512::kTables[dim - 1];
    if (kIsa == Isa::avx2) return avx2::kTables[dim - 1];
#endif
    return portable_kernels(dim);
}

const char* kernel_isa() {
    return kIsa == Isa::avx512 ? "avx512" : kIsa == Isa::avx2 ? "avx2" : "portable";
}

}  // namespace plv
