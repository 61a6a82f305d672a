// A batch of points goes through the layers together; each layer is one tiled matrix product that
// carries, beside each activation a, a radius r with: |W_j A_j - w_j a_j| <= |w_j| r_j for the
// exact W, A and the doubles w, a. Per term
//
//   lo = fma_down(w, a, lo)    hi = fma_up(w, a, hi)    t = fma_up(|w|, r, t)
//
// so [lo - t, hi + t] encloses the exact pre-activation whatever the order, the length of the sum
// or the subnormals on the way: the rounding direction does the proof, no a-priori constant does.
// Three operations a term instead of one; the tighter alternative, |w| e + gamma_n |w| |a|, needs
// two, but its constant grows with n and needs its own argument for underflow. fmin and fmax are
// avoided throughout: they drop a NaN, and a NaN must end as "undecided".
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "cuda/patterns.h"

namespace {

// A block computes kTile points x kTile units.
constexpr int kTile = 16;
// Activations of one layer held at once: 256 MB, whatever the number of points.
constexpr size_t kEntries = 1 << 24;
// Relative error of a given weight, bias or slope.
constexpr double kUnit = 0x1p-53;

struct Interval {
    double lo, hi;
};

// An exact activation A with |A - a| <= e is kept as a and r >= e + u (|a| + e), the radius that a
// given weight w with its own relative error u turns into |w| r.
struct Ball {
    double a, r;
};

__device__ double larger(double x, double y) { return x > y || isnan(x) ? x : y; }
__device__ double smaller(double x, double y) { return x < y || isnan(x) ? x : y; }

__device__ Ball enclose(Interval v) {
    const double a = 0.5 * v.lo + 0.5 * v.hi;
    const double e = larger(__dsub_ru(v.hi, a), __dsub_ru(a, v.lo));
    const double r = __fma_ru(kUnit, __dadd_ru(fabs(a), e), e);
    if (isfinite(r)) return {a, r};
    return {0.0, INFINITY};
}

// Exact range of slope * z over z in v (v.hi <= 0) and all slopes that the double stands for.
__device__ Interval scale(Interval v, double slope) {
    const double d = __dmul_ru(kUnit, fabs(slope));
    const double s0 = __dsub_rd(slope, d), s1 = __dadd_ru(slope, d);
    // z <= 0: the product is least at the largest slope and greatest at the least one.
    const double lo = smaller(__dmul_rd(v.lo, s1), __dmul_rd(v.hi, s1));
    const double hi = larger(__dmul_ru(v.lo, s0), __dmul_ru(v.hi, s0));
    return {lo, hi};
}

// What phi makes of v: the identity above zero, slope * z below, the hull of both where the sign is
// undecided.
__device__ Interval activate(Interval v, double slope, int sign) {
    if (sign > 0) return v;
    if (sign < 0) return scale(v, slope);
    const Interval below = scale({v.lo, 0.0}, slope);
    return {smaller(below.lo, 0.0), larger(below.hi, v.hi)};
}

__global__ void enclose_points(const double* points, size_t entries, Ball* out) {
    const size_t k = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (k < entries) out[k] = enclose({points[k], points[k]});
}

// in: count x cols. out: count x rows (not written for the last layer, where it is null). signs:
// count x sign_stride.
__global__ void layer_signs(const double* weights, const double* biases, const double* slopes,
                            int rows, int cols, const Ball* in, size_t count, Ball* out,
                            signed char* signs, size_t sign_stride) {
    __shared__ double tile_w[kTile][kTile + 1];
    __shared__ double tile_a[kTile][kTile + 1];
    __shared__ double tile_r[kTile][kTile + 1];
    const int unit = blockIdx.y * kTile + threadIdx.x;
    const size_t point = static_cast<size_t>(blockIdx.x) * kTile + threadIdx.y;
    const int loaded_unit = blockIdx.y * kTile + threadIdx.y;  // whose weights this thread fetches
    const double bias = unit < rows ? biases[unit] : 0.0;
    double lo = bias, hi = bias, t = __dmul_ru(kUnit, fabs(bias));
    for (int from = 0; from < cols; from += kTile) {
        const int col = from + threadIdx.x;
        const bool inside = col < cols;
        tile_w[threadIdx.y][threadIdx.x] =
            inside && loaded_unit < rows ? weights[static_cast<size_t>(loaded_unit) * cols + col]
                                         : 0.0;
        const Ball ball = inside && point < count ? in[point * cols + col] : Ball{0.0, 0.0};
        tile_a[threadIdx.y][threadIdx.x] = ball.a;
        tile_r[threadIdx.y][threadIdx.x] = ball.r;
        __syncthreads();
        for (int k = 0; k < kTile; ++k) {
            const double w = tile_w[threadIdx.x][k], a = tile_a[threadIdx.y][k];
            lo = __fma_rd(w, a, lo);
            hi = __fma_ru(w, a, hi);
            t = __fma_ru(fabs(w), tile_r[threadIdx.y][k], t);
        }
        __syncthreads();
    }
    if (unit >= rows || point >= count) return;
    const Interval z{__dsub_rd(lo, t), __dadd_ru(hi, t)};
    const int sign = z.lo > 0.0 ? 1 : z.hi < 0.0 ? -1 : 0;  // NaN fails both
    signs[point * sign_stride + unit] = static_cast<signed char>(sign);
    if (out != nullptr) out[point * rows + unit] = enclose(activate(z, slopes[unit], sign));
}

struct Failure {
    std::string what;
};

void must(cudaError_t status, const char* what) {
    if (status != cudaSuccess) throw Failure{std::string(what) + ": " + cudaGetErrorString(status)};
}

template <typename T>
class DeviceArray {
public:
    explicit DeviceArray(size_t size) {
        must(cudaMalloc(&data_, (size ? size : 1) * sizeof(T)), "cannot allocate CUDA memory");
    }
    DeviceArray(const T* host, size_t size) : DeviceArray(size) { upload(host, size); }
    DeviceArray(DeviceArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
    DeviceArray& operator=(DeviceArray&&) = delete;
    ~DeviceArray() { cudaFree(data_); }

    void upload(const T* host, size_t size) {
        must(cudaMemcpy(data_, host, size * sizeof(T), cudaMemcpyHostToDevice),
             "cannot copy to the CUDA device");
    }
    T* get() const { return data_; }

private:
    T* data_ = nullptr;
};

struct DeviceLayer {
    int rows, cols;
    DeviceArray<double> weights, biases, slopes;

    explicit DeviceLayer(const plv_cuda_layer& layer)
        : rows(layer.rows),
          cols(layer.cols),
          weights(layer.weights, static_cast<size_t>(layer.rows) * layer.cols),
          biases(layer.biases, layer.rows),
          slopes(layer.slopes, layer.rows) {}
};

unsigned blocks(size_t size, size_t per_block) {
    return static_cast<unsigned>((size + per_block - 1) / per_block);
}

void activation_signs(const plv_cuda_layer* layers, size_t layer_count, const double* points,
                      size_t count, signed char* signs) {
    int devices = 0;
    must(cudaGetDeviceCount(&devices), "no usable CUDA device");
    if (devices == 0) throw Failure{"no usable CUDA device: the driver reports none"};

    std::vector<DeviceLayer> net;
    net.reserve(layer_count);
    size_t units = 0, widest = 0;
    for (size_t k = 0; k < layer_count; ++k) {
        net.emplace_back(layers[k]);
        units += layers[k].rows;
        widest = std::max(widest, static_cast<size_t>(std::max(layers[k].rows, layers[k].cols)));
    }
    if (units == 0 || count == 0) return;

    const size_t inputs = layers[0].cols;
    const size_t chunk = std::min(count, std::max<size_t>(1, kEntries / widest));
    DeviceArray<double> device_points(chunk * inputs);
    DeviceArray<signed char> device_signs(chunk * units);
    DeviceArray<Ball> first(chunk * widest), second(chunk * widest);
    for (size_t done = 0; done < count; done += chunk) {
        const size_t now = std::min(chunk, count - done);
        device_points.upload(points + done * inputs, now * inputs);
        Ball *in = first.get(), *out = second.get();
        enclose_points<<<blocks(now * inputs, 256), 256>>>(device_points.get(), now * inputs, in);
        size_t column = 0;
        for (size_t k = 0; k < layer_count; ++k) {
            const DeviceLayer& layer = net[k];
            const dim3 grid(blocks(now, kTile), blocks(layer.rows, kTile));
            layer_signs<<<grid, dim3(kTile, kTile)>>>(
                layer.weights.get(), layer.biases.get(), layer.slopes.get(), layer.rows, layer.cols,
                in, now, k + 1 < layer_count ? out : nullptr, device_signs.get() + column, units);
            must(cudaGetLastError(), "cannot start a CUDA kernel");
            std::swap(in, out);
            column += layer.rows;
        }
        must(cudaMemcpy(signs + done * units, device_signs.get(), now * units,
                        cudaMemcpyDeviceToHost),
             "a CUDA kernel failed");
    }
}

}  // namespace

int plv_cuda_device_count(void) {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

int plv_cuda_activation_signs(const plv_cuda_layer* layers, size_t layer_count,
                              const double* points, size_t count, signed char* signs, char* message,
                              size_t message_size) {
    std::string what;
    try {
        activation_signs(layers, layer_count, points, count, signs);
        return 0;
    } catch (const Failure& failure) {
        what = failure.what;
    } catch (const std::exception& error) {  // std::bad_alloc
        what = error.what();
    }
    std::snprintf(message, message_size, "%s", what.c_str());
    return 1;
}
