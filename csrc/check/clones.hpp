// Hot loops in versions for wider vectors, chosen when the library is loaded. They round alike:
// nothing is fused.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PLV_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PLV_CLONES
#endif
