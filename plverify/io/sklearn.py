"""scikit-learn's `MLPClassifier` and `MLPRegressor`, without importing scikit-learn.

Activations ``relu`` and ``identity`` are piecewise linear; ``tanh`` and ``logistic`` are refused. A
classifier's softmax or logistic output is dropped: the outputs are the logits, in the order of
``classes_``, and a binary classifier has one logit, positive for ``classes_[1]``.
"""

from __future__ import annotations

from typing import Any

from plverify.errors import InputError
from plverify.exact_array import ExactArray, ExactRows, join_columns
from plverify.network import Network
from plverify.nodes import Dense


def from_sklearn(model: Any) -> Network:
    """The network of a fitted `MLPClassifier` or `MLPRegressor`.

    Raises
    ------
    InputError
        If the model is of another class, not fitted, or not piecewise linear.
    """
    name = type(model).__name__
    if name not in ("MLPClassifier", "MLPRegressor"):
        raise InputError(f"{name} is not supported, expected MLPClassifier or MLPRegressor")
    if not hasattr(model, "coefs_"):
        raise InputError(f"this {name} is not fitted")
    if model.activation not in ("relu", "identity"):
        raise InputError(
            f"{name} with activation {model.activation!r} is not piecewise linear; "
            "'relu' and 'identity' are"
        )
    output = model.out_activation_
    if output not in ("identity", "softmax", "logistic"):
        raise InputError(f"{name} with output activation {output!r} is not supported")
    weights = [w.T for w in model.coefs_]
    definitions = [] if output == "identity" else [f"the final {output} is dropped: logits"]
    if model.activation == "relu":
        return Network.from_arrays(weights, model.intercepts_, definitions=definitions)
    folded: ExactRows | None = None
    for k, (w, b) in enumerate(zip(weights, model.intercepts_, strict=True)):
        joined = join_columns(ExactArray(w, f"coefs_[{k}]"), ExactArray(b, f"intercepts_[{k}]"))
        rows = ExactRows.from_array(joined)
        folded = rows if folded is None else rows.after(folded)
    assert folded is not None
    return Network(folded.cols, [Dense(0, folded)], definitions=definitions)
