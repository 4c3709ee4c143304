"""Threads that wait for each other: when they are given company, and when they are alone again."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from vae_lab.cpu import threads
from vae_lab.cpu.threads import patient_threads, seconds_kept_waiting


@pytest.fixture
def kept_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds per second that this process seems to be kept waiting, and two threads for torch."""
    share, before = [0.0], torch.get_num_threads()
    monkeypatch.setattr(threads, "EVERY", 0.01)
    monkeypatch.setattr(threads, "seconds_kept_waiting", lambda: 1.0 + share[0] * time.monotonic())
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    torch.set_num_threads(2)
    yield share
    torch.set_num_threads(before)


def _spare() -> bool:
    return any(thread.name == "spare threads" for thread in threading.enumerate())


def _soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return False


def test_spare_threads_stand_by_while_the_machine_is_crowded(kept_waiting: list[float]) -> None:
    with patient_threads():
        time.sleep(0.1)
        assert not _spare()
        kept_waiting[0] = 0.5
        assert _soon(_spare)
        kept_waiting[0] = 0.0
        assert _soon(lambda: not _spare())
        kept_waiting[0] = 0.5
        assert _soon(_spare)
    assert _soon(lambda: not _spare())


def test_a_policy_of_the_users_own_stands(
    kept_waiting: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    kept_waiting[0] = 0.5
    with patient_threads():
        time.sleep(0.1)
        assert not _spare()


def test_an_error_passes_and_ends_the_watch(kept_waiting: list[float]) -> None:
    with pytest.raises(KeyError), patient_threads():
        raise KeyError
    assert not any(thread.name == "patient threads" for thread in threading.enumerate())


@pytest.mark.slow
@pytest.mark.skipif(seconds_kept_waiting() is None, reason="only Linux tells how long threads wait")
def test_a_busy_machine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    busy = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(busy) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        with patient_threads():
            assert _soon(lambda: bool(torch.ones(2**17).sum() and _spare()))
    finally:
        for other in others:
            other.kill()
            other.wait()
        torch.set_num_threads(threads)
