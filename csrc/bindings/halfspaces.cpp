// Enumeration with cells of half-spaces: any dimension, and proofs.
#include "region/halfspaces.hpp"
#include "base/timer.hpp"
#include "bindings/areas.hpp"
#include "bindings/run.hpp"
#include "bindings/stream.hpp"

namespace plv::bindings {

namespace {

void put(py::dict& out, HalfspaceBatch&& batch, py::ssize_t dim, py::ssize_t pattern_bytes,
         py::ssize_t outputs) {
    const py::ssize_t n = batch.count;
    out["patterns"] = to_array(std::move(batch.patterns), {n, pattern_bytes});
    out["points"] = to_array(std::move(batch.points), {n, dim});
    out["jacobian"] = to_array(std::move(batch.jacobian), {n, outputs, dim});
    out["offset"] = to_array(std::move(batch.offset), {n, outputs});
}

struct HalfspaceEngine {
    using Problem = HalfspaceProblem;
    using Batch = HalfspaceBatch;
    using Sink = HalfspaceSink;
    int threads;

    std::shared_ptr<const Problem> build(std::shared_ptr<const Net> net, const DomainSpec& spec,
                                         StopToken& stop) const {
        return Problem::build(std::move(net), spec, stop);
    }
    EnumerateResult run(const Problem& problem, const Sink& sink, StopToken& stop) const {
        return enumerate_halfspaces(problem, threads, sink, stop);
    }
    void put(py::dict& out, Batch&& batch, const Problem& problem) const {
        bindings::put(out, std::move(batch), problem.dim, problem.net->pattern_bytes(),
                      problem.net->output_size());
    }
};

py::tuple to_python(const StrictPoint& point) {
    py::list x;
    for (const Int& v : point.x) x.append(bindings::to_python(v));
    return py::make_tuple(x, bindings::to_python(point.den));
}

// None where there is no interior.
py::object facets(const py::bytes& domain) {
    const DomainSpec spec = DomainSpec::parse(std::string_view(domain));
    const Facets found = run_to_end<Facets>(
        [&](StopToken& stop) { return find_facets(spec.dim, spec.constraints, &stop); });
    if (!found.inside.found) return py::none();
    py::list points;
    for (const StrictPoint& point : found.on) points.append(to_python(point));
    return py::make_tuple(to_python(found.inside), found.rows, points);
}

py::dict run_halfspaces(const std::shared_ptr<Net>& net, const py::bytes& domain,
                        const std::string& want, int threads, std::optional<double> timeout,
                        const py::object& progress) {
    PLV_EXPECT(want == "count" || want == "regions" || want == "proof",
               "want must be count, regions or proof");
    const DomainSpec spec = DomainSpec::parse(std::string_view(domain));
    const Timer timer;
    double setup = 0.0;
    std::vector<HalfspaceBatch> batches;
    HalfspaceSink sink;
    sink.prove = want == "proof";
    if (want == "regions")
        sink.regions = [&](HalfspaceBatch&& batch) { batches.push_back(std::move(batch)); };
    const std::unique_ptr<StopToken> stop = make_stop(timeout);
    std::atomic<int64_t> found{0};
    std::function<void()> tick;
    if (!progress.is_none()) tick = [&] { progress(found.load()); };
    HalfspaceResult result;
    const bool interrupted = run_interruptible(
        *stop,
        [&] {
            try {
                const auto problem = HalfspaceProblem::build(net, spec, *stop);
                setup = timer.wall();
                result = enumerate_halfspaces(*problem, threads, sink, *stop, &found);
            } catch (const Stopped&) {
                result.reason = stop->reason();
            }
        },
        tick);
    py::dict out = result_dict(result, interrupted, setup, timer.wall());
    if (sink.prove) out["proof"] = py::bytes(result.proof);
    if (sink.regions) {
        std::stable_sort(batches.begin(), batches.end(),
                         [](const auto& a, const auto& b) { return a.subtree < b.subtree; });
        HalfspaceBatch all;
        for (HalfspaceBatch& batch : batches) {
            const auto append = [](auto& to, auto& from) {
                to.insert(to.end(), from.begin(), from.end());
                from = {};
            };
            all.count += batch.count;
            append(all.patterns, batch.patterns);
            append(all.points, batch.points);
            append(all.jacobian, batch.jacobian);
            append(all.offset, batch.offset);
        }
        put(out, std::move(all), spec.dim, net->pattern_bytes(), net->output_size());
    }
    return out;
}

}  // namespace

void bind_halfspaces(py::module_& m) {
    bind_stream<HalfspaceEngine>(m, "HalfspaceStream");
    m.def(
        "stream_halfspaces",
        [](std::shared_ptr<Net> net, const py::bytes& domain, int threads,
           std::optional<double> timeout, int64_t batch) {
            return std::make_unique<Stream<HalfspaceEngine>>(
                HalfspaceEngine{threads}, net, DomainSpec::parse(std::string_view(domain)), timeout,
                batch);
        },
        py::arg("net"), py::arg("domain"), py::arg("threads") = 1, py::arg("timeout") = py::none(),
        py::arg("batch") = 4096,
        "Stream the regions in batches, with cells given by inequalities.");
    m.def("facets", &facets, py::arg("domain"),
          "An inner point of a polyhedron, the numbers of the rows that make its facets, and a "
          "point inside each facet; None if it has no interior.");
    m.def("halfspaces", &run_halfspaces, py::arg("net"), py::arg("domain"),
          py::arg("want") = "count", py::arg("threads") = 1, py::arg("timeout") = py::none(),
          py::arg("progress") = py::none(),
          "Enumerate activation regions with cells given by inequalities, in any dimension.\n\n"
          "want: 'count' (constant memory), 'regions' (patterns, inner points and maps) or 'proof' "
          "(the body of a region-list proof by its split tree).");
}

}  // namespace plv::bindings
