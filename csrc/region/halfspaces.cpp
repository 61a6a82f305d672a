#include "region/halfspaces.hpp"

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/contract.hpp"
#include "base/thread.hpp"
#include "base/timer.hpp"
#include "region/halfspace_walker.hpp"

namespace plv {

HalfspaceResult enumerate_halfspaces(const HalfspaceProblem& problem, int threads,
                                     const HalfspaceSink& sink, StopToken& stop,
                                     std::atomic<int64_t>* progress) {
    PLV_EXPECT(threads >= 1 && threads <= 1024, "threads must lie between 1 and 1024");
    const Net& net = *problem.net;
    HalfspaceResult result;
    result.complete = true;
    std::atomic<int64_t> next_claim{0};
    std::mutex mutex;
    HalfspaceSink guarded = sink;
    if (sink.regions)
        guarded.regions = [&](HalfspaceBatch&& batch) {
            const std::lock_guard lock(mutex);
            sink.regions(std::move(batch));
        };
    std::vector<uint8_t> on(static_cast<size_t>(net.pattern_bytes())), off = on;
    std::vector<HalfspaceWalker::Piece> pieces;
    std::string top;
    std::vector<size_t> offsets;
    const auto work = [&] {
        const Timer timer;
        HalfspaceWalker walker(problem, guarded, stop, next_claim, progress);
        bool stopped = false;
        try {
            walker.run();
        } catch (const Stopped&) {
            stopped = true;
        }
        const std::lock_guard lock(mutex);
        if (stopped) result.complete = false;
        result.count += walker.count();
        for (size_t i = 0; i < on.size(); ++i) {
            on[i] |= walker.ever_on()[i];
            off[i] |= walker.ever_off()[i];
        }
        EnumerateStats stats = walker.stats();
        stats.cpu_seconds = timer.thread_cpu();
        result.stats.add(stats);
        for (HalfspaceWalker::Piece& piece : walker.pieces()) pieces.push_back(std::move(piece));
        if (!stopped && sink.prove) top = walker.top(), offsets = walker.offsets();
    };
    // A unit or a window takes well under 4 KB of stack (sanitizers quadruple it).
    const size_t stack =
        (size_t{1} << 20) +
        4096 * (net.layers.size() + std::min<size_t>(net.unit_count, size_t{1} << 17));
    // Fewer threads come to the same result.
    if (const std::exception_ptr failure = run_threads(threads, stack, stop, work))
        std::rethrow_exception(failure);
    if (!result.complete) result.reason = stop.reason();
    for (size_t l = 0; l < net.layers.size(); ++l)
        for (int i = 0; i < net.layers[l].units; ++i) {
            const bool windows = net.layers[l].is_max();
            result.ever_on.push_back(windows || net.piece(on.data(), static_cast<int>(l), i) != 0);
            result.ever_off.push_back(windows ||
                                      net.piece(off.data(), static_cast<int>(l), i) != 0);
        }
    if (sink.prove && result.complete) {
        std::sort(pieces.begin(), pieces.end(),
                  [](const auto& a, const auto& b) { return a.subtree < b.subtree; });
        PLV_CHECK(pieces.size() == offsets.size());
        size_t at = 0;
        for (size_t i = 0; i < pieces.size(); ++i) {
            result.proof.append(top, at, offsets[i] - at);
            at = offsets[i];
            result.proof += pieces[i].nodes;
            pieces[i].nodes = {};
        }
        result.proof.append(top, at);
    }
    return result;
}

}  // namespace plv
