"""Products of float32 matrices by the faster library: when it is asked, and that it is precise."""

from collections.abc import Iterator

import pytest
import torch

from vae_lab.cpu import matmul
from vae_lab.cpu.matmul import fast_matmul, keeps_every_bit


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    asked = matmul._onednn_is_better
    asked.cache_clear()
    yield
    asked.cache_clear()


def _precision() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)


def _largest_error(rows: int) -> float:
    """Of products of `rows` by 784 by 512 standard normal numbers, against float64."""
    a, b = torch.randn(rows, 784), torch.randn(784, 512)
    return float((a @ b - (a.double() @ b.double())).abs().max())


@pytest.mark.parametrize("rows", [1, 64, 1000])
def test_products_are_those_of_float32(rows: int) -> None:
    torch.manual_seed(0)
    with fast_matmul():
        # Sums of about 28, each of 784 roundings: 1e-4 where these are float32's, 0.3 bfloat16's.
        assert _largest_error(rows) < 1e-3
        assert keeps_every_bit()


def test_it_is_asked_on_amd_alone_and_only_where_it_is_precise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for amd, precise in [(True, True), (True, False), (False, True)]:
        monkeypatch.setattr(matmul, "_is_amd", lambda amd=amd: amd)
        monkeypatch.setattr(matmul, "keeps_every_bit", lambda precise=precise: precise)
        matmul._onednn_is_better.cache_clear()
        with fast_matmul():
            assert _precision() == ("bf16" if amd and precise else "none")
        assert _precision() == "none"


def test_a_precision_of_the_users_own_stands_and_all_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(matmul, "_is_amd", lambda: True)
    monkeypatch.setattr(matmul, "keeps_every_bit", lambda: True)
    with pytest.raises(KeyError), fast_matmul(), fast_matmul():
        raise KeyError
    assert _precision() == "none"
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    matmul._onednn_is_better.cache_clear()  # asked anew, it must leave no trace
    try:
        with fast_matmul():
            assert _precision() == "ieee"
        assert _precision() == "ieee"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


def test_the_last_of_several_uses_ends_it_in_whatever_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matmul, "_onednn_is_better", lambda: True)
    first, second = fast_matmul(), fast_matmul()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert _precision() == "bf16"
    second.__exit__(None, None, None)
    assert _precision() == "none"


def test_a_precision_that_is_chosen_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_onednn_is_better", lambda: True)
    try:
        with fast_matmul():
            torch.backends.mkldnn.matmul.fp32_precision = "ieee"
            with fast_matmul():
                assert _precision() == "ieee"
        assert _precision() == "ieee"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


def test_where_there_is_a_gpu_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning asks for one precision of all backends before it trains on one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with fast_matmul():
        assert torch.get_float32_matmul_precision() == "highest"
