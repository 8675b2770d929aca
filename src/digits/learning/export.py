"""A trained network to ONNX, only if ONNX Runtime then answers as torch does; a bundle to torch.

B batch, H/W pixels, K classes.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from digits.learning.models import Network, make_body

# Both compute in float32, but fuse and order the sums differently.
LOGIT_TOLERANCE = 1e-3


def to_onnx(network: Network, *, image_size: int) -> bytes:
    """The network as an ONNX model: `frames` uint8 (B, H, W) → `logits` float32 (B, K).

    The bytes depend on the network alone: what the exporter notes of source files and stack
    traces is removed.
    """
    example_BHW = torch.zeros(2, image_size, image_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The exporter warns of its own internals; none of it concerns this network.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.cpu().eval(),
            (example_BHW,),
            input_names=["frames"],
            output_names=["logits"],
            dynamic_shapes={"frames_BHW": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def load_network(bundle: Path) -> tuple[Network, int]:
    """The torch network of a bundle and how many outputs it has.

    It is built as its model.json says, and has the bundle's weights.

    Raises ValueError when there is no such bundle or it is damaged.
    """
    try:
        meta = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
        weights = load_file(bundle / "weights.safetensors")
    except FileNotFoundError as error:
        raise ValueError(
            f"{bundle} is no bundle to learn from ({error.filename} is missing); train one first: "
            f"`python -m digits.train model=ensemble out={bundle.parent}`"
        ) from None
    except (json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f"{bundle} is damaged ({error}); train it again") from None
    described = meta["input"]
    num_outputs = meta["network"]["num_outputs"]
    body = make_body(meta["network"], image_size=described["size"], num_outputs=num_outputs)
    network = Network(body, mean=described["mean"], std=described["std"])
    network.load_state_dict(weights)
    return network, num_outputs


def check_parity(
    network: Network, onnx_model: bytes, frames_BHW: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """ONNX Runtime's logits (B, K); ValueError unless torch agrees on every one of them."""
    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    (onnx_BK,) = session.run(None, {"frames": frames_BHW})
    with torch.inference_mode():
        torch_BK = network.cpu().eval()(torch.from_numpy(frames_BHW)).float().numpy()
    # float32 keeps seven digits of a number: large logits may differ by more.
    largest = max(1.0, float(np.abs(torch_BK).max()))
    worst = float(np.abs(onnx_BK - torch_BK).max()) / largest
    # Not `>`: a comparison with NaN is false.
    if not worst <= LOGIT_TOLERANCE:
        raise ValueError(
            f"ONNX Runtime and torch disagree by {worst:.2g} of the largest logit "
            f"(allowed {LOGIT_TOLERANCE}): the export is wrong, nothing was written"
        )
    return np.asarray(onnx_BK)
