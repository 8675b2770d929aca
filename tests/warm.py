"""Imported before trainings are forked: what a process does slowly the first time, done once."""

import io
import warnings
from functools import cache

import torch
from hydra.core.plugins import Plugins
from matplotlib.figure import Figure
from mlflow.utils import requirements_utils
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from digits.learning.export import to_onnx
from digits.learning.models import Network

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # Much of a tiny training is torch making its table of ONNX operators, each time anew.
    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    to_onnx(Network(body, mean=0.0, std=1.0), image_size=2)
    figure = Figure()
    figure.subplots().plot([1, 2], label="a")
    figure.legend()
    figure.savefig(io.BytesIO())
    torch.manual_seed(0)
    Plugins.instance()  # looks through all that is installed, as does the next
    requirements_utils._init_modules_to_packages_map()
