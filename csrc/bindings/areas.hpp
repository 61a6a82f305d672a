// One function per area of the engine; each lives in its own small file.
#pragma once

#include <pybind11/pybind11.h>

namespace plv::bindings {

void bind_regions(pybind11::module_& m);
void bind_halfspaces(pybind11::module_& m);
void bind_search(pybind11::module_& m);
void bind_gain(pybind11::module_& m);
void bind_attacks(pybind11::module_& m);

}  // namespace plv::bindings
