// Attacks, and the projection onto polyhedra that they are made of. Guesses in doubles.
#include "base/fp_mode.hpp"
#include "bindings/areas.hpp"
#include "bindings/run.hpp"
#include "lp/nearest.hpp"
#include "net/rows.hpp"
#include "search/walk.hpp"

namespace plv::bindings {

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

Norm norm_named(const std::string& name) {
    PLV_EXPECT(name == "l1" || name == "l2" || name == "linf", "unknown norm");
    return name == "l1" ? Norm::l1 : name == "l2" ? Norm::l2 : Norm::linf;
}

py::object run_nearest(const Doubles& rows, const Doubles& bounds, const Doubles& lo,
                       const Doubles& hi, const std::string& norm) {
    const auto count = bounds.size(), dim = lo.size();
    PLV_EXPECT(
        rows.ndim() == 2 && rows.shape(0) == count && rows.shape(1) == dim && hi.size() == dim,
        "sizes of a polyhedron");
    const FpMode fp_mode;
    Nearest solver;
    solver.start(norm_named(norm), static_cast<int>(dim), lo.data(), hi.data());
    for (py::ssize_t i = 0; i < count; ++i) solver.add_row(rows.data() + i * dim, bounds.at(i));
    if (solver.solve(HUGE_VAL) != Nearest::End::optimal) return py::none();
    std::vector<double> point = solver.point(), weights(static_cast<size_t>(count), 0.0);
    for (size_t p = 0; p < solver.tight().size(); ++p)
        weights[static_cast<size_t>(solver.tight()[p])] = solver.multipliers()[p];
    std::vector<int8_t> places;
    for (int j = 0; j < static_cast<int>(dim); ++j)
        places.push_back(static_cast<int8_t>(solver.place(j)));
    return py::make_tuple(to_array(std::move(point), {dim}), to_array(std::move(weights), {count}),
                          to_array(std::move(places), {dim}));
}

// What is known about a point that was found; the rows of its linear system in integers.
py::object told(const Net& net, const PulledRows& rows, const WalkPoint& found) {
    if (!found.found) return py::none();
    const auto copy = [](const auto& v) {
        return to_array(std::vector(v), {static_cast<py::ssize_t>(v.size())});
    };
    std::vector<uint8_t> pattern(static_cast<size_t>(net.pattern_bytes()), 0);
    size_t unit = 0;
    for (size_t l = 0; l < net.layers.size(); ++l)
        for (int i = 0; i < net.layers[l].units; ++i)
            net.set_piece(pattern.data(), static_cast<int>(l), i, found.pieces[unit++]);
    py::list active;
    for (const Entry& e : found.active) {
        py::list row;
        for (const Int& v : rows.row(e.layer, e.entry, e.minus, pattern.data()))
            row.append(to_python(v));
        active.append(row);
    }
    std::vector<int8_t> places;
    for (const Place place : found.places) places.push_back(static_cast<int8_t>(place));
    py::dict out;
    out["target"] = found.target;
    out["point"] = copy(found.x);
    out["inwards"] = copy(found.inwards);
    out["safe"] = copy(found.safe);
    out["pieces"] = copy(found.pieces);
    out["active"] = active;
    out["places"] = copy(places);
    return out;
}

py::list run_walk(const std::shared_ptr<Net>& net, const Doubles& points, const Doubles& lo,
                  const Doubles& hi, const std::vector<int>& labels,
                  const std::vector<int>& targets, bool targeted, const std::string& norm,
                  int restarts, const std::optional<Doubles>& starts,
                  std::optional<double> timeout) {
    const auto count = static_cast<py::ssize_t>(labels.size());
    const py::ssize_t dim = net->input_size;
    PLV_EXPECT(points.size() == count * dim && lo.size() == dim && hi.size() == dim &&
                   static_cast<py::ssize_t>(targets.size()) == count && restarts >= 0,
               "sizes of points");
    PLV_EXPECT(!starts || starts->size() == points.size(), "sizes of starts");
    for (const auto& list : {labels, targets})
        for (const int label : list)
            PLV_EXPECT(label >= -1 && label < net->output_size(), "label out of range");
    WalkGoal goal;
    goal.norm = norm_named(norm);
    goal.targeted = targeted;
    goal.lo = lo.data();
    goal.hi = hi.data();
    std::vector<WalkPoint> found(labels.size());
    const std::unique_ptr<StopToken> stop = make_stop(timeout);
    const auto walk = [&] {
        const FpMode fp_mode;
        std::vector<LocalInput> inputs;
        for (int j = 0; j < net->input_size; ++j) inputs.push_back({j, 0.0, 0});
        const BoundNet plain(*net, net->input_size, inputs);
        Walk walker(plain);
        try {
            for (size_t k = 0; k < labels.size(); ++k) {
                goal.x = points.data() + static_cast<py::ssize_t>(k) * dim;
                goal.label = labels[k];
                goal.target = targets[k];
                if (starts) goal.start = starts->data() + static_cast<py::ssize_t>(k) * dim;
                found[k] = walker.nearest(goal, restarts, *stop);
            }
        } catch (const Stopped&) {
        }
    };
    if (run_interruptible(*stop, walk, {})) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        throw py::error_already_set();
    }
    py::list out;
    const PulledRows rows(*net);
    for (const WalkPoint& point : found) out.append(told(*net, rows, point));
    return out;
}

}  // namespace

void bind_attacks(py::module_& m) {
    m.def("nearest", &run_nearest, py::arg("rows"), py::arg("bounds"), py::arg("lo"), py::arg("hi"),
          py::arg("norm"),
          "The point with rows . d >= bounds in a box around 0 that is nearest to 0, the rows' "
          "multipliers, and where each coordinate is, in doubles; None where none was found.");
    m.def("walk", &run_walk, py::arg("net"), py::arg("points"), py::arg("lo"), py::arg("hi"),
          py::arg("labels"), py::arg("targets"), py::arg("targeted"), py::arg("norm"),
          py::arg("restarts"), py::arg("starts") = py::none(), py::arg("timeout") = py::none(),
          "The cone-walking attack: per point what was found, in doubles, or None. Points lie in "
          "the box; a target of -1 is any other output.");
}

}  // namespace plv::bindings
