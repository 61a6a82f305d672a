#include "region/enumerate.hpp"

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/thread.hpp"
#include "base/timer.hpp"
#include "region/walker.hpp"

namespace plv {

void EnumerateStats::add(const EnumerateStats& other) {
    auto add_all = [](std::vector<uint64_t>& to, const std::vector<uint64_t>& from) {
        if (to.size() < from.size()) to.resize(from.size(), 0);
        for (size_t k = 0; k < from.size(); ++k) to[k] += from[k];
    };
    cpu_seconds += other.cpu_seconds;
    add_all(unit_tests, other.unit_tests);
    add_all(undecided, other.undecided);
    add_all(exact_signs, other.exact_signs);
    exact_points += other.exact_points;
    exact_passes += other.exact_passes;
}

template <int D>
EnumerateResult enumerate(const Problem<D>& problem, const EnumerateOptions& options,
                          const Sink<D>& sink, StopToken& stop, std::atomic<int64_t>* progress) {
    PLV_EXPECT(options.threads >= 1 && options.threads <= 1024,
               "threads must lie between 1 and 1024");
    EnumerateResult result;
    result.complete = true;
    std::atomic<int64_t> next_claim{0};
    std::mutex mutex;
    Sink<D> guarded = sink;
    if (sink.regions)
        guarded.regions = [&](RegionBatch<D>&& batch) {
            const std::lock_guard lock(mutex);
            sink.regions(std::move(batch));
        };
    if (sink.ties)
        guarded.ties = [&](int64_t subtree, std::vector<TieSegment<D>>&& ties) {
            const std::lock_guard lock(mutex);
            sink.ties(subtree, std::move(ties));
        };
    const auto work = [&] {
        const Timer timer;
        Walker<D> walker(problem, options, guarded, stop, next_claim, progress);
        bool stopped = false;
        try {
            walker.run();
        } catch (const Stopped&) {
            stopped = true;
        }
        const std::lock_guard lock(mutex);
        if (stopped) result.complete = false;
        result.count += walker.count();
        walker.ever(result.ever_on, result.ever_off);
        EnumerateStats stats = walker.stats();
        stats.cpu_seconds = timer.thread_cpu();
        result.stats.add(stats);
    };
    // A split or a layer takes well under 4 KB of stack (sanitizers quadruple it).
    const size_t layers = problem.net->layers.size();
    const size_t splits = std::min<size_t>(problem.net->unit_count, kMaxSplits);
    const size_t stack = (size_t{1} << 20) + 4096 * (2 * layers + splits);
    // Fewer threads come to the same result.
    if (const std::exception_ptr failure = run_threads(options.threads, stack, stop, work))
        std::rethrow_exception(failure);
    if (!result.complete) result.reason = stop.reason();
    return result;
}

#define PLV_INSTANTIATE(D)                                                            \
    template EnumerateResult enumerate<D>(const Problem<D>&, const EnumerateOptions&, \
                                          const Sink<D>&, StopToken&, std::atomic<int64_t>*);
PLV_EACH_DIMENSION(PLV_INSTANTIATE)

}  // namespace plv
