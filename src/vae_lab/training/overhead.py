"""What Lightning and torch do at every step for nothing, left out."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import lightning as L
from lightning.pytorch.profilers import PassThroughProfiler
from torch.utils import deterministic

_NOTHING = nullcontext()


class Unprofiled(PassThroughProfiler):
    """Measures nothing, in place of Lightning's own, which builds 45 contexts a step to do so."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return _NOTHING


class LeanModule(L.LightningModule):
    """Notes which hook runs, as Lightning has it do 40 times a step, at a tenth of the cost."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # no weight, for which torch would look
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)


@contextmanager
def unfilled_memory() -> Iterator[None]:
    """Within, leave memory that nothing has been written to as it is.

    With `trainer.deterministic` torch fills it with NaN, so that who reads it shall see: a pass
    over all that a step allocates, up to a tenth of its time.
    """
    torches: Any = deterministic  # a module that has replaced itself by an object
    before = torches.fill_uninitialized_memory
    torches.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torches.fill_uninitialized_memory = before


def ask_cuda_itself() -> None:
    """Let torch ask CUDA whether there is a GPU, as it does by default.

    Adam asks at every step; as Lightning has it, each time means a search for the driver's library.
    """
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
