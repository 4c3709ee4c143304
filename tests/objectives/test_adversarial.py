"""An adversary: a game of two players in one backward pass, beside a value it is no part of."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK
from parts import batch, run, training, vae
from safetensors.torch import load_file
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.nn.functional import logsigmoid

from vae_lab import InputError, load, train
from vae_lab.config.restore import objective_from_checkpoint
from vae_lab.estimators import Pathwise
from vae_lab.export.formats import export
from vae_lab.model import VAE
from vae_lab.model.conditioning import Concat
from vae_lab.model.context import Context
from vae_lab.model.likelihoods import Bernoulli, BernoulliGrey
from vae_lab.model.networks import ConvEncoder
from vae_lab.objectives import Adversarial, Constant, Objective, elbo
from vae_lab.objectives.adversarial import MOST, gradient_ratio
from vae_lab.objectives.perceptual import PerceptualDistance
from vae_lab.support import Support
from vae_lab.trace import Trace
from vae_lab.training.step import step

NOW, REST = torch.tensor(5.0), torch.tensor(math.inf)
USUAL = {
    "beta": Constant(), "network": partial(ConvEncoder, channels=[4, 8], widths=[]),
    "features": 6, "weight": 0.5, "matching": 1.0, "perceptual": 0.0, "samples": False,
    "start_epoch": 0.0, "ramp_epochs": 1.0, "lr": 1e-3,
}  # fmt: skip


def adversarial(context: Context, **settings: object) -> Adversarial:
    return Adversarial(context, **{**USUAL, **settings})  # type: ignore[arg-type]


def grey(**settings: object) -> tuple[VAE, Adversarial]:
    """A VAE of grey pixels, whose means a discriminator sees, and its objective."""
    model = vae(likelihood=BernoulliGrey)
    return model, adversarial(model.context(), **settings)


def trace_of(model: VAE, draws: int = 2) -> Trace:
    found: Trace = model(batch((1, 8, 8)), Pathwise(draws).draw)
    return found


def gradients(value: Tensor, *modules: torch.nn.Module) -> list[Tensor]:
    weights = [weight for module in modules for weight in module.parameters()]
    return list(
        torch.autograd.grad(
            value.mean(), weights, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )


def same(ones: list[Tensor], others: list[Tensor]) -> None:
    for one, other in zip(ones, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# The value, and what it is no part of


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_value_is_the_elbo(weight: float) -> None:
    model, objective = grey(weight=weight, samples=True)
    trace = trace_of(model)
    for epoch in (torch.tensor(0.0), NOW, REST):
        assert torch.equal(objective(trace, epoch), elbo(trace))
        with torch.no_grad():  # as validation asks
            assert torch.equal(objective(trace, epoch), elbo(trace))
    assert ("in gradients and not in the value" in objective.describe()) == (weight > 0)
    assert objective.monitor == "elbo"


def test_with_a_small_beta_the_value_is_no_bound_and_says_so() -> None:
    model, objective = grey(beta=Constant(1e-3))
    trace = trace_of(model)
    torch.testing.assert_close(objective(trace, REST), elbo(trace, 1e-3))
    assert objective.describe().startswith("beta 0.001, no bound, an adversary of weight 0.5")


def test_without_weight_a_run_is_bit_by_bit_that_of_the_conditional_vae(tmp_path: Path) -> None:
    asked = ["data.limit=64", "model.z_shape=[4]", "trainer.max_epochs=2"]
    others = {
        "without": ["model=cvae_gan", "objective.weight=0"],
        "elbo": ["model=cvae_gan", "objective=elbo"],
        "plain": ["model=cvae", "model/encoder=conv", "model/decoder=conv"],
        "with": ["model=cvae_gan"],
    }
    states = {}
    for name, settings in others.items():
        finished = run(tmp_path / name, *asked, *settings)
        states[name] = load(finished).model.state_dict()
    for name, weight in states["plain"].items():
        assert torch.equal(states["without"][name], weight)
        assert torch.equal(states["elbo"][name], weight)
    assert not all(torch.equal(states["with"][name], w) for name, w in states["plain"].items())


# The game


def test_one_loss_of_two_players_is_two_losses() -> None:
    model, objective = grey()
    trace = trace_of(model)
    value = objective(trace, NOW)
    judge, made = objective.discriminator, trace.p_x.mean
    (odds_x, of_x), (odds, of_made) = judge(trace.x, None), judge(made, None)
    own = logsigmoid(odds_x) + logsigmoid(-judge(made.detach(), None)[0])
    same(gradients(value, judge), gradients(own, judge))
    match = -(of_made - of_x.detach()).square().sum(-1) / 2
    pull = gradient_ratio(trace.log_px, odds, trace.p_x) * logsigmoid(odds)
    pull = pull + gradient_ratio(trace.log_px, match, trace.p_x) * match
    same(gradients(value, model), gradients(elbo(trace) + 0.5 * pull.mean(0), model))


def test_the_adversary_pulls_as_hard_as_it_is_told() -> None:
    model, objective = grey(matching=0.0)
    trace = trace_of(model)
    (logits,) = (trace.p_x.base_dist.logits,)  # type: ignore[attr-defined]
    whole, nats = (
        torch.autograd.grad(value.sum(), logits, retain_graph=True)[0].flatten(2)
        for value in (objective.values(trace, NOW), trace.log_px)
    )
    odds, _ = objective.discriminator(trace.p_x.mean, None)
    expected = 0.5 * nats.norm(dim=2) * (-odds).sigmoid()
    torch.testing.assert_close((whole - nats).norm(dim=2), expected, rtol=1e-4, atol=1e-6)


def test_the_ratio_is_that_of_the_parameters_which_both_depend_on() -> None:
    mean = torch.randn(2, 5, 3, requires_grad=True)
    sigma = torch.tensor(0.5, requires_grad=True)
    p_x = Independent(Normal(mean, sigma.expand_as(mean)), 1)
    x, c = torch.randn(5, 3), torch.randn(2, 5, 3)
    found = gradient_ratio(p_x.log_prob(x), (p_x.mean * c).sum(2), p_x)
    expected = ((x - mean) / 0.25).norm(dim=2) / c.norm(dim=2)
    torch.testing.assert_close(found, expected.detach())
    assert not found.requires_grad
    clueless = gradient_ratio(p_x.log_prob(x), (p_x.mean * 0).sum(2), p_x)
    assert torch.equal(clueless, torch.full((2, 5), MOST))


def test_a_late_adversary_leaves_all_as_it_is_until_then() -> None:
    model, objective = grey(start_epoch=3.0, ramp_epochs=2.0)
    trace = trace_of(model)
    plain = gradients(elbo(trace), model)

    def players(epoch: float) -> tuple[list[Tensor], list[Tensor]]:
        found = gradients(objective(trace, torch.tensor(epoch)), model, objective)
        pulled = [a - b for a, b in zip(found, plain, strict=False)]
        return pulled, found[len(plain) :]

    for gradient in (*players(2.99)[0], *players(2.99)[1]):
        assert not gradient.any()
    half, whole, later = (players(epoch) for epoch in (4.0, 5.0, 50.0))
    assert any(gradient.any() for gradient in half[1])
    same(half[1], whole[1])  # the discriminator plays from the start
    same([2 * gradient for gradient in half[0]], whole[0])
    same(whole[0], later[0])
    assert objective.warmup_epochs == 5
    assert "from epoch 4" in objective.describe()


def test_bits_are_judged_as_bits_and_grey_as_grey() -> None:
    model = vae()
    bits = adversarial(replace(model.context(), support=Support.BINARY))
    p_x = trace_of(model).p_x
    drawn, mean = bits.image(p_x), adversarial(model.context()).image(p_x)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(mean, p_x.mean)
    weights = torch.randn_like(mean)
    same(gradients((drawn * weights).sum(), model), gradients((mean * weights).sum(), model))


def test_samples_of_the_prior_are_judged_under_the_labels_of_the_data() -> None:
    model = vae(encoder_conditioning=Concat, decoder_conditioning=Concat)
    objective = adversarial(replace(model.context(), reads_labels=True), samples=True)
    seen: list[tuple[torch.Size, Tensor]] = []
    objective.discriminator.register_forward_hook(
        lambda module, given, out: seen.append((given[0].shape, given[1]))
    )
    trace = trace_of(model)
    objective(trace, NOW).mean().backward()
    shapes = {tuple(shape) for shape, _ in seen}
    assert shapes == {(5, 1, 8, 8), (2, 5, 1, 8, 8), (1, 5, 1, 8, 8)}
    assert all(torch.equal(y, trace.y) for _, y in seen)
    of_class = objective.discriminator.of_class
    assert of_class is not None
    assert of_class.weight.grad is not None
    assert of_class.weight.grad[:5].any()
    assert not of_class.weight.grad[5:].any()  # classes that the batch has not


def test_labels_are_not_told_of_a_model_that_cannot_obey_them() -> None:
    assert grey()[1].discriminator.of_class is None


def test_a_model_without_one_latent_layer_has_no_samples_to_judge() -> None:
    with pytest.raises(InputError, match="say objective.samples=false"):
        adversarial(Context((1, 8, 8), None), samples=True)
    assert isinstance(adversarial(Context((1, 8, 8), None)), Objective)


def test_a_step_is_pure() -> None:
    module = training(partial(adversarial, samples=True), likelihood=Bernoulli)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    outcomes = []
    for _ in range(2):
        torch.manual_seed(3)
        outcomes.append(
            step(module.model, module.objective, module.estimator, batch((1, 8, 8)), NOW)
        )
    assert torch.equal(outcomes[0].objective, outcomes[1].objective)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# A classifier's eye


def eye() -> torch.nn.Sequential:
    """As the project's classifier: maps of an image, statistics of batches, and logits."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.GELU(),
        torch.nn.Conv2d(4, 6, 3), torch.nn.GELU(),
        torch.nn.Flatten(), torch.nn.Linear(96, 5), torch.nn.GELU(),
    )  # fmt: skip


def test_the_perceptual_distance_is_that_of_maps_of_length_one() -> None:
    network = eye()
    distance = PerceptualDistance(network).train()
    made, x = torch.rand(2, 5, 1, 8, 8), torch.rand(5, 1, 8, 8)
    network.eval()
    expected = torch.zeros(2, 5)
    for stop in (3, 5):
        ours, theirs = network[:stop](made.flatten(0, 1)), network[:stop](x)
        a, b = (maps / maps.norm(dim=1, keepdim=True) for maps in (ours, theirs))
        expected += (a.unflatten(0, (2, 5)) - b).square().sum(2).mean((2, 3))
    torch.testing.assert_close(distance(made, x), expected)
    assert torch.equal(distance(x, x), torch.zeros(5))
    assert not [weight for weight in distance.parameters() if weight.requires_grad]


def test_a_classifiers_eye_pulls_as_hard_as_it_is_told_from_the_first_step() -> None:
    model = vae(likelihood=BernoulliGrey)
    context = replace(model.context(), classifier=eye)
    objective = adversarial(context, weight=0.0, perceptual=0.7, start_epoch=3.0)
    trace = trace_of(model)
    assert torch.equal(objective(trace, NOW), elbo(trace))
    logits = trace.p_x.base_dist.logits  # type: ignore[attr-defined]
    whole, nats = (
        torch.autograd.grad(value.sum(), logits, retain_graph=True)[0].flatten(2)
        for value in (objective.values(trace, torch.tensor(0.0)), trace.log_px)
    )
    torch.testing.assert_close((whole - nats).norm(dim=2), 0.7 * nats.norm(dim=2))
    assert "a classifier's eye of weight 0.7, in gradients" in objective.describe()
    (group,) = objective.parameter_groups()
    assert all(weight.requires_grad for weight in group["params"])


def test_data_that_cannot_be_classified_have_no_classifiers_eye() -> None:
    with pytest.raises(InputError, match="say objective.perceptual=0"):
        grey(perceptual=1.0)


# In a run

GAN = ("model=cvae_gan", "data.limit=64", "model.z_shape=[4]", "scheduler=none")


def kept(folder: Path, name: str = "last") -> dict:
    content: dict = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return content


@pytest.mark.parametrize("settings", [(), ("ema=default",)], ids=["plain", "ema"])
def test_a_run_goes_on_bit_by_bit_with_its_adversary(
    settings: tuple[str, ...], tmp_path: Path
) -> None:
    whole = run(tmp_path / "whole", *GAN, *settings, "trainer.max_epochs=2")
    part = run(tmp_path / "part", *GAN, *settings)
    train([f"resume={part.folder}", "trainer.max_epochs=2"], quiet=True)
    ours, theirs = kept(part.folder), kept(whole.folder)
    for state in ("state_dict", "current_model_state"):
        for name, value in theirs.get(state, {}).items():
            assert torch.equal(ours[state][name], value), name
    assert any(name.startswith("objective.discriminator") for name in ours["state_dict"])
    usual, own = ours["optimizer_states"][0]["param_groups"]
    assert (usual["lr"], own["lr"]) == (2e-3, 5e-4)


def test_a_run_says_what_selects_and_exports_no_adversary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([*QUICK, *GAN, f"hydra.run.dir={tmp_path / 'run'}"])
    told = " ".join(capsys.readouterr().out.split())
    assert "an adversary of weight 0.5, in gradients and not in the value" in told
    assert "val/elbo selects" in told
    metrics = kept(tmp_path / "run", "best")["vae_lab"]["metrics"]
    for split in ("train", "val"):
        assert metrics[f"{split}/objective"] == pytest.approx(metrics[f"{split}/elbo"], abs=1e-3)
    export(load(tmp_path / "run"), tmp_path / "out", ["safetensors"])
    assert not [n for n in load_file(tmp_path / "out" / "model.safetensors") if "discrim" in n]
    context = replace(load(tmp_path / "run").model.context(), reads_labels=True)
    best, weights = (
        tmp_path / "run" / "checkpoints" / "best.ckpt",
        kept(tmp_path / "run", "best")["state_dict"],
    )
    for name, learned in objective_from_checkpoint(best, context).state_dict().items():
        assert torch.equal(weights[f"objective.{name}"], learned)
    with pytest.raises(InputError, match="has not what its objective has learned"):
        objective_from_checkpoint(tmp_path / "out" / "model.safetensors", context)


def test_data_without_labels_are_refused_in_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((40, 8, 8), np.uint8))
    asked = [*QUICK[:1], *QUICK[2:], "data=tensors", f"data.path={tmp_path / 'images.npz'}"]
    with pytest.raises(InputError, match="reads labels, but the data have none") as told:
        train([*asked, "model=cvae_gan", f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert "\n" not in str(told.value)
