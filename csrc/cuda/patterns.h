/* Signs of the pre-activations of a chain of dense layers at many points, on a CUDA device. A plain
 * C interface, so that the translation unit with the kernels needs neither Python nor the engine,
 * and the one with pybind11 no CUDA header.
 *
 * Layer k computes z = W a + b from the previous layer's a (the first from the point itself), then
 * a = z where z > 0 and a = slope * z elsewhere. Every weight, bias and slope handed over is a
 * double d that stands for an exact real D with |D - d| <= 2^-53 |d|: the rounding of a rational
 * that neither overflows nor becomes subnormal, or D = d. Points are exact.
 *
 * A sign is claimed (+1, -1) only where an enclosure of the exact z, computed with directed
 * rounding, excludes zero. Everything else, infinities and NaN included, is 0: undecided, and the
 * caller's exact arithmetic decides it. */
#ifndef PLVERIFY_CUDA_PATTERNS_H
#define PLVERIFY_CUDA_PATTERNS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int rows, cols;
    const double* weights; /* rows x cols, row-major */
    const double* biases;  /* rows */
    const double* slopes;  /* rows */
} plv_cuda_layer;

/* Number of usable devices; 0 without a driver. */
int plv_cuda_device_count(void);

/* points: count x layers[0].cols, row-major. signs: count x (sum of rows), row-major, layer after
 * layer. layers[k].cols must equal layers[k - 1].rows. Returns 0, or 1 with one line in `message`
 * (cut to message_size). */
int plv_cuda_activation_signs(const plv_cuda_layer* layers, size_t layer_count,
                              const double* points, size_t count, signed char* signs, char* message,
                              size_t message_size);

#ifdef __cplusplus
}
#endif

#endif
