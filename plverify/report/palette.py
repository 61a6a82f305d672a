"""Colours of pictures, chosen in Oklab (B. Ottosson 2020), where equal steps look equal.

Neighbours stay distinguishable and no colour claims more than another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from plverify.partition import RegionSet

Floats = NDArray[np.float64]

INK = "#1c2230"
QUIET = "#687083"
PAPER = "#ffffff"
BOUNDARY = "#d4003c"


def oklch(lightness: Any, chroma: Any, hue: Any) -> Floats:
    """(..., 3) sRGB in [0, 1] of a colour given in the polar form of Oklab; ``hue`` in radians.

    Out-of-gamut values are clipped. Source: B. Ottosson, "A perceptual color space for image
    processing", 2020.

    >>> oklch(1.0, 0.0, 0.0).round(2).tolist()
    [1.0, 1.0, 1.0]
    """
    light, a, b = np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
    cone = np.stack(
        [
            light + 0.3963377774 * a + 0.2158037573 * b,
            light - 0.1055613458 * a - 0.0638541728 * b,
            light - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    mix = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(cone**3 @ mix.T, 0.0, 1.0)
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved)


GOLDEN = 2 * np.pi * 0.6180339887498949
CLASS_HUES = np.radians([258, 45, 152, 330, 90, 205, 15, 120, 290, 178])


def class_shades(classes: Any, lightness: Any = 0.84, chroma: float = 0.085) -> Floats:
    """(n, 3) colours of these classes; the first ten classes are far apart."""
    index = np.asarray(classes)
    hues = np.where(index < 10, CLASS_HUES[index % 10], 0.7 + GOLDEN * index)
    return oklch(lightness - 0.05 * ((index // 10) % 3), chroma, hues)


def curve_colors(count: int) -> Floats:
    """(count, 3) dark colours of graphs, in the hues of the classes."""
    return class_shades(np.arange(count), 0.5, 0.15)


def unit_color(place: int) -> Floats:
    """A strong colour for the n-th of many lines."""
    return oklch(0.58 + 0.1 * (place % 3 - 1), 0.16, 0.45 + GOLDEN * place)


def ramp(steps: int = 256) -> Floats:
    """(steps, 3) colours from pale yellow to dark blue, ever darker."""
    at = np.linspace(0, 1, steps)
    chroma = 0.015 + 0.13 * np.sin(np.pi * at**0.8)
    return oklch(0.97 - 0.52 * at, chroma, np.radians(95 - 175 * at))


def jitter(keys: Any) -> Floats:
    """A number in [-1, 1] per key: the same for equal keys, unrelated for different ones."""
    mixed = (np.asarray(keys, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1


def map_colors(regions: RegionSet) -> Floats:
    """(count, 3) colours by affine map: direction of the gradient as hue, length as strength."""
    table = np.nan_to_num(regions.J)
    table = table / max(float(np.abs(table).max(initial=0)), 1e-300)
    sizes = regions.areas()
    weights = np.sqrt(np.where(np.isfinite(sizes), np.maximum(sizes, 0), 0))
    weights = weights / max(float(weights.max()), 1e-300) + 1e-3
    if table.shape[1] > 1:
        # What all outputs share moves no boundary between classes: leave it out, then project.
        table = table - table.mean(axis=1, keepdims=True)
        flat = table.reshape(len(table), -1)
        flat = flat - np.average(flat, axis=0, weights=weights)
        _, axes = np.linalg.eigh((flat * weights[:, None]).T @ flat)
        flat = flat @ axes[:, -2:]
    else:
        flat = table[:, 0]
    x, y = flat[:, 0], flat[:, -1]
    length = np.hypot(x, y)
    order = np.argsort(length)
    mass = np.cumsum(weights[order])
    typical = float(length[order[int(np.searchsorted(mass, 0.6 * mass[-1]))]])
    strength = np.tanh(length / typical) if typical > 0 else np.zeros_like(length)
    light = 0.93 - 0.17 * strength + 0.022 * jitter(regions.linear_labels)
    return oklch(light, 0.012 + 0.105 * strength, np.arctan2(y, x) + 0.6)


def random_colors(keys: NDArray[Any]) -> Floats:
    """(count, 3) colours without meaning, one per key."""
    hues = np.pi * jitter(keys)
    return oklch(0.85 + 0.05 * jitter(keys + 7919), 0.075 + 0.025 * jitter(keys + 104729), hues)


def layer_colors(count: int) -> Floats:
    """(count, 3) colours of hidden layers, dark violet to bright orange."""
    at = np.linspace(0, 1, count) if count > 1 else np.zeros(1)
    return oklch(0.36 + 0.40 * at, 0.15 + 0.01 * at, np.radians(285 + 140 * at))
