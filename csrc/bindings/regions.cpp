// Enumeration of regions: count, list, stream, decision boundary.
#include "base/thread.hpp"
#include "base/timer.hpp"
#include "bindings/areas.hpp"
#include "bindings/run.hpp"
#include "bindings/stream.hpp"
#include "geom/dimension.hpp"
#include "region/complex.hpp"
#include "region/enumerate.hpp"
#include "region/prove.hpp"

namespace plv::bindings {

namespace {

struct Options {
    int threads;
    std::optional<double> timeout;
    int decide;
    bool unchecked, portable;
    EnumerateOptions engine() const {
        PLV_EXPECT(decide >= 0 && decide <= 2, "decide must be 0, 1 or 2");
        return {threads, static_cast<Decide>(decide), unchecked, portable};
    }
};

// The arrays of a batch: views of one block of memory that lives as long as any of them.
template <int D>
void put_batch(py::dict& out, const std::shared_ptr<const RegionBatch<D>>& batch, int pattern_bytes,
               int outputs) {
    const RegionBatch<D>& b = *batch;
    const py::ssize_t n = b.count, v = static_cast<py::ssize_t>(b.flags.size()),
                      f = static_cast<py::ssize_t>(b.line_layer.size());
    out["patterns"] = to_view(batch, b.patterns, {n, pattern_bytes});
    out["vertex_count"] = to_view(batch, b.vertex_count, {n});
    out["vertices"] = to_view(batch, b.vertices, {v, D});
    out["flags"] = to_view(batch, b.flags, {v});
    out["line_layer"] = to_view(batch, b.line_layer, {f});
    out["line_unit"] = to_view(batch, b.line_unit, {f});
    out["line_piece"] = to_view(batch, b.line_piece, {f});
    out["coincident"] = to_view(batch, b.coincident, {f});
    if constexpr (D > 2) {
        out["facet_count"] = to_view(batch, b.facet_count, {n});
        out["facet_size"] = to_view(batch, b.facet_size, {f});
        out["facet_vertex"] =
            to_view(batch, b.facet_vertex, {static_cast<py::ssize_t>(b.facet_vertex.size())});
    }
    out["jacobian"] = to_view(batch, b.jacobian, {n, outputs, D});
    out["offset"] = to_view(batch, b.offset, {n, outputs});
}

template <int D>
struct Run {
    std::shared_ptr<const Problem<D>> problem;
    EnumerateResult result;
    bool interrupted = false;
    double setup = 0.0, wall = 0.0;

    void operator()(std::shared_ptr<const Net> net, const DomainSpec& spec, const Options& options,
                    const Sink<D>& sink, const py::object& progress) {
        const Timer timer;
        const EnumerateOptions engine = options.engine();
        const std::unique_ptr<StopToken> stop = make_stop(options.timeout);
        std::atomic<int64_t> found{0};
        std::function<void()> tick;
        if (!progress.is_none()) tick = [&] { progress(found.load()); };
        interrupted = run_interruptible(
            *stop,
            [&] {
                problem = Problem<D>::build(net, spec);
                setup = timer.wall();
                result = enumerate<D>(*problem, engine, sink, *stop, &found);
            },
            tick);
        wall = timer.wall();
    }
    py::dict dict() const { return result_dict(result, interrupted, setup, wall); }
};

// The regions of one run, kept on the engine's side for what needs them again: neighbours, merging,
// exact vertices, proofs.
template <int D>
class Complex {
public:
    Complex(std::shared_ptr<const Problem<D>> problem,
            std::shared_ptr<const RegionBatch<D>> regions)
        : problem_(std::move(problem)), batch_(std::move(regions)), regions_(*batch_) {}

    py::array_t<int32_t> neighbours() {
        find_neighbours();
        return to_array(std::vector<int32_t>(neighbour_),
                        {static_cast<py::ssize_t>(neighbour_.size())});
    }
    py::array_t<int32_t> linear_labels() {
        find_neighbours();
        StopToken stop;
        std::vector<int32_t> labels;
        finish(stop, [&] { labels = linear_regions<D>(*problem_, regions_, neighbour_, stop); });
        const auto n = static_cast<py::ssize_t>(labels.size());
        return to_array(std::move(labels), {n});
    }
    py::list exact_vertices(int64_t index) const {
        py::list out;
        for (const ExactPoint<D>& point : plv::exact_vertices<D>(*problem_, regions_, index))
            out.append(to_python(point));
        return out;
    }
    // Exact points of a run with exact vertices, and for every vertex its index among them.
    py::list points() const {
        py::list out;
        for (const ExactPoint<D>& point : regions_.exact) out.append(to_python(point));
        return out;
    }
    py::array_t<int32_t> point_index() const {
        return to_array(std::vector<int32_t>(regions_.points),
                        {static_cast<py::ssize_t>(regions_.points.size())});
    }
    py::tuple proof_body() const {
        if constexpr (D > 2)
            throw std::invalid_argument("region lists are proven in one and two dimensions");
        PLV_EXPECT(!regions_.exact.empty(), "a proof needs a run with exact vertices");
        const RegionListBody body = region_list_body<D>(*problem_, regions_);
        return py::make_tuple(py::bytes(body.bytes), body.vertices, body.domain_vertices);
    }

private:
    void find_neighbours() {
        if (ready_) return;
        StopToken stop;
        std::vector<int32_t> found;  // another thread may be here while the GIL is released
        finish(stop, [&] { found = plv::neighbours<D>(*problem_, regions_, stop); });
        if (!ready_) neighbour_ = std::move(found);
        ready_ = true;
    }
    static void finish(StopToken& stop, const std::function<void()>& work) {
        try {
            if (run_interruptible(stop, work, {})) throw Stopped{};
        } catch (const Stopped&) {
            PyErr_SetNone(PyExc_KeyboardInterrupt);
            throw py::error_already_set();
        }
    }

    std::shared_ptr<const Problem<D>> problem_;
    std::shared_ptr<const RegionBatch<D>> batch_;
    const RegionBatch<D>& regions_;
    std::vector<int32_t> neighbour_;
    bool ready_ = false;
};

template <int D>
py::dict run_count(std::shared_ptr<const Net> net, const DomainSpec& spec, const Options& options,
                   const py::object& progress) {
    Run<D> run;
    run(std::move(net), spec, options, {}, progress);
    return run.dict();
}

template <int D>
py::dict run_list(std::shared_ptr<const Net> net, const DomainSpec& spec, const Options& options,
                  const py::object& progress) {
    Collector<D> collector;
    Sink<D> sink;
    sink.regions = [&](RegionBatch<D>&& batch) { collector.take(std::move(batch)); };
    Run<D> run;
    run(net, spec, options, sink, progress);
    py::dict out = run.dict();
    std::shared_ptr<const RegionBatch<D>> regions;
    {
        py::gil_scoped_release release;
        regions = std::make_shared<const RegionBatch<D>>(collector.join());
    }
    put_batch<D>(out, regions, net->pattern_bytes(), net->output_size());
    out["complex"] = std::make_shared<Complex<D>>(run.problem, std::move(regions));
    return out;
}

template <int D>
py::dict run_ties(std::shared_ptr<const Net> net, const DomainSpec& spec, const Options& options,
                  const py::object& progress) {
    std::vector<std::pair<int64_t, std::vector<TieSegment<D>>>> found;
    Sink<D> sink;
    sink.ties = [&](int64_t subtree, std::vector<TieSegment<D>>&& ties) {
        found.emplace_back(subtree, std::move(ties));
    };
    Run<D> run;
    run(std::move(net), spec, options, sink, progress);
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    py::dict out = run.dict();
    py::list segments;
    for (const auto& [subtree, ties] : found)
        for (const TieSegment<D>& s : ties)
            segments.append(
                py::make_tuple(to_python(s.from), to_python(s.to), s.i, s.j, s.open_set));
    out["segments"] = segments;
    return out;
}

template <int D>
struct VertexEngine {
    using Problem = plv::Problem<D>;
    using Batch = RegionBatch<D>;
    using Sink = plv::Sink<D>;
    EnumerateOptions options;

    std::shared_ptr<const Problem> build(std::shared_ptr<const Net> net, const DomainSpec& spec,
                                         StopToken&) const {
        return Problem::build(std::move(net), spec);
    }
    EnumerateResult run(const Problem& problem, const Sink& sink, StopToken& stop) const {
        return enumerate<D>(problem, options, sink, stop);
    }
    void put(py::dict& out, Batch&& batch, const Problem& problem) const {
        const auto kept = std::make_shared<const Batch>(std::move(batch));
        put_batch<D>(out, kept, problem.net->pattern_bytes(), problem.net->output_size());
    }
};

template <int D>
void bind_dimension(py::module_& m, const char* complex_name, const char* stream_name) {
    py::class_<Complex<D>, std::shared_ptr<Complex<D>>>(m, complex_name,
                                                        "Regions of one run with their adjacency.")
        .def("neighbours", &Complex<D>::neighbours)
        .def("linear_labels", &Complex<D>::linear_labels)
        .def("exact_vertices", &Complex<D>::exact_vertices, py::arg("index"))
        .def("points", &Complex<D>::points)
        .def("point_index", &Complex<D>::point_index)
        .def("proof_body", &Complex<D>::proof_body);
    bind_stream<VertexEngine<D>>(m, stream_name);
}

// Calls f.template operator()<D>() for the dimension of a domain, up to `most`.
template <int D = 1, class F>
py::object with_dimension(int dim, int most, F&& f) {
    if constexpr (D <= kMaxDimension) {
        if (dim == D && D <= most) return f.template operator()<D>();
        return with_dimension<D + 1>(dim, most, std::forward<F>(f));
    } else {
        throw std::invalid_argument("regions are enumerated over domains of 1 to " +
                                    std::to_string(most) + " dimensions; this one has " +
                                    std::to_string(dim) + ": study a Slice of it");
    }
}

}  // namespace

void bind_regions(py::module_& m) {
#define PLV_BIND(D) bind_dimension<D>(m, "Complex" #D, "Stream" #D);
    PLV_EACH_DIMENSION(PLV_BIND)
#undef PLV_BIND
    m.def(
        "enumerate",
        [](std::shared_ptr<Net> net, const py::bytes& domain, const std::string& want, int threads,
           std::optional<double> timeout, int decide, const py::object& progress, bool unchecked,
           bool portable) -> py::object {
            const DomainSpec spec = DomainSpec::parse(std::string_view(domain));
            const Options options{threads, timeout, decide, unchecked, portable};
            if (want == "count")
                return with_dimension(spec.dim, kMaxDimension, [&]<int D>() -> py::object {
                    return run_count<D>(net, spec, options, progress);
                });
            if (want == "regions")
                return with_dimension(spec.dim, kMaxDimension, [&]<int D>() -> py::object {
                    return run_list<D>(net, spec, options, progress);
                });
            PLV_EXPECT(want == "ties", "want must be count, regions or ties");
            return with_dimension(spec.dim, 2, [&]<int D>() -> py::object {
                if constexpr (D <= 2) return run_ties<D>(net, spec, options, progress);
                return py::none();
            });
        },
        py::arg("net"), py::arg("domain"), py::arg("want") = "count", py::arg("threads") = 1,
        py::arg("timeout") = py::none(), py::arg("decide") = 0, py::arg("progress") = py::none(),
        py::arg("unchecked") = false, py::arg("portable") = false,
        "Enumerate the activation regions of a network over a domain.\n\n"
        "want: 'count' (constant memory), 'regions' (arrays and a complex) or 'ties' (the decision "
        "boundary).\n"
        "decide: 0 filter with exact fall-back, 1 also exact vertices, 2 every sign exact "
        "(tests).\n"
        "unchecked: no error bound at all; only to measure what the filter costs.");
    m.def(
        "stream",
        [](std::shared_ptr<Net> net, const py::bytes& domain, int threads,
           std::optional<double> timeout, int64_t batch) -> py::object {
            const DomainSpec spec = DomainSpec::parse(std::string_view(domain));
            const Options options{threads, timeout, 0, false, false};
            return with_dimension(spec.dim, kMaxDimension, [&]<int D>() -> py::object {
                return py::cast(std::make_unique<Stream<VertexEngine<D>>>(
                    VertexEngine<D>{options.engine()}, net, spec, timeout, batch));
            });
        },
        py::arg("net"), py::arg("domain"), py::arg("threads") = 1, py::arg("timeout") = py::none(),
        py::arg("batch") = 4096,
        "Stream the regions in batches; order is by walk within a batch only.");
}

}  // namespace plv::bindings
