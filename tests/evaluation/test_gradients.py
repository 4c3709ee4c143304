"""How noisy a gradient is: against closed forms, and by the command."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from matplotlib.axes import Axes
from parts import batch, vae
from torch import Tensor, nn

from vae_lab import InputError
from vae_lab.commands.gradients import gradients_task
from vae_lab.config.compose import compose_config
from vae_lab.estimators import Pathwise, ScoreFunction, StickingTheLanding
from vae_lab.evaluation.gradients import gradient_noise, noise_figure, parameters_of_q
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.objectives import ELBO, Constant, Objective
from vae_lab.trace import Batch, Draw, Trace

DATA = Batch(torch.zeros(1, 1), None, torch.zeros(1))
STANDARD = ELBO(Context((1,), None, (1,)), Constant())


class Mean(nn.Module):
    """q = N(mu, 1), p = N(0, 1), and a likelihood of one parameter that has nothing to say."""

    def __init__(self, mu: float) -> None:
        super().__init__()
        self.mu, self.theta = nn.Parameter(torch.tensor([[mu]])), nn.Parameter(torch.zeros(()))

    def forward(self, data: Batch, draw: Draw) -> Trace:
        one = torch.ones(1, 1)
        latent = draw(diagonal_normal(self.mu, one, 1), diagonal_normal(one[0] * 0, one[0], 1))
        return Trace(data.x, None, diagonal_normal(self.theta * latent.z, one, 1), (latent,))


class Linear(Objective):
    """z itself: its gradient by mu is 1, by pathwise without noise, by a score z (z - mu)."""

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        return trace.latents[0].z[..., 0]

    def reduce(self, values: Tensor) -> Tensor:
        return values.mean(0)


def test_mean_variance_and_signal_of_known_gradients() -> None:
    linear, draws = Linear(Context((1,), None)), 1000
    ways = {"pathwise": (linear, Pathwise()), "score": (linear, ScoreFunction(2))}
    found = gradient_noise(Mean(0.5), DATA, ways, draws)  # type: ignore[arg-type]
    assert [each.mean.shape for each in found.values()] == [(1,), (1,)]  # mu, and no theta
    assert (float(found["pathwise"].mean), found["pathwise"].variance) == (1, 0)
    assert found["pathwise"].signal_to_noise == math.inf
    # Two draws: (e_1 - e_2)^2 / 2 of normal e, which is chi-squared with one degree of freedom.
    assert float(found["score"].mean) == pytest.approx(1, abs=4 * math.sqrt(2 / draws))
    assert found["score"].variance == pytest.approx(2, abs=4 * math.sqrt(56 / draws))
    assert found["score"].signal_to_noise == pytest.approx(1 / math.sqrt(2), rel=0.1)


class Square(Linear):
    """Of gradient 2 mu: pathwise, 2 z."""

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        return super().values(trace, epoch).square()


def test_no_signal_is_found_where_there_is_none() -> None:
    square = Square(Context((1,), None))
    ways = {"square": (square, Pathwise()), "stl": (STANDARD, StickingTheLanding())}
    found = gradient_noise(Mean(0.0), DATA, ways, 500)  # type: ignore[arg-type]
    assert found["square"].variance == pytest.approx(4, rel=4 * math.sqrt(2 / 500))
    assert found["square"].signal_to_noise < 0.15
    assert found["stl"].variance == 0  # q is the exact posterior


def test_it_leaves_everything_as_it_was() -> None:
    model, data, estimator = vae(), batch((1, 8, 8)), ScoreFunction(1)
    before = torch.get_rng_state()
    ways = {"score": (ELBO(model.context(), Constant()), estimator)}
    found = [gradient_noise(model, data, ways, 3) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert estimator.weight == 0
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(found[0]["score"].mean, found[1]["score"].mean)


def test_the_parameters_of_q_are_the_encoders() -> None:
    model = vae()
    assert list(map(id, parameters_of_q(model, batch((1, 8, 8))))) == list(
        map(id, model.encoder.parameters())
    )


def test_the_baseline_of_a_single_draw_is_at_work() -> None:
    model = vae()
    objective = ELBO(model.context(), Constant())
    warm, cold = (ScoreFunction(1, decay) for decay in (0.9, 1 - 1e-9))
    found = gradient_noise(
        model, batch((1, 8, 8)), {"warm": (objective, warm), "cold": (objective, cold)}, 20
    )
    assert found["warm"].variance < 0.2 * found["cold"].variance


def test_the_figure_has_a_line_a_way() -> None:
    linear = Linear(Context((1,), None))
    found = [
        gradient_noise(Mean(0.5), DATA, {"score": (linear, ScoreFunction(s))}, 20)  # type: ignore[arg-type]
        for s in (2, 4)
    ]
    for axes in noise_figure(found).axes:
        assert isinstance(axes, Axes)
        (line,) = axes.get_lines()
        assert line.get_xdata().tolist() == [2, 4]  # type: ignore[union-attr]


def test_the_command_measures_what_serves(
    digits_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [f"run={digits_run}", "gradients.num_draws=[1,2]", "gradients.repeats=5"]
    gradients_task(compose_config("gradients", asked))
    assert (digits_run / "evaluation" / "gradients.png").is_file()
    report = json.loads((digits_run / "evaluation" / "gradients.json").read_text())
    measured = {(row["way"], row["num_draws"]) for row in report["gradients"]}
    assert measured == {
        *((f"elbo {name}", s) for name in ("pathwise", "stl", "score_function") for s in (1, 2)),
        *((f"iwae {name}", 2) for name in ("pathwise", "dreg", "score_function")),
        ("the run's own", 1),
    }
    said = " ".join(capsys.readouterr().out.split())
    values = {(row["way"], row["num_draws"]): row["variance"] for row in report["gradients"]}
    assert values["the run's own", 1] == values["elbo pathwise", 1]
    assert "iwae stl: estimator=stl is known to be unbiased" in said
    assert "elbo dreg: estimator=dreg is the gradient of objective=iwae" in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gradients.device=tpu", r"gradients\.device must be one of auto, .*cpu here"),
        ("gradients.repeats=1", r"gradients\.repeats must be a whole number of 2 or more"),
        ("gradients.num_draws=[100000000000]", r"out of memory: lower gradients\.num_draws"),
    ],
)
def test_bad_input(digits_run: Path, override: str, said: str) -> None:
    cfg = compose_config("gradients", [f"run={digits_run}", override])
    with pytest.raises(InputError, match=said):
        gradients_task(cfg)


def test_a_posterior_without_density_has_no_gradient_of_it(autoencoder_run: Path) -> None:
    cfg = compose_config("gradients", [f"run={autoencoder_run}", "gradients.num_draws=[1]"])
    with pytest.raises(InputError, match=r"nothing to measure: .* density"):
        gradients_task(cfg)
    assert not (autoencoder_run / "evaluation" / "gradients.json").exists()


def test_what_is_in_the_way_is_told_before_the_work(digits_run: Path, tmp_path: Path) -> None:
    shutil.copytree(digits_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))
    (tmp_path / "run" / "evaluation").touch()
    with pytest.raises(InputError, match="evaluation cannot be written .* move it away"):
        gradients_task(compose_config("gradients", [f"run={tmp_path / 'run'}"]))
