// Asking a running computation to stop.
//
// One StopToken is shared by all threads of a computation. Anyone may request a stop (Ctrl-C, a
// caller's cancel, a sibling that has found the answer); a deadline turns into a stop by itself.
// The first reason wins and stays. Workers call poll() in their loops and unwind when it returns
// true; what they have proven so far remains valid.
//
//     none --request()--> requested
//     none --deadline---> timeout
//
// poll() has to be cheap enough for inner loops: a relaxed load each time, and the clock (some 25
// ns) only now and then. How often is adapted per thread: the stride between clock readings doubles
// up to 64 while readings lie close together and shrinks when they do not. With steady loop bodies
// of up to 100 us the deadline is noticed within 64 * 100 us = 6.4 ms even if the loop was fast
// before; slow bodies (1 ms and more) soon read the clock every time.
//
// request() is a lock-free store and may be called from a signal handler.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "contract.hpp"

namespace plv {

enum class StopReason : int { none, requested, timeout };

constexpr const char* to_string(StopReason reason) {
    switch (reason) {
        case StopReason::requested:
            return "requested";
        case StopReason::timeout:
            return "timeout";
        case StopReason::none:
            break;
    }
    return "none";
}

class StopToken {
public:
    using Clock = std::chrono::steady_clock;

    StopToken() = default;  // no deadline
    explicit StopToken(Clock::time_point deadline) : deadline_(deadline), has_deadline_(true) {}

    // The deadline `seconds` from now, at most thirty years (so that an infinite timeout is
    // allowed).
    static Clock::time_point deadline_after(double seconds) {
        PLV_EXPECT(seconds >= 0, "a timeout must be at least 0 seconds");
        const Clock::time_point now = Clock::now();
        constexpr double longest = 1e9;
        const auto span = std::chrono::duration<double>(std::min(seconds, longest));
        return now + std::chrono::duration_cast<Clock::duration>(span);
    }

    StopToken(const StopToken&) = delete;
    StopToken& operator=(const StopToken&) = delete;

    void request(StopReason reason = StopReason::requested) noexcept {
        int expected = static_cast<int>(StopReason::none);
        reason_.compare_exchange_strong(expected, static_cast<int>(reason),
                                        std::memory_order_relaxed);
    }

    StopReason reason() const noexcept {
        return static_cast<StopReason>(reason_.load(std::memory_order_relaxed));
    }

    // Whether a stop is known already; does not look at the clock.
    bool stopped() const noexcept { return reason() != StopReason::none; }

    // Whether to stop now. Call it at least every few milliseconds.
    bool poll() noexcept {
        if (stopped()) return true;
        if (!has_deadline_) return false;
        Pace& pace = this_thread_pace();
        // A thread that alternates between tokens reads the clock each time, rather than letting
        // one token use up the other's turns.
        if (pace.owner == id_ && --pace.remaining > 0) return false;
        return check_clock(pace);
    }

    // poll() with the clock read for certain.
    bool poll_now() noexcept {
        if (!stopped() && has_deadline_ && Clock::now() >= deadline_) request(StopReason::timeout);
        return stopped();
    }

private:
    static constexpr int max_stride = 64;

    // When this thread reads the clock next, for the token it polled last.
    struct Pace {
        uint64_t owner;  // an id, for addresses are used again
        int remaining;   // polls until the next reading
        int stride;
        Clock::rep last;  // the last reading
    };

    static Pace& this_thread_pace() noexcept {
        static thread_local Pace pace{0, 0, 1, 0};
        return pace;
    }

    bool check_clock(Pace& pace) noexcept {
        const Clock::time_point now = Clock::now();
        const Clock::rep ticks = now.time_since_epoch().count();
        if (pace.owner != id_) {
            pace.owner = id_;
            pace.stride = 1;
        } else {
            constexpr Clock::rep short_gap =
                std::chrono::duration_cast<Clock::duration>(std::chrono::microseconds(500)).count();
            const Clock::rep gap = ticks - pace.last;
            if (gap < short_gap) {
                pace.stride = std::min(2 * pace.stride, max_stride);
            } else if (gap > 4 * short_gap) {
                pace.stride = std::max(pace.stride / 4, 1);
            }
        }
        pace.last = ticks;
        pace.remaining = pace.stride;
        if (now >= deadline_) request(StopReason::timeout);
        return stopped();
    }

    static uint64_t next_id() noexcept {
        static std::atomic<uint64_t> last{0};
        return last.fetch_add(1, std::memory_order_relaxed) + 1;
    }

    std::atomic<int> reason_{static_cast<int>(StopReason::none)};
    const Clock::time_point deadline_{};
    const bool has_deadline_ = false;
    const uint64_t id_ = next_id();

    static_assert(std::atomic<int>::is_always_lock_free);
};

// Thrown inside the engine when the stop token fires.
struct Stopped {};

}  // namespace plv
