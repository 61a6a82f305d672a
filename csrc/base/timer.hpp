// Wall and CPU seconds, for the statistics of a result. No result depends on them.
#pragma once

#include <chrono>
#include <ctime>

namespace plv {

// Seconds since an arbitrary origin; never goes backward.
inline double wall_seconds() noexcept {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

// CPU seconds used by the calling thread. Where the system has no such clock, those of the process.
inline double thread_cpu_seconds() noexcept {
#if defined(CLOCK_THREAD_CPUTIME_ID)
    timespec t{};
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0) {
        return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
    }
#endif
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// Time since construction or the last restart. The CPU part is that of the thread that started it:
// read it on the same thread.
class Timer {
public:
    double wall() const noexcept { return wall_seconds() - wall_start_; }
    double thread_cpu() const noexcept { return thread_cpu_seconds() - cpu_start_; }
    void restart() noexcept { *this = Timer(); }

private:
    double wall_start_ = wall_seconds();
    double cpu_start_ = thread_cpu_seconds();
};

}  // namespace plv
