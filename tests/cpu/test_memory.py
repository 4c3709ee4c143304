"""Memory that is freed and wanted again."""

import resource
import subprocess
import sys

import pytest
import torch

from vae_lab.cpu.memory import kept_memory


def _faults_of_a_step(steps: int = 20) -> float:
    """Page faults of each of some steps that allocate and free eight tensors of 4 MiB."""

    def step() -> None:
        _ = [torch.ones(2**20) for _ in range(8)]

    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's")
def test_freed_memory_is_there_for_the_next_step() -> None:
    with kept_memory():
        assert _faults_of_a_step() < 1000  # of 8,192 pages


@pytest.mark.process
def test_a_rule_of_the_users_own_stands() -> None:
    says = "import test_memory as t\nwith t.kept_memory(): print(t._faults_of_a_step())"
    env = {"MALLOC_MMAP_THRESHOLD_": "131072", "PYTHONPATH": "tests/cpu:src", "PATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", says], env=env, capture_output=True, text=True, check=True
    )
    assert float(found.stdout) > 8000
