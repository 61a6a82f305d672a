// Lipschitz constants: the search for the largest norm of a Jacobian.
#include "search/gain.hpp"
#include "bindings/areas.hpp"
#include "bindings/run.hpp"

namespace plv::bindings {

namespace {

GainQuestion read_question(const std::string& norm, const py::bytes& property,
                           const py::bytes& weights) {
    GainQuestion out;
    PLV_EXPECT(norm == "l1" || norm == "l2" || norm == "linf", "unknown norm");
    using Norm = GainQuestion::Norm;
    out.norm = norm == "l1" ? Norm::l1 : norm == "l2" ? Norm::l2 : Norm::linf;
    Spec spec = Spec::parse(std::string_view(property));
    PLV_EXPECT(spec.cases.size() == 1, "a domain is one box");
    out.domain = std::move(spec.cases[0]);
    for (const SpecConstraint& row : out.domain.constraints)
        PLV_EXPECT(row.outputs.empty(), "a domain is about inputs");
    ByteReader in{std::string_view(weights)};
    out.rows = in.u32();
    PLV_EXPECT(out.rows > 0, "no rows");
    out.den = in.ints(1)[0];
    PLV_EXPECT(out.den.sign() > 0, "a denominator is not positive");
    out.weights = in.ints(out.rows * spec.outputs);
    PLV_EXPECT(in.at_end(), "bytes after the weights");
    return out;
}

py::dict run_gain(const std::shared_ptr<Net>& net, const std::string& norm, const py::bytes& domain,
                  const py::bytes& weights, std::optional<double> timeout,
                  const py::object& progress) {
    const GainQuestion question = read_question(norm, domain, weights);
    const std::unique_ptr<StopToken> stop = make_stop(timeout);
    std::atomic<int64_t> nodes{0};
    std::function<void()> tick;
    if (!progress.is_none()) tick = [&] { progress(nodes.load()); };
    GainResult result;
    const bool interrupted = run_interruptible(
        *stop, [&] { result = largest_jacobian(net, question, *stop, &nodes); }, tick);
    py::dict out;
    out["status"] = result.complete  ? "complete"
                    : result.unknown ? "unknown"
                                     : reason_name(stop->reason(), interrupted);
    out["upper"] = result.upper;
    out["attained"] = result.attained;
    out["witness"] = py::none();
    if (result.has_witness) {
        py::list point;
        for (const Int& v : result.witness) point.append(to_python(v));
        out["witness"] = py::make_tuple(point, to_python(result.den));
    }
    out["proof"] = py::bytes(result.proof);
    out["nodes"] = result.nodes;
    out["leaves"] = result.leaves;
    out["programs"] = result.programs;
    out["exact_programs"] = result.exact_programs;
    out["cpu_seconds"] = result.cpu_seconds;
    return out;
}

}  // namespace

void bind_gain(py::module_& m) {
    m.def("lipschitz", &run_gain, py::arg("net"), py::arg("norm"), py::arg("domain"),
          py::arg("weights"), py::arg("timeout") = py::none(), py::arg("progress") = py::none(),
          "Search for the largest norm of rows times a Jacobian over a box or polytope; what it "
          "proposes is to be checked.");
}

}  // namespace plv::bindings
