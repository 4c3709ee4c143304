"""Draws without a gradient."""

from torch.distributions import Distribution

from vae_lab.trace import Draw, Latent, full_precision


def sampled(num_draws: int) -> Draw:
    """Draws without a gradient, for evaluation: S = `num_draws`."""

    @full_precision
    def draw(q: Distribution, p: Distribution) -> Latent:
        return Latent(q.sample((num_draws,) if len(q.batch_shape) == 1 else ()), q, p)

    return draw
