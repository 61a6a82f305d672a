#include "search/verify.hpp"

#include <exception>

#include "base/contract.hpp"
#include "base/thread.hpp"
#include "search/scheduler.hpp"

namespace plv {

VerifyResult verify(std::shared_ptr<const Net> net, const Spec& spec, int threads, bool attack,
                    StopToken& stop, std::atomic<int64_t>* progress) {
    PLV_EXPECT(static_cast<int>(spec.inputs) == net->input_size,
               "the property has " + std::to_string(spec.inputs) + " inputs, the network " +
                   std::to_string(net->input_size));
    PLV_EXPECT(static_cast<int>(spec.outputs) == net->output_size(),
               "the property has " + std::to_string(spec.outputs) + " outputs, the network " +
                   std::to_string(net->output_size()));
    PLV_EXPECT(threads >= 1 && threads <= 1024, "threads must lie between 1 and 1024");
    Scheduler scheduler(std::move(net), spec, attack, stop, progress);
    const auto work = [&] {
        try {
            scheduler.work();
        } catch (...) {
            scheduler.abandon();
            throw;
        }
    };
    const std::exception_ptr failure = run_threads(threads, size_t{16} << 20, stop, work);
    VerifyResult result = scheduler.result();
    if (result.disjunct < 0 && failure) std::rethrow_exception(failure);
    if (result.disjunct < 0 && stop.stopped()) throw Stopped{};
    return result;
}

}  // namespace plv
