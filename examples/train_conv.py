"""Train ``digits_conv.onnx`` beside this file: a small convolutional network on the 8 x 8 digits.

Convolution 1-4 (3 x 3, padding 1), ReLU, max-pool 2, convolution 4-8, ReLU, max-pool 2, 32-16-10.
Inputs are (1, 1, 8, 8) with pixels in [0, 1], split as in ``train.py``. Needs torch and
scikit-learn; the seed is fixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

EPOCHS, BATCH = 150, 32


def main() -> None:
    """Train, print the test accuracy, write the file."""
    torch.manual_seed(0)
    data = load_digits()
    x, test_x, y, test_y = train_test_split(
        (data.data / 16).astype(np.float32),
        data.target,
        test_size=360,
        stratify=data.target,
        random_state=0,
    )
    inputs, labels = torch.tensor(x).reshape(-1, 1, 8, 8), torch.tensor(y)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[part]), labels[part]).backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = model(torch.tensor(test_x).reshape(-1, 1, 8, 8)).argmax(dim=1).numpy()
    print(f"digits_conv: test accuracy {(found == test_y).mean():.4f} on {len(test_y)} points")
    write_onnx(model, Path(__file__).resolve().parent / "digits_conv.onnx")


def write_onnx(model: nn.Sequential, path: Path) -> None:
    """Store the layers one by one."""
    nodes, tensors, name = [], [], "x"
    for k, layer in enumerate(model):
        inputs, out, options = [name], f"t{k}", {}
        kind = {nn.ReLU: "Relu", nn.Flatten: "Flatten", nn.MaxPool2d: "MaxPool"}.get(type(layer))
        if isinstance(layer, nn.MaxPool2d):
            options = {"kernel_shape": [2, 2], "strides": [2, 2]}
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            kind = "Conv" if isinstance(layer, nn.Conv2d) else "Gemm"
            options = {"pads": [1, 1, 1, 1]} if kind == "Conv" else {"transB": 1}
            for part, value in (("W", layer.weight), ("b", layer.bias)):
                inputs.append(f"{part}{k}")
                tensors.append(numpy_helper.from_array(value.detach().numpy(), inputs[-1]))
        nodes.append(helper.make_node(kind, inputs, [out], **options))
        name = out
    graph = helper.make_graph(
        nodes,
        "digits_conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10])],
        tensors,
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(file)
    onnx.save(file, path)


if __name__ == "__main__":
    main()
