"""torch.compile, where a compiler is at hand."""

import os
import shutil
import sys

from torch import nn

from vae_lab.errors import InputError


def compile_pass(model: nn.Module) -> None:
    """Compile the model's forward in place, so that checkpoints keep their plain names.

    One eager pass must have come before: the dispatch of the KL fails inside a cold compile. Draws
    keep torch's own noise, so that compiled and eager runs see the same. Raises InputError where
    there is no compiler.

    torch.compile switches the argument checks of torch.distributions off, in the whole process.
    Nothing relies on them: `vae_lab.data` checks the data's range, and its preparation the support.
    """
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise InputError(
            f"compile=true needs a C++ compiler, and {compiler} is not at hand: install it, name "
            "another in the environment variable CXX, or say compile=false."
        )
    model.compile(options={"fallback_random": True})
