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

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from plverify.region_list import HalfspaceRegions
from plverify.result import Status

if TYPE_CHECKING:
    from plverify.compose import absolute_sum, difference, layer_network
    from plverify.constraint import Constraint
    from plverify.convex import ConvexDifference, difference_of_convex
    from plverify.dead import UnitReport, dead_units
    from plverify.decision_mesh import DecisionMesh
    from plverify.extremum import Extremum, maximize, minimize, sup_distance
    from plverify.mesh import Mesh, level_set
    from plverify.property import Disjunct, Property
    from plverify.study import Along, Checkpoint, TrainingStudy, regions_along, training_study
    from plverify.verdict import Verification, verify

__version__ = "0.1.0"

__all__ = [
    "Along",
    "BoundaryDistance",
    "Box",
    "Checkpoint",
    "Constraint",
    "ConvexDifference",
    "DecisionBoundary",
    "DecisionMesh",
    "Disjunct",
    "Extremum",
    "HalfspaceRegions",
    "InputError",
    "Knots",
    "Mesh",
    "MissingExtra",
    "Network",
    "Polytope",
    "Property",
    "Region",
    "RegionCount",
    "RegionSet",
    "Slice",
    "Space",
    "Status",
    "TrainingStudy",
    "UnitReport",
    "Verification",
    "absolute_sum",
    "boundary_distance",
    "check",
    "count_regions",
    "dead_units",
    "decision_boundary",
    "difference",
    "difference_of_convex",
    "knots",
    "layer_network",
    "level_set",
    "load",
    "maximize",
    "minimize",
    "regions",
    "regions_along",
    "segment",
    "stream_regions",
    "sup_distance",
    "theory",
    "training_study",
    "verify",
]

# What few sessions need is imported when first asked for: `import plverify` stays quick.
_LATER = {
    "absolute_sum": "compose",
    "difference": "compose",
    "layer_network": "compose",
    "ConvexDifference": "convex",
    "difference_of_convex": "convex",
    "Constraint": "constraint",
    "Disjunct": "property",
    "Property": "property",
    "DecisionMesh": "decision_mesh",
    "UnitReport": "dead",
    "dead_units": "dead",
    "Extremum": "extremum",
    "maximize": "extremum",
    "minimize": "extremum",
    "sup_distance": "extremum",
    "Mesh": "mesh",
    "level_set": "mesh",
    "Along": "study",
    "Checkpoint": "study",
    "TrainingStudy": "study",
    "regions_along": "study",
    "training_study": "study",
    "Verification": "verdict",
    "verify": "verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'plverify' has no attribute {name!r}")
    return getattr(import_module(f"plverify.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
