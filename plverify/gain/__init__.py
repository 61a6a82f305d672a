"""Lipschitz constants: per layer, from products, from semidefinite programs, and exact.

The constant of a map is the least ``L`` with ``|f(x) - f(x')| <= L |x - x'|`` for all ``x, x'`` of
a convex domain, where inputs and outputs are measured in the same norm (of one output, in its
absolute value). For a piecewise-linear map it is the largest operator norm of a Jacobian among the
activation regions that meet the domain's interior (M. Jordan, A. Dimakis, "Exactly computing the
local Lipschitz constant of ReLU networks", NeurIPS 2020). Every number that is called a bound here
is proven.
"""

from plverify.gain.constant import LipschitzConstant, compare, lipschitz
from plverify.gain.margins import margin_radii, pair_constants
from plverify.gain.product import LayerNorms, layer_norms
from plverify.gain.training import parseval_penalty, project_norms_

__all__ = [
    "LayerNorms",
    "LipschitzConstant",
    "compare",
    "layer_norms",
    "lipschitz",
    "margin_radii",
    "pair_constants",
    "parseval_penalty",
    "project_norms_",
]
