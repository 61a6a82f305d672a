// Regions of a running enumeration in batches, for either engine.
#pragma once

#include <deque>

#include "base/fp_mode.hpp"
#include "bindings/run.hpp"
#include "region/problem.hpp"

namespace plv::bindings {

// Batches of regions while the engine runs ahead by a bounded number of them.
template <class Engine>
class Stream {
public:
    using Batch = typename Engine::Batch;

    Stream(Engine engine, std::shared_ptr<const Net> net, const DomainSpec& spec,
           std::optional<double> timeout, int64_t batch)
        : engine_(std::move(engine)), stop_(make_stop(timeout)) {
        PLV_EXPECT(batch >= 1, "batch must be at least 1");
        {
            const FpMode fp_mode;
            try {
                problem_ = engine_.build(std::move(net), spec, *stop_);
            } catch (const Stopped&) {
                result_.reason = stop_->reason();
                done_ = true;
                return;
            }
        }
        sink_.batch = batch;
        sink_.regions = [this](Batch&& regions) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return queue_.size() < 8 || stop_->stopped(); });
            queue_.push_back(std::move(regions));
            changed_.notify_all();
        };
        thread_ = Thread(size_t{1} << 20, [this] {
            try {
                result_ = engine_.run(*problem_, sink_, *stop_);
            } catch (...) {
                failure_ = std::current_exception();
            }
            const std::lock_guard lock(mutex_);
            done_ = true;
            changed_.notify_all();
        });
    }
    ~Stream() { close(); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    // The next batch, or None after the last.
    py::object next() {
        std::optional<Batch> batch;
        for (bool waiting = true; waiting;) {
            {
                py::gil_scoped_release release;
                std::unique_lock lock(mutex_);
                changed_.wait_for(lock, std::chrono::milliseconds(50),
                                  [this] { return done_ || !queue_.empty(); });
                if (!queue_.empty()) {
                    batch = std::move(queue_.front());
                    queue_.pop_front();
                    changed_.notify_all();
                }
                waiting = !batch && !done_;
            }
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        }
        if (!batch) {
            if (failure_) std::rethrow_exception(failure_);
            return py::none();
        }
        py::dict out;
        out["count"] = batch->count;
        engine_.put(out, std::move(*batch), *problem_);
        return out;
    }
    // How the run ended; ends it if there are batches that nobody took.
    py::dict result() {
        bool ended;
        {
            const std::lock_guard lock(mutex_);
            ended = done_;
        }
        if (!ended) close();
        py::gil_scoped_release release;
        thread_.join();
        py::gil_scoped_acquire acquire;
        return result_dict(result_, false, 0.0, 0.0);
    }
    void close() {
        stop_->request();
        py::gil_scoped_release release;
        {
            const std::lock_guard lock(mutex_);
            changed_.notify_all();
        }
        thread_.join();
    }

private:
    Engine engine_;
    std::unique_ptr<StopToken> stop_;
    std::shared_ptr<const typename Engine::Problem> problem_;
    typename Engine::Sink sink_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Batch> queue_;
    bool done_ = false;
    EnumerateResult result_;
    std::exception_ptr failure_;
    Thread thread_;
};

template <class Engine>
void bind_stream(py::module_& m, const char* name) {
    py::class_<Stream<Engine>>(m, name, "Regions in batches, in constant memory.")
        .def("next", &Stream<Engine>::next)
        .def("result", &Stream<Engine>::result)
        .def("close", &Stream<Engine>::close);
}

}  // namespace plv::bindings
