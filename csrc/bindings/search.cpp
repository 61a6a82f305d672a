// Verification: the search for a violation of a property.
#include "base/timer.hpp"
#include "bindings/areas.hpp"
#include "bindings/run.hpp"
#include "lp/exact.hpp"
#include "region/problem.hpp"
#include "search/verify.hpp"

namespace plv::bindings {

namespace {

py::list to_list(const std::vector<Int>& values) {
    py::list out;
    for (const Int& v : values) out.append(to_python(v));
    return out;
}

py::dict run_verify(const std::shared_ptr<Net>& net, const py::bytes& property, bool want_proof,
                    int threads, std::optional<double> timeout, const py::object& progress,
                    bool attack) {
    const Spec spec = Spec::parse(std::string_view(property));
    const Timer timer;
    const std::unique_ptr<StopToken> stop = make_stop(timeout);
    std::atomic<int64_t> nodes{0};
    std::function<void()> tick;
    if (!progress.is_none()) tick = [&] { progress(nodes.load()); };
    VerifyResult result;
    bool stopped = false;
    const bool interrupted = run_interruptible(
        *stop,
        [&] {
            try {
                result = verify(net, spec, threads, attack, *stop, &nodes);
            } catch (const Stopped&) {
                stopped = true;
            }
        },
        tick);
    py::dict out;
    using Status = VerifyResult::Status;
    out["status"] = stopped                          ? reason_name(stop->reason(), interrupted)
                    : result.status == Status::sat   ? "sat"
                    : result.status == Status::unsat ? "unsat"
                                                     : "unknown";
    if (!stopped && result.status == Status::sat) {
        out["disjunct"] = result.disjunct;
        out["witness"] = py::make_tuple(to_list(result.witness), to_python(result.den));
    }
    if (!stopped && result.status == Status::unsat && want_proof)
        out["proof"] = py::bytes(result.proof);
    out["nodes"] = stopped ? nodes.load() : result.nodes;
    out["leaves"] = result.leaves;
    py::dict stats;
    stats["programs"] = result.programs;
    stats["exact_programs"] = result.exact_programs;
    stats["cpu_seconds"] = result.cpu_seconds;
    stats["wall_seconds"] = timer.wall();
    out["stats"] = stats;
    return out;
}

py::object run_maximum(const py::bytes& domain, const py::bytes& objective) {
    const DomainSpec spec = DomainSpec::parse(std::string_view(domain));
    ByteReader in{std::string_view(objective)};
    ExactRow goal;
    goal.a = in.ints(static_cast<size_t>(spec.dim));
    goal.c = in.ints(1)[0];
    PLV_EXPECT(in.at_end(), "bytes after the end of an objective");
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : spec.constraints) rows.push_back(&row);
    const ExactMaximum found = run_to_end<ExactMaximum>(
        [&](StopToken& stop) { return exact_maximum(spec.dim, rows, goal, &stop); });
    if (!found.point.found) return py::none();
    return py::make_tuple(to_list(found.point.x), to_python(found.point.den));
}

py::tuple run_mixed_point(const py::bytes& domain, const std::vector<bool>& strict) {
    const DomainSpec spec = DomainSpec::parse(std::string_view(domain));
    PLV_EXPECT(strict.size() == spec.constraints.size(), "one flag per constraint is needed");
    std::vector<const ExactRow*> rows;
    for (const ExactRow& row : spec.constraints) rows.push_back(&row);
    const std::vector<uint8_t> flags(strict.begin(), strict.end());
    const StrictPoint found = run_to_end<StrictPoint>(
        [&](StopToken& stop) { return mixed_point(spec.dim, rows, flags, {}, &stop); });
    if (found.found) return py::make_tuple(to_list(found.x), to_python(found.den));
    py::list multipliers;
    for (const auto& [row, y] : found.multipliers)
        multipliers.append(py::make_tuple(row, to_python(y)));
    return py::make_tuple(multipliers);
}

}  // namespace

void bind_search(py::module_& m) {
    m.def("verify", &run_verify, py::arg("net"), py::arg("property"), py::arg("want_proof") = true,
          py::arg("threads") = 1, py::arg("timeout") = py::none(), py::arg("progress") = py::none(),
          py::arg("attack") = true,
          "Search for a violation of a property; the proof of unsat is to be checked.");
    m.def(
        "mixed_point", &run_mixed_point, py::arg("domain"), py::arg("strict"),
        "A point, numerators and denominator, where the constraints hold, those flagged strictly. "
        "Where there is none, multipliers alone: (row, y) with y > 0, whose sum of y row is a "
        "constant < 0, or 0 if a flagged row is among them.");
    m.def("exact_maximum", &run_maximum, py::arg("domain"), py::arg("objective"),
          "A point, numerators and denominator, where an affine function is largest on a polytope; "
          "None where there is none.");
}

}  // namespace plv::bindings
