// A thread with a stack of a given size, in the floating-point mode that error bounds assume: the
// engine recurses as deep as networks are, and what threads get by default (8 MB here, 512 KB
// elsewhere) depends on the machine.
#pragma once

#include <limits.h>
#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/fp_mode.hpp"
#include "base/stop.hpp"

namespace plv {

class Thread {
public:
    Thread() = default;
    // Throws std::runtime_error if the system has no room for another thread. `work` must not
    // throw.
    Thread(size_t stack_bytes, std::function<void()> work) {
        auto owned = std::make_unique<std::function<void()>>(std::move(work));
        pthread_attr_t attributes;
        int error = pthread_attr_init(&attributes);
        if (error == 0) {
            constexpr size_t page = 1 << 16;
            const size_t least = static_cast<size_t>(PTHREAD_STACK_MIN);
            const size_t bytes = (std::max(stack_bytes, least) + page - 1) / page * page;
            error = pthread_attr_setstacksize(&attributes, bytes);
            if (error == 0) error = pthread_create(&handle_, &attributes, &run, owned.get());
            pthread_attr_destroy(&attributes);
        }
        if (error != 0) throw std::runtime_error("cannot start a thread: out of memory or limits");
        owned.release();
        joinable_ = true;
    }
    Thread(Thread&& other) noexcept
        : handle_(other.handle_), joinable_(std::exchange(other.joinable_, false)) {}
    Thread& operator=(Thread&& other) noexcept {
        join();
        handle_ = other.handle_;
        joinable_ = std::exchange(other.joinable_, false);
        return *this;
    }
    ~Thread() { join(); }

    void join() {
        if (joinable_) pthread_join(handle_, nullptr);
        joinable_ = false;
    }

private:
    static void* run(void* work) {
        const std::unique_ptr<std::function<void()>> owned(
            static_cast<std::function<void()>*>(work));
        const FpMode fp_mode;  // on some systems a thread inherits its creator's
        (*owned)();
        return nullptr;
    }

    pthread_t handle_{};
    bool joinable_ = false;
};

// Runs `work` in `count` threads, in fewer where the system has no room for all, and waits until
// all have ended. The first exception requests a stop and is returned, null if there was none.
[[nodiscard]] inline std::exception_ptr run_threads(int count, size_t stack_bytes, StopToken& stop,
                                                    const std::function<void()>& work) {
    std::mutex mutex;
    std::exception_ptr failure;
    const auto guarded = [&] {
        try {
            work();
        } catch (...) {
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
            stop.request();
        }
    };
    std::vector<Thread> threads;
    threads.reserve(static_cast<size_t>(count));
    while (static_cast<int>(threads.size()) < count) {
        try {
            threads.emplace_back(stack_bytes, guarded);
        } catch (...) {
            if (threads.empty()) throw;
            break;
        }
    }
    for (Thread& thread : threads) thread.join();
    return failure;
}

}  // namespace plv
