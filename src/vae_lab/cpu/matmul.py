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
from typing import Any

import torch

_MKLDNN: Any = torch.backends.mkldnn  # oneDNN; a module that has replaced itself by an object


@contextmanager
def fast_matmul() -> Iterator[None]:
    """Within, multiply float32 matrices by the faster library that is as precise.

    Results may differ from the other's in their last bit, and are always the same on one machine.
    A precision that the caller has chosen (`torch.backends.mkldnn`) stands.
    """
    chosen = _MKLDNN.matmul.fp32_precision
    if chosen != "none" or not _onednn_is_better():
        yield
        return
    _MKLDNN.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        _MKLDNN.matmul.fp32_precision = chosen


@cache
def _onednn_is_better() -> bool:
    """Whether MKL is slow on this processor, and oneDNN here, and precise."""
    if not (_MKLDNN.is_available() and torch.backends.mkl.is_available()):
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not _is_amd():
        return False
    _MKLDNN.matmul.fp32_precision = "bf16"
    try:
        return keeps_every_bit()
    finally:
        _MKLDNN.matmul.fp32_precision = "none"


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
