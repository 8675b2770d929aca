"""The networks: each maps standardised images to logits; conf/model/ names and sizes them.

B batch, H/W pixels, K classes.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import Tensor, nn


class Network(nn.Module):
    """A body with its standardisation built in: uint8 frames in, logits out.

    Each image is stretched between its own lightest and darkest pixel, which leaves MNIST as it is
    and makes pale ink and grey paper look like it; then the training images' mean and deviation are
    applied. What is inside the network is inside the exported ONNX too, so nobody who runs the
    model can standardise otherwise than training did.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.body = body
        self.num_members = next((len(m) for m in body.modules() if isinstance(m, Ensemble)), 1)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, frames_BHW: Tensor) -> Tensor:
        """uint8, 0 = paper, 255 = ink → logits (B, K)."""
        return self.logits(frames_BHW.unsqueeze(1).float() / 255)

    def logits(self, images_B1HW: Tensor) -> Tensor:
        """float in [0, 1], 1 = ink → logits (B, K): where training enters, after augmentation.

        Training shows each of `num_members` images of its own, one member's after the other's.
        """
        lightest_B111 = images_B1HW.amin((1, 2, 3), keepdim=True)
        range_B111 = images_B1HW.amax((1, 2, 3), keepdim=True) - lightest_B111
        # An image of one grey has no range: it becomes paper.
        stretched_B1HW = (images_B1HW - lightest_B111) / range_B111.clamp_min(1 / 255)
        logits_BK: Tensor = self.body((stretched_B1HW - self.mean) / self.std)
        return logits_BK


class Ensemble(nn.ModuleList):
    """Bodies of one kind that started from different weights, read together.

    In training each of the M members has images of its own, (M B, 1, H, W) one member's after the
    other's, and gives its own logits (M B, K): it learns as if alone. After training the answer is
    their mean probability, as logits (B, K).
    """

    def forward(self, images_B1HW: Tensor) -> Tensor:
        if self.training:
            parts = images_B1HW.chunk(len(self))
            return torch.cat([member(part) for member, part in zip(self, parts, strict=True)])
        logits_BMK = torch.stack([member(images_B1HW) for member in self], dim=1)
        return logits_BMK.log_softmax(2).logsumexp(1) - math.log(len(self))


class Moved(nn.Module):
    """Test-time augmentation: after training, a body's mean logits over five views of each image.

    As it is, and moved by a pixel up, down, left and right: what leaves one side comes in on the
    other, where frames have paper. Five times the work of reading, and none of training.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images_B1HW: Tensor) -> Tensor:
        if self.training:
            logits: Tensor = self.body(images_B1HW)
            return logits
        moves = [images_B1HW.roll(by, side) for side in (2, 3) for by in (-1, 1)]
        logits_VBK: Tensor = self.body(torch.cat([images_B1HW, *moves])).unflatten(0, (5, -1))
        return logits_VBK.mean(0)


def make_body(model: dict[str, Any], *, image_size: int, num_outputs: int) -> nn.Module:
    """The body that a file of conf/model/ describes.

    It is `network`, or `num_members` of it, with `test_time_augmentation` or without.
    """
    members = [
        instantiate(model["network"], image_size=image_size, num_outputs=num_outputs)
        for _ in range(model["num_members"])
    ]
    body = Ensemble(members) if len(members) > 1 else members[0]
    return Moved(body) if model.get("test_time_augmentation") else body


class Mlp(nn.Sequential):
    """A multilayer perceptron on the flattened image."""

    def __init__(self, *, image_size: int, num_outputs: int, hidden: list[int]) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        sizes = [image_size**2, *hidden]
        for num_in, num_out in pairwise(sizes):
            layers += [nn.Linear(num_in, num_out), nn.ReLU()]
        super().__init__(*layers, nn.Linear(sizes[-1], num_outputs))


class Stack(nn.Sequential):
    """Layers in a row, as a file of conf/model/ lists them, and a dense one for the classes.

    A layer is one of `{conv: channels, kernel: 3, stride: 1, padding: same, pool: 1}`,
    `{pool: size}`, `{dense: neurons}` and `{dropout: share}`. ReLU follows each convolution and
    dense layer. A convolution's own `pool` comes before its norm and ReLU, which then have less to
    do: a quarter of it for `pool: 2`.

    Args:
        norm: what normalises a convolution's output before ReLU: `batch` (S. Ioffe and C. Szegedy
            2015), `layer` (J. Ba and others 2016), which takes its statistics of each image alone,
            and so reads better what looks unlike the training images, or `none`.
    """

    def __init__(
        self,
        *,
        image_size: int,
        num_outputs: int,
        layers: list[dict[str, Any]],
        norm: str = "none",
    ) -> None:
        modules: list[nn.Module] = []
        channels, side, flat = 1, image_size, 0
        for layer in layers:
            kind, amount = next(iter(layer.items()))
            if kind in ("conv", "pool") and flat:
                raise ValueError(f"model.network.layers: {layer!r} comes after a dense layer")
            if kind == "conv":
                pool = layer.get("pool", 1)
                modules += _convolution(channels, amount, norm=norm, pool=pool, **_shape(layer))
                channels, side = amount, _side_after(side, **_shape(layer)) // pool
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
        super().__init__(*modules, nn.Linear(flat or channels * side**2, num_outputs))


def _shape(layer: dict[str, Any]) -> dict[str, int]:
    """A convolution's kernel, stride and padding; ValueError for a key that it does not have."""
    known = {"conv", "kernel", "stride", "padding", "pool"}
    if unknown := sorted(layer.keys() - known):
        raise ValueError(f"model.network.layers: {layer!r} has an unknown {unknown[0]!r}")
    kernel, padding = layer.get("kernel", 3), layer.get("padding", "same")
    if padding not in ("same", "valid"):
        raise ValueError(f"model.network.layers: {layer!r}: padding must be same or valid")
    return {
        "kernel": kernel,
        "stride": layer.get("stride", 1),
        "padding": kernel // 2 if padding == "same" else 0,
    }


def _side_after(side: int, *, kernel: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - kernel) // stride + 1


def _convolution(
    num_in: int, num_out: int, *, norm: str, pool: int, kernel: int, stride: int, padding: int
) -> list[nn.Module]:
    if norm not in NORMS:
        raise ValueError(f"model.network.norm must be one of {', '.join(NORMS)}; got {norm!r}")
    convolution = nn.Conv2d(num_in, num_out, kernel, stride, padding, bias=norm == "none")
    pooling = [nn.MaxPool2d(pool)] if pool > 1 else []
    return [convolution, *pooling, *NORMS[norm](num_out), nn.ReLU()]


class LayerNorm(nn.GroupNorm):
    """Layer normalisation of maps: each image's own mean and deviation, a scale for each channel.

    J. Ba and others 2016, arXiv 1607.06450. Pixels whose channels lie together in memory, as
    convolutions want them, are a vector to torch's kernel for those. Its group normalisation of
    one group computes the same and took two thirds of a training on a CPU.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__(1, num_channels)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # without moving pixels, which is a step of its own there
            return super().forward(maps_BCHW)
        num, channels, height, width = maps_BCHW.shape
        pixels = height * width
        flat_BX = maps_BCHW.permute(0, 2, 3, 1).reshape(num, -1)
        scale_X, shift_X = self.weight.repeat(pixels), self.bias.repeat(pixels)
        normal_BX = F.layer_norm(flat_BX, flat_BX.shape[1:], scale_X, shift_X, self.eps)
        return normal_BX.view(num, height, width, channels).permute(0, 3, 1, 2)


# What may come between a convolution and its ReLU.
NORMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "none": lambda num_channels: [],
    "batch": lambda num_channels: [nn.BatchNorm2d(num_channels)],
    "layer": lambda num_channels: [LayerNorm(num_channels)],
}


def num_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
