// How a binding runs the engine: in a thread of its own with the GIL released, while the calling
// thread waits for it, answers Ctrl-C and reports progress. An interrupt stops the engine and keeps
// what it has found.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/stop.hpp"
#include "base/thread.hpp"
#include "region/enumerate.hpp"

namespace plv::bindings {

namespace py = pybind11;

inline std::unique_ptr<StopToken> make_stop(std::optional<double> timeout) {
    return timeout ? std::make_unique<StopToken>(StopToken::deadline_after(*timeout))
                   : std::make_unique<StopToken>();
}

// Runs `work` to its end. Returns whether a KeyboardInterrupt stopped it; any other Python
// exception raised meanwhile, and any exception of `work`, is rethrown once it has ended. `on_tick`
// is called with the GIL about ten times a second.
inline bool run_interruptible(StopToken& stop, const std::function<void()>& work,
                              const std::function<void()>& on_tick) {
    std::mutex mutex;
    std::condition_variable done_changed;
    bool done = false, interrupted = false;
    std::exception_ptr failure;
    std::optional<py::error_already_set> raised;
    {
        py::gil_scoped_release release;
        Thread thread(size_t{1} << 20, [&] {
            std::exception_ptr caught;
            try {
                work();
            } catch (...) {
                caught = std::current_exception();
            }
            const std::lock_guard lock(mutex);
            failure = caught;
            done = true;
            done_changed.notify_all();
        });
        std::unique_lock lock(mutex);
        for (int wait_ms = 20;
             !done_changed.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return done; });
             wait_ms = 100) {
            lock.unlock();
            {
                py::gil_scoped_acquire acquire;
                try {
                    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
                    if (on_tick && !stop.stopped()) on_tick();
                } catch (py::error_already_set& error) {
                    if (error.matches(PyExc_KeyboardInterrupt))
                        interrupted = true;
                    else if (!raised)
                        raised.emplace(std::move(error));
                    stop.request();
                }
            }
            lock.lock();
        }
        lock.unlock();
        thread.join();
    }
    // What a signal handler or the progress callback raised made the work fail, not vice versa.
    if (raised) throw py::error_already_set(std::move(*raised));
    if (failure) std::rethrow_exception(failure);
    return interrupted;
}

// The result of `work`, which is nullopt only where it was stopped: by Ctrl-C, which is raised.
template <class Result, class Work>
Result run_to_end(const Work& work) {
    StopToken stop;
    std::optional<Result> found;
    if (run_interruptible(stop, [&] { found = work(stop); }, {}) || !found) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        throw py::error_already_set();
    }
    return std::move(*found);
}

// A numpy array that owns the vector's memory.
template <class T>
py::array_t<T> to_array(std::vector<T>&& values, std::vector<py::ssize_t> shape) {
    auto* owned = new std::vector<T>(std::move(values));
    py::capsule base(owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
    return py::array_t<T>(std::move(shape), owned->data(), base);
}

// A read-only numpy array over a vector that `owner` keeps alive.
template <class Owner, class T>
py::array_t<T> to_view(const std::shared_ptr<const Owner>& owner, const std::vector<T>& values,
                       std::vector<py::ssize_t> shape) {
    using Kept = std::shared_ptr<const Owner>;
    py::capsule base(new Kept(owner), [](void* p) { delete static_cast<Kept*>(p); });
    py::array_t<T> out(std::move(shape), values.data(), base);
    py::detail::array_proxy(out.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return out;
}

inline py::object to_python(const Int& value) {
    if (value.fits_int64()) return py::int_(value.to_int64());
    const std::vector<uint64_t> words = value.to_words();
    const py::bytes raw(reinterpret_cast<const char*>(words.data()),
                        words.size() * sizeof(uint64_t));
    return py::handle(reinterpret_cast<PyObject*>(&PyLong_Type))
        .attr("from_bytes")(raw, "little", py::arg("signed") = true);
}

// (p, den) of a finite point, (p, q, den) of one at infinity.
template <int D>
py::tuple to_python(const ExactPoint<D>& point) {
    py::tuple p(D), q(D);
    for (int k = 0; k < D; ++k) {
        p[k] = to_python(point.p[k]);
        q[k] = to_python(point.q[k]);
    }
    if (point.infinite) return py::make_tuple(p, q, to_python(point.den));
    return py::make_tuple(p, to_python(point.den));
}

inline const char* reason_name(StopReason reason, bool interrupted) {
    if (interrupted) return "interrupted";
    return reason == StopReason::timeout     ? "timeout"
           : reason == StopReason::requested ? "stopped"
                                             : "";
}

inline py::dict stats_dict(const EnumerateStats& stats, double setup_seconds, double wall_seconds) {
    py::dict out;
    out["cpu_seconds"] = stats.cpu_seconds;
    out["setup_seconds"] = setup_seconds;
    out["wall_seconds"] = wall_seconds;
    out["unit_tests"] = stats.unit_tests;
    out["undecided"] = stats.undecided;
    out["exact_signs"] = stats.exact_signs;
    out["exact_points"] = stats.exact_points;
    out["exact_passes"] = stats.exact_passes;
    return out;
}

inline py::dict result_dict(const EnumerateResult& result, bool interrupted, double setup,
                            double wall) {
    py::dict out;
    out["count"] = result.count;
    out["complete"] = result.complete;
    out["reason"] = result.complete ? "" : reason_name(result.reason, interrupted);
    std::vector<uint8_t> on = result.ever_on, off = result.ever_off;
    const auto units = static_cast<py::ssize_t>(on.size());
    out["ever_on"] = to_array(std::move(on), {units});
    out["ever_off"] = to_array(std::move(off), {units});
    out["stats"] = stats_dict(result.stats, setup, wall);
    return out;
}

}  // namespace plv::bindings
