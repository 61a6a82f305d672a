#include "bound/kernels.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PLV_X86_DISPATCH 1
#else
#define PLV_X86_DISPATCH 0
#endif

// Sums of products may be fused here, unlike elsewhere: see kernels.hpp.
#pragma GCC optimize("fp-contract=fast")
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to inlined functions only

namespace plv {

namespace portable {
#include "bound/kernels.inl"
}  // namespace portable

#if PLV_X86_DISPATCH
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "bound/kernels.inl"
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,prefer-vector-width=512")
namespace avx512 {
#include "bound/kernels.inl"
}  // namespace avx512
#pragma GCC pop_options
#endif

namespace {

const BoundKernels& choose() {
#if PLV_X86_DISPATCH
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return avx512::kTable;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kTable;
#endif
    return portable::kTable;
}

const BoundKernels& kChosen = choose();

}  // namespace

const BoundKernels& bound_kernels() { return kChosen; }

}  // namespace plv
