"""Draws without a gradient."""

from torch.distributions import Distribution

from vae_lab.trace import Draw, Latent, Shape, full_precision


def new_draws(q: Distribution, num_draws: int) -> Shape:
    """The sample shape of `num_draws` draws of q: none where each belongs to a draw above it."""
    return (num_draws,) if len(q.batch_shape) == 1 else ()


def sampled(num_draws: int) -> Draw:
    """Draws without a gradient, for evaluation: S = `num_draws`."""

    @full_precision
    def draw(q: Distribution, p: Distribution) -> Latent:
        return Latent(q.sample(new_draws(q, num_draws)), q, p)

    return draw
