"""Codes that are moved: where they go, and which label goes with them."""

from functools import partial

import pytest
import torch
from parts import batch, vae
from torch import Tensor

from vae_lab.errors import InputError
from vae_lab.evaluation.moves import between, codes, no_transfer, place_in, transfer, traverse
from vae_lab.model import VAE
from vae_lab.model.conditioning import Concat, FiLM, NoConditioning
from vae_lab.model.priors import ClassGaussian, ClassMeans, ClassMixture

Seen = list[tuple[Tensor, Tensor | None]]


def watched(monkeypatch: pytest.MonkeyPatch, **parts: object) -> tuple[VAE, Seen]:
    """A VAE with priors unlike N(0, I), and what its decoder is given."""
    model, seen = vae(**parts), []
    for parameter in model.prior.parameters():
        torch.nn.init.normal_(parameter)
    whole = model.p_x
    monkeypatch.setattr(model, "p_x", lambda z, y: (seen.append((z, y)), whole(z, y))[1])
    return model.requires_grad_(requires_grad=False), seen


@pytest.mark.parametrize("prior", [ClassMeans, ClassGaussian])
@pytest.mark.parametrize("entry", [None, Concat, FiLM])
def test_a_transfer_keeps_the_place_in_the_prior(
    monkeypatch: pytest.MonkeyPatch, prior: object, entry: object
) -> None:
    networks = {"encoder_conditioning": entry, "decoder_conditioning": entry} if entry else {}
    model, seen = watched(monkeypatch, prior=prior, **networks)
    data, to = batch((1, 8, 8)), torch.tensor([4, 4, 0, 9, 1])
    z = codes(model, data)
    assert transfer(model, z, data.y, to).shape == (5, 1, 8, 8)
    ((moved, told),) = seen
    assert torch.equal(told, to)
    p, p_to = model.p_z(data.y), model.p_z(to)
    torch.testing.assert_close((moved - p_to.mean) / p_to.stddev, (z - p.mean) / p.stddev)
    assert not torch.allclose(moved, z)
    transfer(model, moved, to, data.y)
    torch.testing.assert_close(seen[-1][0], z, rtol=1e-4, atol=1e-5)  # and back


@pytest.mark.parametrize("entry", [Concat, FiLM])
def test_a_transfer_keeps_z_where_the_prior_knows_no_class(
    monkeypatch: pytest.MonkeyPatch, entry: object
) -> None:
    model, seen = watched(monkeypatch, decoder_conditioning=entry)
    data, to = batch((1, 8, 8)), torch.full((5,), 7)
    z = codes(model, data)
    transfer(model, z, data.y, to)
    ((moved, told),) = seen
    assert torch.equal(moved, z)
    assert torch.equal(told, to)


def test_what_the_class_must_enter_for_a_transfer() -> None:
    for lacking in (vae(), vae(encoder_conditioning=Concat)):
        assert "without a label" in no_transfer(lacking)
    assert not no_transfer(vae(decoder_conditioning=FiLM))
    assert not no_transfer(vae(prior=ClassGaussian))


@pytest.mark.parametrize("entry", [NoConditioning, Concat])
def test_a_mixture_has_no_place_to_keep(entry: object) -> None:
    model = vae(prior=partial(ClassMixture, components=2), decoder_conditioning=entry)
    data = batch((1, 8, 8))
    with pytest.raises(InputError, match="model/prior=class_gaussian or class_means"):
        transfer(model, codes(model, data), data.y, data.y)


def test_a_traversal_moves_one_unit_of_each_datum(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = watched(monkeypatch, z_shape=(2, 3), decoder_conditioning=Concat)
    data, values = batch((1, 8, 8)), torch.tensor([-2.0, 0.5])
    z = codes(model, data)
    assert traverse(model, z, data.y, place_in((2, 3), (1, 0)), values).shape == (5, 2, 1, 8, 8)
    moved, told = seen[0][0].reshape(5, 2, 2, 3), seen[0][1]
    assert torch.equal(told, torch.arange(5).repeat_interleave(2))
    assert torch.equal(moved[:, :, 1, 0], values.expand(5, 2))
    others = torch.ones(2, 3, dtype=torch.bool)
    others[1, 0] = False
    assert torch.equal(moved[:, :, others], z[:, others].unsqueeze(1).expand(5, 2, 5))
    assert torch.equal(codes(model, data), z)


def test_the_label_changes_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = watched(monkeypatch, decoder_conditioning=FiLM)
    ends = torch.randn(2, 4)
    assert between(model, ends, torch.tensor([9, 7]), 4).shape == (4, 1, 8, 8)
    ((path, told),) = seen
    assert told.tolist() == [9, 9, 7, 7]
    torch.testing.assert_close(path[[0, 3]], ends)
    torch.testing.assert_close(path.diff(dim=0), (ends.diff(dim=0) / 3).expand(3, 4))


@pytest.mark.parametrize("unit", [6, -1, 1.0, "1", None, (1, 2), ()])
def test_units_that_z_does_not_have(unit: object) -> None:
    with pytest.raises(InputError, match=r"unit must be a place in z, .* \(6,\): a number"):
        place_in((6,), unit)
    assert place_in((6,), 5) == place_in((6,), (5,)) == 5
