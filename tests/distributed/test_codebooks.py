"""A codebook that two processes learn together: the same in both, and that of the whole batch."""

import sys
from pathlib import Path

import pytest
import torch
import two_codebooks
from warm import run_script


@pytest.mark.process
def test_two_processes_learn_the_codebook_of_the_whole_batch(tmp_path: Path) -> None:
    torchrun = Path(sys.executable).parent / "torchrun"
    script = Path(two_codebooks.__file__)
    finished = run_script(
        [torchrun, "--standalone", "--nproc-per-node=2", script, tmp_path], timeout=300
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for restart in two_codebooks.RESTARTS:
        assert torch.equal(one[restart], other[restart])
    assert not torch.allclose(one[0.0], one[0.05])
    alone = two_codebooks.codebooks(0.0, 0, slice(None))
    torch.testing.assert_close(one[0.0], alone)
