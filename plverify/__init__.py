"""plverify: exact answers about piecewise-linear neural networks.

>>> import plverify as pv
>>> net = pv.Network.from_arrays([[[1, 0], [0, 1]], [[1, 1]]])
>>> pv.count_regions(net, pv.Box(-1, 1, 2)).count
4
"""

try:
    import plverify._core  # noqa: F401  (so that its absence is explained here)
except ImportError as error:
    raise ImportError(
        "plverify's compiled engine is missing or was built for another Python: install the "
        "package with `pip install .` (to work on it: `pip install -e .`), and do not import it "
        f"from its source folder ({error})"
    ) from None

from plverify import theory
from plverify.boundary import (
    BoundaryDistance,
    DecisionBoundary,
    boundary_distance,
    decision_boundary,
)
from plverify.certificate import check
from plverify.domain import Box, Polytope, Slice, Space
from plverify.errors import InputError, MissingExtra
from plverify.network import Network, load
from plverify.partition import (
    Knots,
    RegionCount,
    RegionSet,
    count_regions,
    knots,
    regions,
    segment,
    stream_regions,
)
from plverify.region import Region
from plverify.result import Status

__version__ = "0.1.0"

__all__ = [
    "BoundaryDistance",
    "Box",
    "DecisionBoundary",
    "InputError",
    "Knots",
    "MissingExtra",
    "Network",
    "Polytope",
    "Region",
    "RegionCount",
    "RegionSet",
    "Slice",
    "Space",
    "Status",
    "boundary_distance",
    "check",
    "count_regions",
    "decision_boundary",
    "knots",
    "load",
    "regions",
    "segment",
    "stream_regions",
    "theory",
]
