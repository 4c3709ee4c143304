"""From Python: load, sample, reconstruct, encode, score, and what becomes of codes moved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK
from parts import vae

from vae_lab import InputError, load, train
from vae_lab.data import Digits
from vae_lab.model.conditioning import Concat
from vae_lab.trained import TrainedVAE


@pytest.fixture(scope="module")
def trained(digits_run: Path) -> TrainedVAE:
    return load(digits_run)


@pytest.fixture(scope="module")
def conditional(conditional_run: Path) -> TrainedVAE:
    return load(conditional_run)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return Digits().read()[0].pixels[:6]


def test_load_takes_a_folder_or_a_file(digits_run: Path) -> None:
    by_folder, by_file = load(digits_run), load(str(digits_run / "checkpoints" / "best.ckpt"))
    assert torch.equal(by_folder.sample(2, seed=0), by_file.sample(2, seed=0))
    assert not by_folder.model.training


def test_a_model_gives_the_data_it_was_trained_with(trained: TrainedVAE) -> None:
    data = trained.data()
    assert data.split_hash == trained.record["measure"]["split"]
    shown = data.random_items("test", 4, torch.device("cpu"), seed=0)
    assert trained.reconstruct(shown.x, seed=0).shape == (4, 1, 8, 8)


def test_samples(trained: TrainedVAE) -> None:
    means = trained.sample(5, seed=1)
    assert means.shape == (5, 1, 8, 8)
    assert torch.equal(means, trained.sample(5, seed=1))
    assert not torch.equal(means, trained.sample(5, seed=2))
    draws = trained.sample(5, mean=False, seed=1)
    assert set(draws.unique().tolist()) <= {0.0, 1.0}


def test_a_seed_leaves_the_callers_generator_alone(trained: TrainedVAE) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    trained.sample(2, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_encode_reconstruct_interpolate(trained: TrainedVAE, images: torch.Tensor) -> None:
    q = trained.encode(images, seed=0)
    assert q.mean.shape == (6, 32)
    assert q.batch_shape == (6,)
    assert trained.reconstruct(images, seed=0).shape == (6, 1, 8, 8)
    path = trained.interpolate(images[0], images[1], 5, seed=0)
    assert path.shape == (5, 1, 8, 8)
    ends = trained.reconstruct(images[:2], seed=0)
    torch.testing.assert_close(path[[0, -1]], ends)


def test_latents_become_images(
    trained: TrainedVAE, conditional: TrainedVAE, images: torch.Tensor
) -> None:
    z = trained.encode(images, seed=0).mean
    as_reconstructed = trained.reconstruct(images, seed=0)
    for same in (z, z.numpy(), z.tolist()):
        torch.testing.assert_close(trained.decode(same), as_reconstructed)
    assert set(trained.decode(z, mean=False, seed=0).unique().tolist()) <= {0.0, 1.0}
    by_class = [conditional.decode(z[:1], y=y) for y in (0, 1)]
    assert not torch.equal(*by_class)
    with pytest.raises(InputError, match="give it y"):
        conditional.decode(z)
    for bad in (z[0], z[:, :5], z[:0]):
        with pytest.raises(InputError, match=r"latents must be \(N, 32\)"):
            trained.decode(bad)
    for bad in (z * torch.nan, z + torch.inf, [[1e40] * 32]):
        with pytest.raises(InputError, match="latents must be finite"):
            trained.decode(bad)


def test_one_unit_is_moved(
    trained: TrainedVAE, conditional: TrainedVAE, images: torch.Tensor
) -> None:
    q = trained.encode(images, seed=0)
    values = [-2.0, 0.0, float(q.mean[1, 3])]
    moved = trained.traverse(images, 3, values, seed=0)
    assert moved.shape == (6, 3, 1, 8, 8)
    as_reconstructed = trained.reconstruct(images, seed=0)
    torch.testing.assert_close(moved[1, 2], as_reconstructed[1])
    as_numpy = [np.float32(value) for value in values]
    for same in (torch.tensor(values), np.array(values), as_numpy, [*torch.tensor(values)]):
        assert torch.equal(trained.traverse(images, (3,), same, seed=0), moved)
    assert trained.traverse(images, np.int64(3), range(3), seed=0).shape == (6, 3, 1, 8, 8)
    by_class = [conditional.traverse(images[:1], 3, [0], y=y, seed=0) for y in (0, 1)]
    assert not torch.equal(*by_class)
    for bad in ([], 1.0, ["a"], [[1.0]], [float("nan")], [1e40], [True], None):
        with pytest.raises(InputError, match="values must be (a list of|real) numbers"):
            trained.traverse(images, 3, bad)
    with pytest.raises(InputError, match="unit must be a place in z"):
        trained.traverse(images, 32, values)
    with pytest.raises(InputError, match="give it y"):
        conditional.traverse(images, 3, values)


def test_an_image_becomes_one_of_another_class(
    trained: TrainedVAE, conditional: TrainedVAE, images: torch.Tensor
) -> None:
    y = torch.arange(6)  # the labels of the first six digits
    same = conditional.transfer(images, y, y, seed=0)
    assert same.shape == (6, 1, 8, 8)
    torch.testing.assert_close(same, conditional.reconstruct(images, y=y, seed=0))
    as_sevens = conditional.transfer(images, y, 7, seed=0)
    z = conditional.encode(images, y=y, seed=0).mean
    torch.testing.assert_close(as_sevens, conditional.decode(z, y=7))
    for bad, said in ((10, r"0\.\.9"), ([1, 2], "to must be one label or 6"), (None, "give it to")):
        with pytest.raises(InputError, match=said):
            conditional.transfer(images, y, bad)
    with pytest.raises(InputError, match="give it y"):
        conditional.transfer(images, None, 7)
    encoder_alone = TrainedVAE(vae(encoder_conditioning=Concat), trained.preparation, {})
    for none in (trained, encoder_alone):
        with pytest.raises(InputError, match="draws x without a label"):
            none.transfer(images, y, 7)


@pytest.mark.parametrize("y", ["seven", 7.0, [0.5] * 6, [[1, 2], [3]], True, [None] * 6])
def test_labels_are_whole_numbers(conditional: TrainedVAE, images: torch.Tensor, y: object) -> None:
    for use in (
        lambda: conditional.sample(6, y=y),
        lambda: conditional.traverse(images, 0, [0.0], y=y),
        lambda: conditional.transfer(images, y, 7),
    ):
        with pytest.raises(InputError, match="y must be whole numbers"):
            use()
    with pytest.raises(InputError, match="to must be whole numbers"):
        conditional.transfer(images, 7, y)


def test_a_model_tells_what_it_is(trained: TrainedVAE, conditional: TrainedVAE) -> None:
    told = repr(trained)
    for part in ("mlp_vae-digits", f"{trained.record['parameters']:,} parameters", "z (32,)",
                 "Bernoulli over (1, 8, 8)", "trained on digits", "on cpu",
                 f"best.ckpt of epoch {trained.record['epoch'] + 1}"):  # fmt: skip
        assert part in told
    assert "given y" not in told
    assert "given y" in repr(conditional)


def test_a_model_moves(digits_run: Path) -> None:
    model = load(digits_run)
    assert model.to("meta") is model
    assert {p.device.type for p in model.model.parameters()} == {"meta"}
    assert "on meta" in repr(model)


def test_a_label_that_would_not_be_read_is_refused(
    trained: TrainedVAE, images: torch.Tensor
) -> None:
    z = torch.zeros(6, 32)
    for use in (
        lambda: trained.sample(8, y=3),
        lambda: trained.encode(images, y=3),
        lambda: trained.decode(z, y=3),
        lambda: trained.reconstruct(images, y=torch.arange(6)),
        lambda: trained.log_prob(images, num_draws=2, y=3),
        lambda: trained.interpolate(images[0], images[1], 3, y=[0, 1]),
        lambda: trained.traverse(images, 0, [0.0], y=3),
    ):
        with pytest.raises(InputError, match="reads no labels: leave y out"):
            use()


def test_images_may_come_as_they_are(trained: TrainedVAE, images: torch.Tensor) -> None:
    as_bytes = trained.reconstruct(images, seed=0)
    for same in (images / 255, images.numpy(), images[:, 0], (images / 255).double().numpy()):
        torch.testing.assert_close(trained.reconstruct(same, seed=0), as_bytes)


def test_log_prob_is_the_bound_of_training(trained: TrainedVAE, images: torch.Tensor) -> None:
    one = trained.log_prob(images, num_draws=1, seed=0)
    many = trained.log_prob(images, num_draws=500, seed=0)
    assert one.shape == (6,)
    assert many.mean() > one.mean()
    assert torch.equal(many, trained.log_prob(images, num_draws=500, seed=0))
    # Prepared as in training: the same bits give the same figure, however they are written.
    bits = trained.preparation(images, torch.Generator().manual_seed(0))
    assert torch.equal(
        trained.log_prob(bits, num_draws=3, seed=5),
        trained.log_prob((bits * 255).byte(), num_draws=3, seed=5),
    )


def test_a_conditional_model_reads_y(conditional: TrainedVAE, images: torch.Tensor) -> None:
    y = torch.arange(6)  # the labels of the first six digits
    right = conditional.log_prob(images, num_draws=100, y=y, seed=0)
    wrong = conditional.log_prob(images, num_draws=100, y=(y + 3) % 10, seed=0)
    assert right.mean() > wrong.mean() + 0.5
    assert conditional.sample(4, y=7, seed=0).shape == (4, 1, 8, 8)
    assert conditional.sample(4, seed=0).shape == (4, 1, 8, 8)
    assert conditional.interpolate(images[0], images[1], 4, y=[0, 1], seed=0).shape[0] == 4
    with pytest.raises(InputError, match="give it y"):
        conditional.log_prob(images, num_draws=2)
    with pytest.raises(InputError, match="one label or 3"):
        conditional.sample(3, y=[1, 2])
    for outside in (10, -1):
        with pytest.raises(InputError, match=r"0\.\.9"):
            conditional.sample(2, y=outside)


def test_bad_images_are_refused(trained: TrainedVAE, images: torch.Tensor) -> None:
    for bad, said in (
        (torch.rand(3, 1, 9, 9), "must be"),
        (2 * torch.ones(3, 1, 8, 8), "scale them"),
        (torch.full((3, 1, 8, 8), np.nan), "scale them"),
    ):
        with pytest.raises(InputError, match=said):
            trained.reconstruct(bad)
    with pytest.raises(InputError, match="num_draws must be"):
        trained.log_prob(images, num_draws=0)
    for k in (2.5, True):
        with pytest.raises(InputError, match="num_draws must be"):
            trained.log_prob(images, num_draws=k)
    for memory in (float("nan"), "x", -1):
        with pytest.raises(InputError, match="memory_mib must be"):
            trained.log_prob(images, num_draws=2, memory_mib=memory)
    with pytest.raises(InputError, match="n must be"):
        trained.sample(0)
    with pytest.raises(InputError, match="n must be"):
        trained.interpolate(images[0], images[1], -1)
    with pytest.raises(InputError, match="must be"):
        trained.reconstruct(images[:0])


@pytest.mark.parametrize(
    "bad",
    ["hello", None, [[1, 2], [3]], np.array([object()]), torch.zeros(1, 32) + 0j],
    ids=["text", "none", "ragged", "objects", "complex"],
)
def test_what_are_no_numbers_is_told_in_one_line(trained: TrainedVAE, bad: object) -> None:
    for use in (trained.decode, trained.encode, lambda x: trained.interpolate(x, x, 3)):
        with pytest.raises(InputError, match="(latents|images) must be real numbers") as caught:
            use(bad)
        assert "\n" not in str(caught.value)


def test_an_image_may_be_turned(trained: TrainedVAE, images: torch.Tensor) -> None:
    turned = trained.reconstruct(images.numpy()[..., ::-1], seed=0)  # numpy strides backwards
    assert torch.equal(turned, trained.reconstruct(images.flip(-1), seed=0))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"seed": 2**70}, "seed must be a whole number"),
        ({"seed": "a"}, "seed must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"fitted": "no"}, "fitted must be true or false"),
        ({"mean": "no"}, "mean must be true or false"),
    ],
)
def test_what_a_sample_is_told_is_checked(
    trained: TrainedVAE, bad: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        trained.sample(2, **bad)


def test_whole_numbers_may_be_numpys(trained: TrainedVAE) -> None:
    assert torch.equal(trained.sample(np.int64(2), seed=np.int64(3)), trained.sample(2, seed=3))


def test_grey_pixels_have_no_log_prob(tmp_path: Path, images: torch.Tensor) -> None:
    grey = train(
        [*QUICK, "model/likelihood=bernoulli_grey", "data.limit=64",
         f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    assert "test/bits_per_dim" not in grey.metrics
    with pytest.raises(InputError, match="no likelihood"):
        grey.load().log_prob(images)


def test_densities_dequantise_what_comes_in(tmp_path: Path, images: torch.Tensor) -> None:
    finished = train(
        [*QUICK, "model/likelihood=continuous_bernoulli", "data.limit=64",
         f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    model = finished.load()
    assert model.preparation.dequantize
    assert model.log_prob(images, num_draws=2, seed=0).isfinite().all()
    assert torch.equal(
        model.log_prob(images, num_draws=2, seed=0),
        model.log_prob(images / 255, num_draws=2, seed=0),
    )


def test_a_users_own_images(tmp_path: Path, colour_file: Path) -> None:
    finished = train(
        [*QUICK, "model=conv_vae", "data=tensors", f"data.path={colour_file}",
         f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    assert finished.load().sample(2).shape == (2, 3, 32, 32)
    assert finished.load().record["config"]["data"]["x_shape"] == [3, 32, 32]
