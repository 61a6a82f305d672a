"""Train the example networks with scikit-learn and store them beside this file.

``moons.npz``: 2-32-32-2 on the two moons, scaled to [0, 1]^2. ``digits.npz``: 64-32-32-10 on the
8 x 8 digits, pixels scaled to [0, 1]. Both hold float32 ``W0, b0, W1, b1, ...`` with
``y = W x + b``, ReLU between the layers, and the outputs are logits (the softmax or logistic of
training is dropped). For the moons scikit-learn is given one yes-or-no label per class, so that the
network has one logit for each of the two classes instead of a single one.

``*_points.npz``: test points the networks have not seen, ``X`` (float32) and ``y`` (class numbers).
``digits_slice.npz``: the plane through three test images, ``x = origin + basis t``: image a at
t = (0, 0), b at (1, 0), c at (0, 1), and bounds ``lo, hi`` of t with a margin around the triangle.

The seeds are fixed and the archives carry no date: another run with the same scikit-learn, NumPy
and BLAS gives the same files. Accuracies are those of the stored float32 weights.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
Array = NDArray[Any]


def main() -> None:
    """Write all five files."""
    train_moons()
    train_digits()


def train_moons() -> None:
    """Two moons with noise, about [-1.5, 2.5] x [-1, 1.5], put into the unit square."""
    x, y = make_moons(n_samples=2000, noise=0.1, random_state=0)
    x = ((x - [-1.5, -1.0]) / [4.0, 2.5]).astype(np.float32)
    x, test_x, y, test_y = train_test_split(x, y, test_size=400, random_state=0)
    model = MLPClassifier((32, 32), alpha=0, max_iter=1000, random_state=0)
    model.fit(x, np.eye(2, dtype=int)[y])
    store("moons", model, test_x, test_y)


def train_digits() -> None:
    """The UCI digits that come with scikit-learn."""
    data = load_digits()
    x, test_x, y, test_y = train_test_split(
        (data.data / 16).astype(np.float32),
        data.target,
        test_size=360,
        stratify=data.target,
        random_state=0,
    )
    model = MLPClassifier((32, 32), alpha=0, max_iter=1000, random_state=0)
    model.fit(x, y)
    store("digits", model, test_x, test_y)
    corners = [test_x[np.flatnonzero(test_y == digit)[0]] for digit in (3, 5, 8)]
    write_npz(
        "digits_slice.npz",
        origin=corners[0],
        basis=np.stack([corners[1] - corners[0], corners[2] - corners[0]], axis=1),
        lo=np.full(2, -0.5, np.float32),
        hi=np.full(2, 1.5, np.float32),
    )


def store(name: str, model: MLPClassifier, test_x: Array, test_y: Array) -> None:
    """Write the network and its test points; print its accuracy on them."""
    weights = [w.T.astype(np.float32) for w in model.coefs_]
    biases = [b.astype(np.float32) for b in model.intercepts_]
    layers = list(zip(weights, biases, strict=True))
    arrays: dict[str, Array] = {}
    for k, (weight, bias) in enumerate(layers):
        arrays[f"W{k}"], arrays[f"b{k}"] = weight, bias
    write_npz(f"{name}.npz", **arrays)
    write_npz(f"{name}_points.npz", X=test_x, y=test_y.astype(np.uint8))

    values = test_x.astype(np.float64)
    for weight, bias in layers[:-1]:
        values = np.maximum(values @ weight.T + bias, 0)
    logits = values @ weights[-1].T + biases[-1]
    accuracy = (logits.argmax(axis=1) == test_y).mean()
    print(f"{name}: test accuracy {accuracy:.4f} on {len(test_y)} points")


def write_npz(name: str, **arrays: Array) -> None:
    """As ``np.savez_compressed``, but without the time of day in the archive."""
    with zipfile.ZipFile(HERE / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(array))
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
