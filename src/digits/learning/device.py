"""What a training computes on, and in what precision."""

import contextlib
import ctypes
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def choose_device(*, accelerator: str, precision: str, **_: Any) -> tuple[str, str]:
    """Lightning's accelerator and precision; `auto` takes what this machine does best.

    Raises ValueError when a GPU is asked for and there is none.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError(
            "trainer=gpu needs a CUDA GPU and torch sees none here; use trainer=auto, or see "
            "`nvidia-smi`"
        )
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        fast = accelerator == "gpu" or computes_bfloat16(torch.cpu.get_capabilities())
        precision = "bf16-mixed" if fast else "32-true"
    return accelerator, precision


def compiled(function: Callable[P, R], *, backend: str | None) -> Callable[P, R]:
    """A function compiled at its first call by a backend of torch.compile; None leaves it as it is.

    Inductor on a GPU then replays a CUDA graph instead of starting each kernel anew.
    """
    if backend is None:
        return function
    mode = "reduce-overhead" if backend == "inductor" else None
    fast: Callable[P, R] = torch.compile(function, backend=backend, mode=mode)

    def step(*args: P.args, **kwargs: P.kwargs) -> R:
        # What the last step returned is used up.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return fast(*args, **kwargs)

    return step


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where its C library is glibc.

    As it comes, glibc gives the large arrays of each step back to the system, which has to clear
    the same memory again for the next step: a third of a small network's training on a CPU, little
    of a large one's (docs/experiments.md).
    """
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**25)  # the largest it takes
        libc.mallopt(trim_threshold, 2**31 - 1)


def computes_bfloat16(processor: Mapping[str, object]) -> bool:
    """Whether a processor of these capabilities has instructions for bfloat16.

    Without them bfloat16 is emulated, several times slower than float32.
    """
    return any(processor.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
