"""``plverify attack``: close inputs with another label, for the points of a data set."""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

from plverify.cli.arguments import Argument, Exit, Option
from plverify.cli.common import (
    check_output,
    numbers,
    parse_box,
    print_json,
    print_rows,
    progress_line,
    require_file,
    seconds_text,
)
from plverify.cli.data import read_data

if TYPE_CHECKING:
    from plverify.attacks import Adversarial

_BATCH = 16


def attack(
    model: Annotated[str, Argument(help="A network file.", metavar="MODEL")],
    data: Annotated[
        str,
        Option(
            help="Points x and, maybe, labels y to leave (default: the model's), .npz.",
            metavar="FILE",
        ),
    ],
    method: Annotated[
        str, Option(help="exact-deepfool, deepfool, fgsm or pgd.")
    ] = "exact-deepfool",
    norm: Annotated[str, Option(help="linf, l2 or l1.")] = "linf",
    eps: Annotated[
        str | None,
        Option(help="Only inputs at most so far away count. Exact: 0.1 is a tenth."),
    ] = None,
    box: Annotated[
        str | None,
        Option(
            help="Where inputs may lie, LO,HI or 'LO,HI;LO,HI'; default anywhere.", metavar="LO,HI"
        ),
    ] = None,
    target: Annotated[int | None, Option(help="Only inputs with this label count.")] = None,
    out: Annotated[str | None, Option(help="Write what was found, .npz.", metavar="FILE")] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for close inputs with another label.

    What is printed holds in exact arithmetic: distances are upper bounds of the radii, and every
    adversarial input is one of float32 numbers whose label is strictly different. The file has
    arrays adversarial (NaN where there is none), norm, upper, label and reached (-1: nothing).

    Example: plverify attack model.onnx --data digits.npz --box 0,1 --norm l2
    """
    require_file(data, "--data")
    if out is not None:
        check_output(out, "--out", (".npz",))

    from plverify.attacks import attack as look
    from plverify.domain import Box
    from plverify.network import load

    net = load(model)
    points, labels = read_data(data, net)
    domain = None if box is None else parse_box(box, net.input_size)
    assert domain is None or isinstance(domain, Box)
    radius = None if eps is None else numbers(eps, "--eps", 1)[0]
    start = time.perf_counter()
    found: list[Adversarial] = []
    with progress_line("points") as progress:
        for k in range(0, len(points), _BATCH):
            part = slice(k, k + _BATCH)
            own = None if labels is None else labels[part]
            answers = look(net, points[part], method, norm, target, domain, own, eps=radius)
            assert isinstance(answers, list)
            found += answers
            if progress is not None:
                progress(len(found))
    seconds = time.perf_counter() - start
    if out is not None:
        from plverify.proof import write_atomically

        write_atomically(out, _archive(found, net.input_size))
    if json:
        asked: dict[str, Any] = {"model": model, "network": net.digest, "data": data}
        asked |= {"domain": None if domain is None else domain.describe(), "eps": radius}
        points_found = [answer.to_dict() for answer in found]
        print_json({**asked, "seconds": seconds, "points": points_found, "out": out})
    else:
        _print(found, seconds)
        if out is not None:
            print(f"wrote {out} ({os.path.getsize(out):,} bytes)")
    raise Exit(0)


def _print(found: list[Adversarial], seconds: float) -> None:
    hits = sorted(answer.upper for answer in found if answer.found)
    strict = sum(answer.adversarial is not None for answer in found)
    rows = [("found", f"{len(hits)} of {len(found)} points")]
    if hits:
        mean, middle = sum(hits) / len(hits), hits[len(hits) // 2]
        rows.append(("distance", f"{found[0].norm}: mean {mean:.6g}, median {middle:.6g}"))
        rows.append(("", f"least {hits[0]:.6g}, greatest {hits[-1]:.6g}"))
        rows.append(("float32", f"{strict} with a float32 input of strictly another label"))
    rows.append(("time", f"{seconds_text(seconds / len(found))} a point, {found[0].method}"))
    print_rows(rows)


def _archive(found: list[Adversarial], size: int) -> bytes:
    import numpy as np

    none = [float("nan")] * size
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        adversarial=np.array([answer.adversarial or none for answer in found], np.float32),
        norm=np.array(
            [
                float("nan") if answer.adversarial_norm is None else answer.adversarial_norm
                for answer in found
            ]
        ),
        upper=np.array([answer.upper for answer in found]),
        label=np.array([answer.label for answer in found]),
        reached=np.array([-1 if answer.reached is None else answer.reached for answer in found]),
    )
    return buffer.getvalue()
