"""Which library multiplies float32 matrices on a CPU.

torch asks MKL, which leaves half of an AMD processor's arithmetic unused: with AVX-512, oneDNN is
twice as fast there. torch lets oneDNN do it where products may be rounded to bfloat16, which
oneDNN then does only on processors with units for that (AMX): others compute in float32 as before.
So it is asked only where it was seen to keep every bit.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch

_changing = Lock()
_uses: list[None] = []
"""As many as are under way."""

_MKLDNN: Any = torch.backends.mkldnn  # oneDNN; a module that has replaced itself by an object


@contextmanager
def fast_matmul() -> Iterator[None]:
    """Within, multiply float32 matrices by the faster library that is as precise.

    Results may differ from the other's in their last bit, and are always the same on one machine.
    It holds for the whole process; the last of several uses to end, in whatever thread, ends it. A
    precision that the caller has chosen (`torch.backends.mkldnn`) stands, and where there is a GPU
    nothing is done. (Meanwhile `torch.get_float32_matmul_precision`, which asks for one word on all
    backends, raises: Lightning asks it before it trains on a GPU.)
    """
    if not (_onednn_is_better() and _begin()):
        yield
        return
    try:
        yield
    finally:
        _end()


def _begin() -> bool:
    """Ask oneDNN; False where somebody has chosen otherwise."""
    with _changing:
        if _MKLDNN.matmul.fp32_precision != ("bf16" if _uses else "none"):
            return False
        _uses.append(None)
        _MKLDNN.matmul.fp32_precision = "bf16"
        return True


def _end() -> None:
    with _changing:
        _uses.pop()
        if not _uses and _MKLDNN.matmul.fp32_precision == "bf16":
            _MKLDNN.matmul.fp32_precision = "none"


@cache
def _onednn_is_better() -> bool:
    """Whether MKL is slow on this processor, and oneDNN here, and precise; and there is no GPU."""
    if torch.cuda.is_available():
        return False
    if not (_MKLDNN.is_available() and torch.backends.mkl.is_available()):
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not _is_amd():
        return False
    chosen = _MKLDNN.matmul.fp32_precision
    _MKLDNN.matmul.fp32_precision = "bf16"
    try:
        return keeps_every_bit()
    finally:
        _MKLDNN.matmul.fp32_precision = chosen


def keeps_every_bit() -> bool:
    """Whether float32 matrices are multiplied in float32: bfloat16 or tf32 would lose a last bit.

    >>> keeps_every_bit()
    True
    """
    odd = torch.full((256, 256), 1 + 2.0**-23)
    return torch.equal(odd @ torch.eye(256), odd)


def _is_amd() -> bool:
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:  # no Linux
        return False
    return re.search(r"vendor_id\s*:\s*AuthenticAMD", told) is not None
