"""What makes a CPU fast, and changes last bits at most: threads, products, memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from vae_lab.cpu.matmul import fast_matmul
from vae_lab.cpu.memory import kept_memory
from vae_lab.cpu.threads import patient_threads

__all__ = ["at_full_speed"]


@contextmanager
def at_full_speed() -> Iterator[None]:
    """Within, use the CPU as well as torch can; each part says when it does nothing."""
    with patient_threads(), fast_matmul(), kept_memory():
        yield
