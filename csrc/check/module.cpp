// The compiled module plverify._check: the checker of region trees. It shares no code with the
// engine in plverify._core but the integers.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/fp_mode.hpp"
#include "check/body.hpp"
#include "check/net.hpp"
#include "check/tree.hpp"

namespace {

namespace py = pybind11;
using namespace plv::check;

struct Answer {
    std::string reason;  // empty: accepted
    TreeStats stats;
};

Answer answer(const TreeQuestion& question, const Body::More& more,
              const std::function<void()>& tick) {
    Answer out;
    TreeChecker checker(question, more, tick);
    try {
        checker.run();
    } catch (const Rejected& rejected) {
        out.reason = rejected.what();
    }
    out.stats = checker.stats();
    return out;
}

// Runs with the GIL released, and takes it to read and ten times a second to see Ctrl-C.
py::tuple check_tree(const py::bytes& network, const py::bytes& domain, uint64_t regions,
                     const py::function& read, std::optional<double> timeout) {
    using Clock = std::chrono::steady_clock;
    const Net net = Net::parse(std::string_view(network));
    const Domain where = Domain::parse(std::string_view(domain), net.input_size);
    const auto start = Clock::now();
    auto seen = start;
    const auto tick = [&] {
        const auto now = Clock::now();
        if (timeout && std::chrono::duration<double>(now - start).count() > *timeout)
            throw Rejected("not decided within the time allowed");
        if (now - seen < std::chrono::milliseconds(100)) return;
        seen = now;
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    };
    const auto more = [&](std::string& buffer) {
        const py::gil_scoped_acquire acquire;
        const py::bytes piece = read();
        const std::string_view bytes(piece);
        buffer.append(bytes);
        return !bytes.empty();
    };
    Answer out;
    {
        const py::gil_scoped_release release;
        const plv::FpMode fp_mode;
        out = answer({net, where, regions}, more, tick);
    }
    py::dict stats;
    stats["nodes"] = out.stats.nodes;
    stats["certificates"] = out.stats.certificates;
    stats["exact_signs"] = out.stats.exact_signs;
    stats["exact_certificates"] = out.stats.exact_certificates;
    return py::make_tuple(out.reason.empty(), out.reason, stats);
}

}  // namespace

PYBIND11_MODULE(_check, m) {
    m.doc() = "The compiled checker of region trees. Not a public interface: use plverify.check.";
    m.def("check_tree", &check_tree, py::arg("network"), py::arg("domain"), py::arg("regions"),
          py::arg("read"), py::arg("timeout") = py::none(),
          "Whether the body that `read` returns piece by piece (b'' at its end) proves that the "
          "network has `regions` regions on the domain; both are given by their canonical bytes. "
          "Returns (accepted, reason, counts).");
}
