// The compiled module plverify._core: converts, releases the GIL, calls the engine.
#include <pybind11/pybind11.h>

#include "base/contract.hpp"
#include "bindings/areas.hpp"
#include "geom/dimension.hpp"
#include "net/net.hpp"
#include "region/kernels.hpp"

PYBIND11_MODULE(_core, m) {
    namespace py = pybind11;
    m.doc() =
        "The compiled engine of plverify. Not a public interface: use the package's functions.";
    m.attr("asserts_on") = plv::asserts_on;
    m.attr("max_dimension") = plv::kMaxDimension;
    m.def("kernel_isa", &plv::kernel_isa,
          "Instruction set of the vector kernels: avx512, avx2 or portable.");
    py::class_<plv::Net, std::shared_ptr<plv::Net>>(m, "Net", "A network in the engine's form.")
        .def(py::init([](const py::bytes& canonical) {
                 return std::const_pointer_cast<plv::Net>(
                     plv::Net::parse(std::string_view(canonical)));
             }),
             py::arg("canonical"))
        .def_readonly("input_size", &plv::Net::input_size)
        .def_readonly("unit_count", &plv::Net::unit_count)
        .def_property_readonly("output_size", &plv::Net::output_size);
    plv::bindings::bind_regions(m);
    plv::bindings::bind_halfspaces(m);
    plv::bindings::bind_search(m);
    plv::bindings::bind_gain(m);
    plv::bindings::bind_attacks(m);
}
