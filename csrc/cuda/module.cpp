// The Python face of the CUDA kernels: checks shapes, hands over flat arrays, releases the GIL.
// plverify/cuda.py is its only caller and re-checks on the CPU what comes back as 0.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/patterns.h"

namespace py = pybind11;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

void expect_shape(const Doubles& array, std::vector<py::ssize_t> shape, const std::string& name) {
    if (std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()) == shape) return;
    std::string text;
    for (py::ssize_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
    throw py::value_error(name + ": expected an array of shape (" + text + ")");
}

py::array_t<int8_t> activation_signs(const std::vector<Doubles>& weights,
                                     const std::vector<Doubles>& biases,
                                     const std::vector<Doubles>& slopes, const Doubles& points) {
    if (weights.size() != biases.size() || weights.size() != slopes.size())
        throw py::value_error("weights, biases and slopes: expected lists of the same length");
    if (points.ndim() != 2) throw py::value_error("points: expected a 2-D array");
    std::vector<plv_cuda_layer> layers;
    py::ssize_t cols = points.shape(1), units = 0;
    for (size_t k = 0; k < weights.size(); ++k) {
        const py::ssize_t rows = biases[k].size();
        const std::string index = "[" + std::to_string(k) + "]";
        expect_shape(weights[k], {rows, cols}, "weights" + index);
        expect_shape(biases[k], {rows}, "biases" + index);
        expect_shape(slopes[k], {rows}, "slopes" + index);
        layers.push_back({static_cast<int>(rows), static_cast<int>(cols), weights[k].data(),
                          biases[k].data(), slopes[k].data()});
        units += rows;
        cols = rows;
    }
    py::array_t<int8_t> signs({points.shape(0), units});
    const double* data = points.data();
    signed char* out = signs.mutable_data();
    const size_t count = points.shape(0);
    char message[256] = "";
    int failed;
    {
        py::gil_scoped_release release;
        failed = plv_cuda_activation_signs(layers.data(), layers.size(), data, count, out, message,
                                           sizeof message);
    }
    if (failed) throw std::runtime_error(message);
    return signs;
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
    m.doc() =
        "Batched kernels on a CUDA device; imports without a driver and then finds no device.";
    m.def("device_count", &plv_cuda_device_count, "Number of usable CUDA devices.");
    m.def("activation_signs", &activation_signs, py::arg("weights"), py::arg("biases"),
          py::arg("slopes"), py::arg("points"),
          "Signs (+1, -1, or 0 where float64 cannot decide) of every pre-activation, points x "
          "units.");
}
