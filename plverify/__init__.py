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

if TYPE_CHECKING:
    from plverify import theory
    from plverify.attacks import Adversarial, attack
    from plverify.boundary import (
        BoundaryDistance,
        DecisionBoundary,
        boundary_distance,
        decision_boundary,
    )
    from plverify.certificate import check
    from plverify.certification import Certification, PointResult, certify
    from plverify.compose import absolute_sum, difference, layer_network
    from plverify.cone import ConeMove, OrderCone, order_cone
    from plverify.constraint import Constraint
    from plverify.convex import ConvexDifference, difference_of_convex
    from plverify.dead import UnitReport, dead_units
    from plverify.decision_mesh import DecisionMesh
    from plverify.domain import Box, Polytope, Slice, Space
    from plverify.errors import InputError, MissingExtra
    from plverify.extremum import Extremum, maximize, minimize, sup_distance
    from plverify.gain import (
        LayerNorms,
        LipschitzConstant,
        layer_norms,
        lipschitz,
        margin_radii,
        pair_constants,
        parseval_penalty,
        project_norms_,
    )
    from plverify.mesh import Mesh, level_set
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
    from plverify.property import Ball, Disjunct, Property
    from plverify.radius import Perturbation, minimal_perturbation
    from plverify.rank import NullSpace, null_space
    from plverify.region import Region
    from plverify.region_list import HalfspaceRegion, HalfspaceRegions
    from plverify.result import Status
    from plverify.sensitivity import Move, gradient_images, move, null_space_move
    from plverify.study import Along, Checkpoint, TrainingStudy, regions_along, training_study
    from plverify.verdict import Verification, verify
    from plverify.within import NearRegions, regions_within

__version__ = "0.1.0"

__all__ = [
    "Adversarial",
    "Along",
    "Ball",
    "BoundaryDistance",
    "Box",
    "Certification",
    "Checkpoint",
    "ConeMove",
    "Constraint",
    "ConvexDifference",
    "DecisionBoundary",
    "DecisionMesh",
    "Disjunct",
    "Extremum",
    "HalfspaceRegion",
    "HalfspaceRegions",
    "InputError",
    "Knots",
    "LayerNorms",
    "LipschitzConstant",
    "Mesh",
    "MissingExtra",
    "Move",
    "NearRegions",
    "Network",
    "NullSpace",
    "OrderCone",
    "Perturbation",
    "PointResult",
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
    "attack",
    "boundary_distance",
    "certify",
    "check",
    "count_regions",
    "dead_units",
    "decision_boundary",
    "difference",
    "difference_of_convex",
    "gradient_images",
    "knots",
    "layer_network",
    "layer_norms",
    "level_set",
    "lipschitz",
    "load",
    "margin_radii",
    "maximize",
    "minimal_perturbation",
    "minimize",
    "move",
    "null_space",
    "null_space_move",
    "order_cone",
    "pair_constants",
    "parseval_penalty",
    "project_norms_",
    "regions",
    "regions_along",
    "regions_within",
    "segment",
    "stream_regions",
    "sup_distance",
    "theory",
    "training_study",
    "verify",
]

# Where the names above live. A module is imported when one of its names is first asked for, so that
# a process starts with what its question needs and no more.
_HOME = {
    "attacks": ("Adversarial", "attack"),
    "boundary": ("BoundaryDistance", "DecisionBoundary", "boundary_distance", "decision_boundary"),
    "certificate": ("check",),
    "certification": ("Certification", "PointResult", "certify"),
    "compose": ("absolute_sum", "difference", "layer_network"),
    "cone": ("ConeMove", "OrderCone", "order_cone"),
    "constraint": ("Constraint",),
    "convex": ("ConvexDifference", "difference_of_convex"),
    "dead": ("UnitReport", "dead_units"),
    "decision_mesh": ("DecisionMesh",),
    "domain": ("Box", "Polytope", "Slice", "Space"),
    "errors": ("InputError", "MissingExtra"),
    "extremum": ("Extremum", "maximize", "minimize", "sup_distance"),
    "gain": (
        "LayerNorms",
        "LipschitzConstant",
        "layer_norms",
        "lipschitz",
        "margin_radii",
        "pair_constants",
        "parseval_penalty",
        "project_norms_",
    ),
    "mesh": ("Mesh", "level_set"),
    "network": ("Network", "load"),
    "partition": (
        "Knots",
        "RegionCount",
        "RegionSet",
        "count_regions",
        "knots",
        "regions",
        "segment",
        "stream_regions",
    ),
    "property": ("Ball", "Disjunct", "Property"),
    "radius": ("Perturbation", "minimal_perturbation"),
    "rank": ("NullSpace", "null_space"),
    "region": ("Region",),
    "region_list": ("HalfspaceRegion", "HalfspaceRegions"),
    "result": ("Status",),
    "sensitivity": ("Move", "gradient_images", "move", "null_space_move"),
    "study": ("Along", "Checkpoint", "TrainingStudy", "regions_along", "training_study"),
    "verdict": ("Verification", "verify"),
    "within": ("NearRegions", "regions_within"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(import_module(f"plverify.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    if not name.startswith("_"):
        try:
            return import_module(f"plverify.{name}")  # `plverify.theory` and other modules
        except ModuleNotFoundError as error:
            if error.name != f"plverify.{name}":
                raise
    raise AttributeError(f"module 'plverify' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
