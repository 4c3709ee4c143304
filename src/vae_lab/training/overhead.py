"""What Lightning and torch do at every step for nothing, left out."""

import os
from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch.profilers import PassThroughProfiler

_NOTHING = nullcontext()


class Unprofiled(PassThroughProfiler):
    """Measures nothing, in place of Lightning's own, which builds 45 contexts a step to do so."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return _NOTHING


def ask_cuda_itself() -> None:
    """Let torch ask CUDA whether there is a GPU, as it does by default.

    Adam asks at every step; as Lightning has it, each time means a search for the driver's library.
    """
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
