// The floating-point mode the engine's error bounds assume, set and restored.
//
// Every rounding-error bound in the engine is stated for IEEE round-to-nearest with subnormals. A
// host process may run with something else: torch.set_flush_denormal and some audio libraries set
// flush-to-zero, a shared object linked with -ffast-math sets it at load time, interval packages
// leave directed rounding behind, and new threads inherit all of it on some systems only. Flushing
// a subnormal breaks "x != y implies x - y != 0", on which exact error-free transformations rest.
//
// FpMode is put at the entry of every thread and of every call from outside. It also masks
// floating-point traps (inside a filter, inf and NaN mean "undecided", not SIGFPE), and it restores
// the sticky exception flags, so that a caller who watches those (numpy.errstate) sees none of
// ours.
//
// The compiler does not know that floating-point operations depend on the mode and may move them
// across the guard within one function. Put the guard in a function that calls the work, out of
// line, rather than beside the arithmetic.
#pragma once

#if defined(__SSE2__) || defined(_M_X64)
#define PLV_FP_MODE_SSE 1
#include <xmmintrin.h>
#elif defined(__aarch64__)
#define PLV_FP_MODE_AARCH64 1
#include <cstdint>
#else
#include <cfenv>
#endif

namespace plv {

class FpMode {
public:
    FpMode() noexcept {
#if defined(PLV_FP_MODE_SSE)
        saved_ = _mm_getcsr();
        _mm_setcsr(standard);
#elif defined(PLV_FP_MODE_AARCH64)
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("mrs %0, fpsr" : "=r"(saved_status_));
        asm volatile("msr fpcr, %0" : : "r"(standard) : "memory");
#else
        // feholdexcept masks the traps; the default environment has no flushing.
        std::feholdexcept(&saved_);
        std::fesetenv(FE_DFL_ENV);
#endif
        fence();
    }

    ~FpMode() {
        fence();
#if defined(PLV_FP_MODE_SSE)
        _mm_setcsr(saved_);
#elif defined(PLV_FP_MODE_AARCH64)
        asm volatile("msr fpcr, %0" : : "r"(saved_) : "memory");
        asm volatile("msr fpsr, %0" : : "r"(saved_status_) : "memory");
#else
        std::fesetenv(&saved_);
#endif
    }

    FpMode(const FpMode&) = delete;
    FpMode& operator=(const FpMode&) = delete;

    // Whether the calling thread is in the assumed mode now; for assertions and tests.
    static bool is_standard() noexcept {
#if defined(PLV_FP_MODE_SSE)
        return (_mm_getcsr() & ~flags) == standard;
#elif defined(PLV_FP_MODE_AARCH64)
        std::uint64_t mode;
        asm volatile("mrs %0, fpcr" : "=r"(mode));
        return mode == standard;
#else
        return std::fegetround() == FE_TONEAREST;
#endif
    }

private:
#if defined(PLV_FP_MODE_SSE)
    // All six exceptions masked; rounding to nearest (bits 13, 14), FTZ (15) and DAZ (6) clear.
    static constexpr unsigned standard = 0x1f80;
    static constexpr unsigned flags = 0x003f;
    unsigned saved_;
#elif defined(PLV_FP_MODE_AARCH64)
    // Zero is the architecture's default: nearest, no flushing, no traps.
    static constexpr std::uint64_t standard = 0;
    std::uint64_t saved_;
    std::uint64_t saved_status_;
#else
    std::fenv_t saved_;
#endif

    static void fence() noexcept {
#if defined(__GNUC__)
        asm volatile("" : : : "memory");
#endif
    }
};

}  // namespace plv
