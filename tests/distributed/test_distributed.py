"""Two processes: different data and noise, the same weights, averages over all items once."""

import sys
from pathlib import Path

import pytest
import same_gradients
import torch
from warm import run_script

pytestmark = pytest.mark.process

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return in_two("two_processes.py", tmp_path_factory.mktemp("ranks"), "18.2")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Of a step of two processes, and of the same step of one."""
    folder = tmp_path_factory.mktemp("gradients")
    two, _ = in_two("same_gradients.py", folder)
    run_script([HERE / "same_gradients.py", folder], timeout=300).check_returncode()
    return [two, torch.load(folder / "0.pt", weights_only=True)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return in_two("two_shards.py", tmp_path_factory.mktemp("shards"))


def in_two(script: str, folder: Path, *arguments: str) -> list[dict]:
    torchrun = Path(sys.executable).parent / "torchrun"
    finished = run_script(
        [torchrun, "--standalone", "--nproc-per-node=2", HERE / script, folder, *arguments],
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_each_item_is_seen_once(ranks: list[dict]) -> None:
    a, b = (rank["seen"] for rank in ranks)
    assert not set(a["train"]) & set(b["train"])
    assert len(a["train"]) == len(b["train"]) == 50  # 101 items: one is left out, none repeated
    assert sorted(a["val"] + b["val"]) == list(range(101))


def test_ranks_draw_different_noise(ranks: list[dict]) -> None:
    assert not set(ranks[0]["noise"]) & set(ranks[1]["noise"])


def test_ranks_hold_the_same_weights(ranks: list[dict]) -> None:
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"])


def test_ranks_skip_the_same_steps(ranks: list[dict]) -> None:
    a, b = ranks
    assert a["norms"] == b["norms"]
    assert 0 < a["skipped"] == b["skipped"] < len(a["norms"]) == 4


def test_averages_are_over_all_items(ranks: list[dict]) -> None:
    total, count = ranks[0]["share"] + ranks[1]["share"]
    assert count == 101
    for rank in ranks:
        assert rank["logged"]["val/elbo"] == pytest.approx(float(total / count), rel=1e-6)
    assert ranks[0]["logged"] == ranks[1]["logged"]


def test_latent_figures_are_over_all_items(ranks: list[dict]) -> None:
    for rank in ranks:
        rate = rank["logged"]["latent/kl_mean"] * rank["units"]
        assert rate == pytest.approx(rank["logged"]["val/rate"], rel=1e-5)


def test_optimal_sigma_is_fitted_to_the_residuals_of_all_ranks(ranks: list[dict]) -> None:
    every = torch.cat([rank["residuals"] for rank in ranks])
    assert not torch.equal(*(rank["residuals"] for rank in ranks))
    for rank in ranks:
        assert rank["sigma"] == pytest.approx(float(every.square().mean().sqrt()), rel=1e-4)


@pytest.mark.parametrize("objective", same_gradients.OBJECTIVES)
def test_two_processes_with_half_the_batch_make_the_gradient_of_the_whole(
    objective: str, gradients: list[dict]
) -> None:
    two, one = (found[objective] for found in gradients)
    assert two.keys() == one.keys()
    for name, gradient in one.items():
        assert gradient.dtype == torch.float64
        assert gradient.abs().max() > 0
        torch.testing.assert_close(two[name], gradient, rtol=1e-10, atol=1e-10)


# FSDP, on the CPU: what two GPUs would do. torch 2.11 crashes there, gathering the weights.


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < "2.15", reason="needs torch 2.15 or newer on the CPU")
def test_fsdp_trains_what_ddp_trains_with_half_of_the_weights_each(shards: list[dict]) -> None:
    ddp, fsdp = shards[0]["ddp"], shards[0]["fsdp"]
    assert ddp["state"].keys() == fsdp["state"].keys()
    for name, value in ddp["state"].items():
        if name.startswith("model."):
            torch.testing.assert_close(fsdp["state"][name], value, rtol=0, atol=1e-5)
    assert ddp["logged"] == pytest.approx(fsdp["logged"], rel=1e-4)
    assert sum(rank["fsdp"]["held"] for rank in shards) == ddp["held"]
    assert all(0.4 < rank["fsdp"]["held"] / ddp["held"] < 0.6 for rank in shards)
