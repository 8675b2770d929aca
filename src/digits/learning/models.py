"""The networks: each maps standardised images to logits; conf/model/ names and sizes them.

B batch, H/W pixels, K classes.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A body with its standardisation built in: uint8 frames in, logits out.

    Keeping the constants inside the network puts them inside the exported ONNX too, so nobody
    who runs the model can standardise otherwise than training did.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, frames_BHW: Tensor) -> Tensor:
        """uint8, 0 = paper, 255 = ink → logits (B, K)."""
        return self.logits(frames_BHW.unsqueeze(1).float() / 255)

    def logits(self, images_B1HW: Tensor) -> Tensor:
        """float in [0, 1], 1 = ink → logits (B, K): where training enters, after augmentation."""
        logits_BK: Tensor = self.body((images_B1HW - self.mean) / self.std)
        return logits_BK


class Mlp(nn.Sequential):
    """A multilayer perceptron on the flattened image."""

    def __init__(self, *, image_size: int, num_classes: int, hidden: list[int]) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        sizes = [image_size**2, *hidden]
        for num_in, num_out in pairwise(sizes):
            layers += [nn.Linear(num_in, num_out), nn.ReLU()]
        super().__init__(*layers, nn.Linear(sizes[-1], num_classes))


class Stack(nn.Sequential):
    """Plain layers in a row, as a file of conf/model/ lists them.

    A layer is one of `{conv: channels, kernel: 3, padding: same, norm: false}`, `{pool: size}`,
    `{dense: neurons}` and `{dropout: share}`. ReLU follows each convolution, after batch
    normalisation if it has `norm`, and each dense layer.
    """

    def __init__(self, *, image_size: int, num_classes: int, layers: list[dict[str, Any]]) -> None:
        modules: list[nn.Module] = []
        channels, side, flat = 1, image_size, 0
        for layer in layers:
            kind, amount = next(iter(layer.items()))
            if kind in ("conv", "pool") and flat:
                raise ValueError(f"model.network.layers: {layer!r} comes after a dense layer")
            if kind == "conv":
                kernel, padding = layer.get("kernel", 3), layer.get("padding", "same")
                norm = layer.get("norm", False)
                modules.append(nn.Conv2d(channels, amount, kernel, padding=padding, bias=not norm))
                modules += [nn.BatchNorm2d(amount), nn.ReLU()] if norm else [nn.ReLU()]
                channels, side = amount, side if padding == "same" else side - kernel + 1
            elif kind == "pool":
                modules.append(nn.MaxPool2d(amount))
                side //= amount
            elif kind == "dense":
                if not flat:
                    modules.append(nn.Flatten())
                modules += [nn.Linear(flat or channels * side**2, amount), nn.ReLU()]
                flat = amount
            elif kind == "dropout":
                modules.append(nn.Dropout(amount))
            else:
                raise ValueError(
                    f"model.network.layers: {layer!r} must begin with conv, pool, dense or dropout"
                )
            if side < 1:
                raise ValueError(
                    f"model.network.layers: nothing of {image_size}x{image_size} pixels is left "
                    f"after {layer!r}"
                )
        if not flat:
            modules.append(nn.Flatten())
        super().__init__(*modules, nn.Linear(flat or channels * side**2, num_classes))


class ConvNet(nn.Sequential):
    """Five convolutions; the first, 5x5 with stride 2, makes all that follow four times cheaper."""

    def __init__(self, *, image_size: int, num_classes: int, widths: list[int]) -> None:
        if len(widths) != 5:
            raise ValueError(f"model.network.widths must be five numbers, got {widths!r}")
        first, second, third, fourth, fifth = widths
        # Halved by the stride and by each of two poolings, the first rounding up.
        side = ((image_size + 1) // 2) // 2 // 2
        super().__init__(
            *_convolution(1, first, kernel=5, stride=2),
            *_convolution(first, second),
            *_convolution(second, third),
            nn.MaxPool2d(2),
            *_convolution(third, fourth),
            *_convolution(fourth, fifth),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(fifth * side**2, num_classes, bias=False),
        )


def _convolution(num_in: int, num_out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(num_in, num_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(num_out),
        nn.ReLU(),
    ]


def num_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
