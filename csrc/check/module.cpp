// The compiled module plverify._check: the checkers of region trees and of dual trees. It shares no
// code with the engine in plverify._core but the integers.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fp_mode.hpp"
#include "check/body.hpp"
#include "check/dual.hpp"
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

// Both run with the GIL released, and take it to read and ten times a second to see Ctrl-C.

std::function<void()> ticker(std::optional<double> timeout) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    return [timeout, start, seen = start]() mutable {
        const auto now = Clock::now();
        if (timeout && std::chrono::duration<double>(now - start).count() > *timeout)
            throw Rejected("not decided within the time allowed");
        if (now - seen < std::chrono::milliseconds(100)) return;
        seen = now;
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    };
}

Body::More reader(const py::function& read) {
    return [&read](std::string& buffer) {
        const py::gil_scoped_acquire acquire;
        const py::bytes piece = read();
        const std::string_view bytes(piece);
        buffer.append(bytes);
        return !bytes.empty();
    };
}

py::tuple check_tree(const py::bytes& network, const py::bytes& domain, uint64_t regions,
                     const py::function& read, std::optional<double> timeout) {
    const Net net = Net::parse(std::string_view(network));
    const Domain where = Domain::parse(std::string_view(domain), net.input_size);
    const auto tick = ticker(timeout);
    const auto more = reader(read);
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

// A network read once for many proofs and points.
struct ReadNet {
    explicit ReadNet(const py::bytes& canonical)
        : net(Net::parse(std::string_view(canonical))), prepared(net) {}
    ReadNet(const ReadNet&) = delete;

    const Net net;
    const DualNet prepared;
};

std::string run_dual(const DualNet& prepared, std::string_view question, const Body::More& more,
                     const std::function<void()>& tick, DualStats& stats) {
    const DualQuestion parsed = DualQuestion::parse(question, prepared);
    DualChecker checker(prepared, parsed, more, tick);
    std::string reason;
    try {
        checker.run();
    } catch (const Rejected& rejected) {
        reason = rejected.what();
    }
    stats = checker.stats();
    return reason;
}

py::tuple check_dual(const ReadNet& network, const py::bytes& question, const py::function& read,
                     std::optional<double> timeout, const py::bytes& rounding) {
    const auto tick = ticker(timeout);
    const auto more = reader(read);
    std::string reason;
    DualStats counts;
    {
        const std::string_view bytes(question), errors(rounding);
        const py::gil_scoped_release release;
        const plv::FpMode fp_mode;
        reason = errors.empty() ? run_dual(network.prepared, bytes, more, tick, counts)
                                : run_dual(DualNet(network.net, errors), bytes, more, tick, counts);
    }
    py::dict stats;
    stats["nodes"] = counts.nodes;
    stats["leaves"] = counts.leaves;
    stats["exact_leaves"] = counts.exact_leaves;
    stats["exact_rows"] = counts.exact_rows;
    return py::make_tuple(reason.empty(), reason, stats);
}

py::object to_python(const plv::Int& value) {
    std::string bytes;
    for (const uint64_t word : value.to_words())
        for (int k = 0; k < 64; k += 8) bytes.push_back(static_cast<char>(word >> k & 255));
    const py::object type = py::module_::import("builtins").attr("int");
    return type.attr("from_bytes")(py::bytes(bytes), "little", py::arg("signed") = true);
}

py::list evaluate(const ReadNet& network, const py::bytes& point) {
    bool read = false;
    Body in([&](std::string& buffer) {
        if (!read) buffer.append(std::string_view(point));
        return !std::exchange(read, true);
    });
    std::vector<Sum> x;
    Number number;
    for (uint32_t i = 0; i < network.net.input_size; ++i) {
        in.number(number);
        const plv::Int num = number.value();
        in.number(number);
        if (number.sign() <= 0) throw std::invalid_argument("a denominator is not positive");
        x.push_back({num, scale_of(number.value())});
    }
    std::vector<Sum> y;
    const auto tick = ticker(std::nullopt);
    {
        const py::gil_scoped_release release;
        y = DualExact(network.prepared, tick).evaluate(x);
    }
    py::list out;
    for (const Sum& v : y) out.append(py::make_tuple(to_python(v.num), to_python(v.den.value())));
    return out;
}

}  // namespace

PYBIND11_MODULE(_check, m) {
    m.doc() =
        "The compiled checkers of proofs by trees. Not a public interface: use plverify.check.";
    py::class_<ReadNet>(m, "Net", "A network in the checker's form, from its canonical bytes.")
        .def(py::init<const py::bytes&>(), py::arg("canonical"))
        .def_property_readonly("input_size", [](const ReadNet& n) { return n.net.input_size; })
        .def_property_readonly("output_size",
                               [](const ReadNet& n) { return n.net.nodes.back().size; })
        .def_property_readonly("unit_count", [](const ReadNet& n) { return n.prepared.units; });
    m.def("check_tree", &check_tree, py::arg("network"), py::arg("domain"), py::arg("regions"),
          py::arg("read"), py::arg("timeout") = py::none(),
          "Whether the body that `read` returns piece by piece (b'' at its end) proves that the "
          "network has `regions` regions on the domain; both are given by their canonical bytes. "
          "Returns (accepted, reason, counts).");
    m.def(
        "check_dual", &check_dual, py::arg("network"), py::arg("question"), py::arg("read"),
        py::arg("timeout") = py::none(), py::arg("rounding") = py::bytes(),
        "Whether the body that `read` returns piece by piece refutes the systems of the question, "
        "which plverify.certificate writes, for the network or, with the rounding of its linear "
        "nodes, for all that this allows. Returns (accepted, reason, counts).");
    m.def("evaluate", &evaluate, py::arg("network"), py::arg("point"),
          "The outputs at a point, as pairs of numerator and denominator.");
}
