"""What each latent layer of a ladder decides, seen in samples."""

import torch
from matplotlib.figure import Figure

from vae_lab.evaluation.grid import image_grid
from vae_lab.model import LadderVAE


@torch.no_grad()
def layers(model: LadderVAE, columns: int = 10, examples: int = 3) -> Figure:
    """Samples with ever more layers held, from the top down: what still varies, lower ones decide.

    The first row holds none. Each other row holds those named at its left, of one draw; there are
    as many rows to a name as `examples`. The bottom layer, which decides all, is never held.
    """
    device, count = next(model.parameters()).device, len(model.layer_sizes)
    y = None
    if model.reads_labels:
        assert model.num_classes is not None
        y = torch.arange(max(columns, examples), device=device) % model.num_classes
    rows = [model.sample(columns, None if y is None else y[:columns]).mean]
    names, p = [""], model.prior(None if y is None else y[:examples])
    z = p.sample(() if p.batch_shape else (examples,))  # (examples, *Z) of the lowest layer held
    for held in range(1, count):
        for example in z:
            rows.append(model.sample_below(example.expand(columns, *example.shape), held).mean)
        top, lowest = f"z_{count}", f"z_{count - held + 1}"
        named = f"${top}$" if held == 1 else f"${top}$ to ${lowest}$"
        names += [named] * len(z)
        z = model.priors[held - 1](z).sample()
    title = "samples, the layers named at the left held (decoder means)"
    return image_grid(torch.stack(rows), title, names)
