"""Freed memory that waits for the next step, instead of going back to the system at once.

glibc gives what is large back as soon as it is free. To get it again costs a page fault for every
4 KiB, which took a third of the steps of some batch sizes.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's names, in malloc.h: above how many bytes free memory is given back, and a block is
asked of the system by itself."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within, keep freed memory for what is allocated next; after it, give it back.

    glibc's rule of before does not return. Where another library allocates, or a variable of the
    environment (MALLOC_*, GLIBC_TUNABLES) says how, nothing is done.
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    if not libc.mallopt(_MMAP_THRESHOLD, 2**30):
        libc.mallopt(_MMAP_THRESHOLD, 2**25)  # the most that a glibc before 2.35 takes
    try:
        yield
    finally:
        libc.malloc_trim(0)
