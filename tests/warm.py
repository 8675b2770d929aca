"""Imported before trainings are forked: what a process does slowly the first time, done once."""

import io
import warnings
from functools import cache

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.onnx._internal._lazy_import import onnxscript_apis

from digits.learning.export import to_onnx
from digits.learning.models import Network

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # Much of a tiny training is torch making its table of ONNX operators, each time anew.
    onnxscript_apis.get_torchlib_ops = cache(onnxscript_apis.get_torchlib_ops)
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    to_onnx(Network(body, mean=0.0, std=1.0), image_size=2)
    figure = Figure()
    figure.subplots().plot([1, 2], label="a")
    figure.legend()
    figure.savefig(io.BytesIO())
    torch.manual_seed(0)
