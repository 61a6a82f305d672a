#include "search/verify.hpp"

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/contract.hpp"
#include "base/fp_mode.hpp"
#include "base/thread.hpp"
#include "base/timer.hpp"
#include "search/case.hpp"

namespace plv {

VerifyResult verify(std::shared_ptr<const Net> net, const Spec& spec, int threads, StopToken& stop,
                    std::atomic<int64_t>* progress) {
    PLV_EXPECT(static_cast<int>(spec.inputs) == net->input_size,
               "the property has " + std::to_string(spec.inputs) + " inputs, the network " +
                   std::to_string(net->input_size));
    PLV_EXPECT(static_cast<int>(spec.outputs) == net->output_size(),
               "the property has " + std::to_string(spec.outputs) + " outputs, the network " +
                   std::to_string(net->output_size()));
    PLV_EXPECT(threads >= 1 && threads <= 1024, "threads must lie between 1 and 1024");
    const size_t count = spec.cases.size();
    std::vector<VerifyResult> parts(count);
    std::vector<CaseSearch::Answer> answers(count, CaseSearch::Answer::unknown);
    std::atomic<size_t> next{0};
    std::atomic<bool> violated{false};
    std::mutex mutex;
    std::exception_ptr failure;
    VerifyResult result;
    const auto work = [&] {
        const FpMode fp_mode;
        const Timer timer;
        try {
            for (size_t i; !violated && (i = next.fetch_add(1)) < count;) {
                CaseSearch search(net, spec.cases[i], stop, violated, parts[i], progress);
                answers[i] = search.run();
                if (answers[i] == CaseSearch::Answer::violated) violated = true;
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
        }
        const std::lock_guard lock(mutex);
        result.cpu_seconds += timer.thread_cpu();
    };
    // A node takes a few kilobytes of stack; the path to it is some hundred nodes long.
    std::vector<Thread> running;
    for (size_t i = 0; i < std::min<size_t>(static_cast<size_t>(threads), count); ++i)
        running.emplace_back(size_t{64} << 20, work);
    for (Thread& thread : running) thread.join();
    bool refuted = true;
    for (size_t i = 0; i < count; ++i) {
        const VerifyResult& part = parts[i];
        result.nodes += part.nodes;
        result.leaves += part.leaves;
        result.programs += part.programs;
        result.exact_programs += part.exact_programs;
        refuted &= answers[i] == CaseSearch::Answer::refuted;
        if (answers[i] == CaseSearch::Answer::violated && result.disjunct < 0) {
            result.status = VerifyResult::Status::sat;
            result.disjunct = static_cast<int>(i);
            result.witness = part.witness;
            result.den = part.den;
        }
    }
    if (result.disjunct >= 0) return result;  // whatever ended the others
    if (failure) std::rethrow_exception(failure);
    if (refuted) {
        result.status = VerifyResult::Status::unsat;
        for (VerifyResult& part : parts) {
            result.proof += part.proof;
            part.proof = {};
        }
    }
    return result;
}

}  // namespace plv
