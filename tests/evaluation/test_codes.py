"""What codes are found to know of labels, and which codes are asked."""

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from parts import datamodule, vae

from vae_lab.data import Digits, Glyphs
from vae_lab.evaluation import codes as module
from vae_lab.evaluation.codes import (
    Codes,
    code_estimates,
    encode,
    latents,
    probe_accuracies,
    scale_estimate,
    scale_of,
)
from vae_lab.support import Support
from vae_lab.trace import Batch, centre


def labelled(n: int, seed: int, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(classes, (n,), generator=random), torch.randn(
        n, 2, generator=random, dtype=torch.float64
    )


def accuracies(train: Codes, test: Codes) -> dict[str, float]:
    found = probe_accuracies(train, test)
    for p in found.values():
        n = len(test.values)
        error = math.sqrt(p.value * (1 - p.value) / (n - 1))
        assert p.standard_error == (pytest.approx(error) if error else None)  # of all right: none
    return {name.removeprefix("probe_accuracy_"): p.value for name, p in found.items()}


def test_probes_find_what_codes_know_and_no_more() -> None:
    (y, noise), (test_y, test_noise) = labelled(800, 0), labelled(400, 1)
    nothing = accuracies(Codes(noise, y, None), Codes(test_noise, test_y, None))
    for name in ("linear", "knn"):
        assert nothing[name] == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 400))
    # Two rings, one within the other: no line parts them, and neighbours do.
    ring = [(1 + b % 2)[:, None] * a / a.norm(dim=1, keepdim=True) for b, a in
            ((y, noise), (test_y, test_noise))]  # fmt: skip
    train, test = Codes(ring[0], y % 2, None), Codes(ring[1], test_y % 2, None)
    rings = accuracies(train, test)
    assert rings["knn"] > 0.98
    assert rings["linear"] < 0.65
    # A unit with another scale hinders the linear probe as little as the neighbours' vanishing one.
    wide = torch.cat([1e-3 * y[:, None] + 1e-5 * noise, 1e-9 * noise], 1)
    wide_test = torch.cat([1e-3 * test_y[:, None] + 1e-5 * test_noise, 1e-9 * test_noise], 1)
    found = accuracies(Codes(wide, y, None), Codes(wide_test, test_y, None))
    assert min(found.values()) > 0.95


def test_one_class_is_nothing_to_probe() -> None:
    y, values = labelled(50, 0)
    alone = Codes(values, torch.zeros_like(y), None)
    assert probe_accuracies(alone, alone) == {}
    assert probe_accuracies(Codes(values, None, None), Codes(values, None, None)) == {}


def test_codes_are_centres_beside_the_labels_and_factors_of_their_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Glyphs(count=120, seed=0)
    data, model = datamodule(source, Support.BINARY, test_size=40), vae(x_shape=(1, 28, 28)).eval()
    seen: dict[str, Codes] = {}

    def watched(train: Codes, test: Codes) -> dict[str, Any]:
        seen.update(train=train, test=test)
        return probe_accuracies(train, test)

    monkeypatch.setattr(module, "probe_accuracies", watched)
    items = torch.tensor([3, 7, 11, 12, 30, 31, 32, 33, 34, 35])
    batch: Batch = next(iter(data.batches("test", 40, torch.device("cpu"), items)))
    test = Codes.of(encode(model, [batch]), data, "test", items)
    with torch.no_grad():
        torch.testing.assert_close(test.values.float(), centre(model.q_z(batch.x, None)))
    assert batch.y is not None
    assert torch.equal(test.labels, batch.y)  # type: ignore[arg-type]
    assert torch.equal(test.factors, data.splits["test"].factors[items])  # type: ignore[arg-type, index]
    found = code_estimates(model, data, test, most=50, seed=0)
    assert len(seen["train"].values) == 50
    assert set(found) == {
        "probe_accuracy_linear", "probe_accuracy_knn", "mig", "dci_disentanglement",
        "dci_completeness", "dci_informativeness",
    }  # fmt: skip
    factors = test.all_factors
    assert factors is not None
    assert factors.shape == (10, 1 + len(source.factor_names))
    assert torch.equal(factors[:, 0].long(), batch.y)
    again = code_estimates(model, data, test, most=50, seed=0)
    assert again == found
    one = Codes(test.values[:1], test.labels[:1], test.factors[:1])  # type: ignore[index]
    assert set(code_estimates(model, data, one, most=50, seed=0)) == {
        "probe_accuracy_linear", "probe_accuracy_knn",
    }  # fmt: skip
    few = code_estimates(model, data, test, most=3, seed=0)
    assert all(math.isfinite(estimate.value) for estimate in few.values())


def test_data_without_factors_or_labels_need_no_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = datamodule(Digits(), Support.BINARY, limit=100), vae().eval()
    values = torch.randn(10, 4).double()
    test = Codes.of(values, data, "test", torch.arange(10))
    assert set(code_estimates(model, data, test, 60, 0)) == {
        "probe_accuracy_linear", "probe_accuracy_knn",
    }  # fmt: skip

    def refused(model: Any, batches: Iterable[Batch]) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "encode", refused)
    assert code_estimates(model, data, Codes(values, None, None), 60, 0) == {}


def test_the_scale_is_that_of_all_units_together_and_its_error_that_of_other_data() -> None:
    random = torch.Generator().manual_seed(0)

    def drawn(n: int) -> torch.Tensor:
        wide = torch.tensor([0.5, 3.0, 0.1]).reshape(3, 1, 1)
        return 5 + wide * torch.randn(n, 3, 2, 2, generator=random)

    found = scale_of(drawn(4000))
    assert found is not None
    assert found.standard_error is not None
    truth = ((0.25 + 9 + 0.01) / 3) ** -0.5
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)
    others = torch.tensor([e.value for _ in range(100) if (e := scale_of(drawn(400)))])
    expected = found.standard_error * math.sqrt(10)
    assert float(others.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * 99))
    assert scale_of(torch.ones(5, 2)) is None


def test_the_scale_is_of_draws_of_some_training_items() -> None:
    data, model = datamodule(Digits(), Support.BINARY, limit=100), vae(z_shape=(2, 2, 1)).eval()
    found = scale_estimate(model, data, 30, seed=0)
    assert found == scale_estimate(model, data, 30, seed=0)
    assert found["code_scale"].unit == "1 / std of z"
    batches = [*data.batches("train", 32, torch.device("cpu"))]
    z = latents(model, batches, draw=True, seed=0)
    assert z.shape == (sum(len(b.x) for b in batches), 2, 2, 1)
    error = found["code_scale"].standard_error
    assert error is not None
    assert found["code_scale"].value == pytest.approx(1 / float(z.std()), abs=5 * error)
    with torch.no_grad():
        middle = torch.cat([model.q_z(b.x, b.y).mean for b in batches])
    torch.testing.assert_close(latents(model, batches, draw=False, seed=0), middle)
