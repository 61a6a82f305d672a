"""Training aids for torch: layers pulled towards orthogonality, and divided by proven norms.

torch is imported in the functions. Both work on dense layers and convolutions of one to three
dimensions; a convolution is the finite operator for the input size given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from plverify.errors import InputError, MissingExtra
from plverify.gain.jacobian import check_norm
from plverify.gain.operators import node_norms
from plverify.network import load
from plverify.nodes import Linear


def parseval_penalty(module: Any) -> Any:
    """The Parseval regulariser: the mean over layers of ``|W W' - I|_F^2 / rows``.

    Kernels of convolutions are seen as matrices (kernels, entries), as in M. Cisse et al.,
    "Parseval networks: improving robustness to adversarial examples", ICML 2017; the smaller side
    of a matrix is the one made orthonormal. Add a multiple of it to the loss.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    torch scalar, differentiable in the weights

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> _ = layer.weight.data.copy_(torch.eye(2))
    >>> parseval_penalty(layer).item()
    0.0
    """
    torch = _torch()
    terms = []
    for layer in _layers(module):
        matrix = layer.weight.flatten(1)
        if matrix.shape[0] > matrix.shape[1]:
            matrix = matrix.T
        gram = matrix @ matrix.T
        target = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        terms.append(((gram - target) ** 2).sum() / len(gram))
    if not terms:
        raise InputError("the module has no dense layer or convolution")
    return torch.stack(terms).mean()


def project_norms_(
    module: Any, input_shape: tuple[int, ...], norm: str = "l2", bound: float = 1.0
) -> list[float]:
    """Divide every layer's weights so that its operator norm is proven to be at most `bound`.

    A layer whose norm is proven to be smaller keeps its weights. Weights are divided by the proven
    upper bound of the norm and rounded; the norm of what is then stored is proven again, so the
    promise is about the weights as they are.

    Parameters
    ----------
    module : torch.nn.Module
        A chain (`torch.nn.Sequential`) in eval mode, as `plverify.load` reads it; changed in place.
    input_shape : tuple of int
        Of one input without the batch dimension; convolutions are norms of operators on the sizes
        that follow from it.
    norm : "l1", "l2" or "linf"
    bound : float

    Returns
    -------
    list of float
        The proven norms of the layers afterwards, in order.

    Raises
    ------
    InputError
        On another norm, a bound that is not positive, or a module without such layers.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    >>> project_norms_(layer, (2,))[0] <= 1, layer.weight.data.max().item() > 0.999
    (True, True)
    """
    torch = _torch()
    check_norm(norm)
    if not 0 < bound < math.inf:
        raise InputError(f"bound is {bound}, expected a positive number")
    shapes = _input_shapes(module, input_shape)
    if not shapes:
        raise InputError("the module has no dense layer or convolution")
    out = []
    for layer, shape in shapes:
        above = _proven(layer, shape, norm)
        for _ in range(8):
            if above <= bound:
                break
            with torch.no_grad():
                # A little less than the quotient, so that rounding does not lead above again.
                layer.weight *= (bound / above) * (1 - 4 * torch.finfo(layer.weight.dtype).eps)
            above = _proven(layer, shape, norm)
        out.append(above)
    return out


def _proven(layer: Any, shape: tuple[int, ...], norm: str) -> float:
    """The proven operator norm of one layer on inputs of a shape, biases aside."""
    torch = _torch()
    alone = torch.nn.Sequential(layer)
    training = layer.training
    try:
        net = load(alone.eval(), input_shape=shape, replay=False)
    finally:
        layer.train(training)
    above = 1.0
    for k, node in enumerate(net.nodes):
        if isinstance(node, Linear):
            above *= node_norms(node, sum(net.source_sizes(k)))[norm][1]
    return float(np.nextafter(above, np.inf)) if len(net.nodes) > 1 else above


def _input_shapes(module: Any, input_shape: tuple[int, ...]) -> list[tuple[Any, tuple[int, ...]]]:
    """The layers in the order in which an input meets them, with the shapes that they read."""
    torch = _torch()
    found: list[tuple[Any, tuple[int, ...]]] = []

    def see(layer: Any, taken: Any) -> None:
        if all(layer is not old for old, _ in found):
            found.append((layer, tuple(taken[0].shape[1:])))

    hooks = [layer.register_forward_pre_hook(see) for layer in _layers(module)]
    training = module.training
    first = next(iter(module.parameters()))
    try:
        with torch.no_grad():
            zeros = torch.zeros((1, *input_shape), dtype=first.dtype, device=first.device)
            module.eval()(zeros)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _layers(module: Any) -> list[Any]:
    nn = _torch().nn
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "training aids", "torch") from error
    return torch
