// Tests of csrc/base, standalone; see test_num.cpp for how to build one.
#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/contract.hpp"
#include "base/fp_mode.hpp"
#include "base/stop.hpp"
#include "base/thread.hpp"
#include "base/timer.hpp"
#include "num/int.hpp"
#include "tests/harness.hpp"

using plv::Int;

namespace {

void test_contract() {
    CHECK(throws<std::invalid_argument>([] { PLV_EXPECT(1 > 2, std::string("no ") + "way"); }));
    CHECK(throws<plv::InternalError>([] { PLV_CHECK(1 > 2); }));
    CHECK(throws<plv::InternalError>([] { PLV_ASSERT(1 > 2); }) == plv::asserts_on);
    bool evaluated = false;
    PLV_ASSERT((evaluated = true));
    CHECK(evaluated == plv::asserts_on);
    try {
        PLV_CHECK(2 + 2 == 5);
    } catch (const plv::InternalError& error) {
        const std::string what = error.what();
        CHECK(what.find("test_base.cpp:") != std::string::npos);
        CHECK(what.find("2 + 2 == 5") != std::string::npos);
    }
}

void test_fp_mode() {
    volatile double tiny = std::numeric_limits<double>::min();
    volatile double half = 0.5;
    volatile double one = 1;
    volatile double eps = 0x1p-60;
    std::fesetround(FE_UPWARD);
    std::feclearexcept(FE_ALL_EXCEPT);
#if defined(PLV_FP_MODE_SSE)
    _mm_setcsr(_mm_getcsr() | 0x8040);  // FTZ and DAZ
    CHECK(tiny * half == 0);
    const unsigned before = _mm_getcsr() & ~0x3fu;
#endif
    CHECK(!plv::FpMode::is_standard());
    CHECK(one + eps > 1);
    {
        const plv::FpMode guard;
        CHECK(plv::FpMode::is_standard());
        CHECK(one + eps == 1);
        CHECK(tiny * half > 0);
        volatile double zero = 0;
        volatile double nan = zero / zero;  // sets a flag that must not leak
        CHECK(nan != nan);
        // Int does not depend on the mode, but has to agree with it here.
        CHECK(Int::ratio(1, 3) == one / 3);
    }
    CHECK(!std::fetestexcept(FE_INVALID));
    CHECK(one + eps > 1);
    CHECK(Int::ratio(1, 3) == 0x1.5555555555555p-2 && ((Int(1) << 60) + 1).to_double() == 0x1p60);
#if defined(PLV_FP_MODE_SSE)
    CHECK((_mm_getcsr() & ~0x3fu) == before);
    _mm_setcsr(_mm_getcsr() & ~0x8040u);
#endif
    std::fesetround(FE_TONEAREST);
    CHECK(plv::FpMode::is_standard());
}

void spin(double seconds) {
    const double end = plv::wall_seconds() + seconds;
    while (plv::wall_seconds() < end) {
    }
}

// Seconds of this thread's CPU time from the deadline to the poll that notices it. CPU time, not
// wall time: the machine may run something else in between.
double lateness(double body_seconds, double timeout) {
    plv::StopToken stop(plv::StopToken::deadline_after(timeout));
    const double deadline = plv::wall_seconds() + timeout;
    double cpu_at_deadline = -1;
    for (;;) {
        if (body_seconds > 0) spin(body_seconds);
        if (cpu_at_deadline < 0 && plv::wall_seconds() >= deadline) {
            cpu_at_deadline = plv::thread_cpu_seconds();
        }
        if (stop.poll()) break;
    }
    CHECK(stop.reason() == plv::StopReason::timeout);
    return cpu_at_deadline < 0 ? 0 : plv::thread_cpu_seconds() - cpu_at_deadline;
}

void test_stop() {
    plv::StopToken none;
    for (int i = 0; i < 1000; ++i) CHECK(!none.poll());
    none.request();
    CHECK(none.poll() && none.reason() == plv::StopReason::requested);
    none.request(plv::StopReason::timeout);
    CHECK(none.reason() == plv::StopReason::requested);  // the first reason stays
    CHECK(std::string(plv::to_string(none.reason())) == "requested");

    plv::StopToken past(plv::StopToken::Clock::now());
    CHECK(!past.stopped() && past.poll_now() && past.reason() == plv::StopReason::timeout);
    plv::StopToken expired(plv::StopToken::deadline_after(0));
    CHECK(expired.poll());  // the first poll of a token reads the clock
    plv::StopToken forever(plv::StopToken::deadline_after(HUGE_VAL));
    CHECK(!forever.poll_now());
    CHECK(throws<std::invalid_argument>([] { (void)plv::StopToken::deadline_after(-1); }));
    CHECK(throws<std::invalid_argument>([] { (void)plv::StopToken::deadline_after(NAN); }));

    for (double body : {0.0, 1e-6, 2e-5, 1e-4}) CHECK(lateness(body, 0.02) < 0.010);
    CHECK(lateness(0.003, 0.02) < 0.010);

    // Alternating tokens do not starve one another.
    const auto common = plv::StopToken::deadline_after(0.01);
    plv::StopToken a(common);
    plv::StopToken b(common);
    bool a_stops = false;
    bool b_stops = false;
    for (long i = 0; i < 100000000 && !(a_stops && b_stops); ++i) {
        a_stops = a.poll();
        b_stops = b.poll();
    }
    CHECK(a_stops && b_stops);

    // A request reaches another thread.
    plv::StopToken shared(plv::StopToken::deadline_after(100));
    std::thread worker([&] {
        while (!shared.poll()) std::this_thread::yield();
    });
    shared.request();
    worker.join();
    CHECK(shared.stopped());
}

void test_threads() {
    plv::StopToken stop;
    std::atomic<int> ran{0};
    const auto count = [&] {
        CHECK(plv::FpMode::is_standard());
        ++ran;
    };
    std::fesetround(FE_UPWARD);
    CHECK(!plv::run_threads(3, 1, stop, count) && ran == 3 && !stop.stopped());
    std::fesetround(FE_TONEAREST);

    // What one throws stops the others and comes back.
    std::atomic<bool> first{true};
    const std::exception_ptr failure = plv::run_threads(2, size_t{1} << 20, stop, [&] {
        if (first.exchange(false)) throw std::out_of_range("one");
        while (!stop.poll()) std::this_thread::yield();
    });
    CHECK(stop.reason() == plv::StopReason::requested);
    CHECK(throws<std::out_of_range>([&] { std::rethrow_exception(failure); }));
}

void test_timer() {
    plv::Timer timer;
    spin(0.02);
    CHECK(timer.wall() >= 0.02);
    CHECK(timer.thread_cpu() > 0 && timer.thread_cpu() <= timer.wall() + 0.01);
    timer.restart();
    const double cpu = timer.thread_cpu();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    CHECK(timer.wall() >= 0.029);
    CHECK(timer.thread_cpu() - cpu < 0.02);
}

}  // namespace

int main() {
    test_contract();
    test_fp_mode();
    test_stop();
    test_threads();
    test_timer();
    return report();
}
