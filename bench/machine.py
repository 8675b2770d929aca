"""What a figure was measured on."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

IDENTITY = ("name", "version", "run_id", "data_digest")


def describe() -> dict[str, object]:
    """Processor, cores, memory and the versions that matter."""
    cpu = platform.processor()
    memory_gib = None
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
        memory_gib = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    packages = ("torch", "pytorch-lightning", "mlflow", "dvc", "bentoml", "onnxruntime")
    return {
        "cpu": cpu,
        "num_cpus": os.cpu_count(),
        "memory_gib": memory_gib,
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def heading(command: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """What stands before the figures of a model: the command, the machine, and which model."""
    return {
        "command": command,
        "machine": describe(),
        "model": {key: model[key] for key in IDENTITY},
    }
