"""Runs that are killed: started as a user does, watched from outside, stopped at some moment."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from warm import ROOT, Forked, start_script

WATCH = """
import os
if "VAE_LAB_LOSSES" in os.environ:
    import vae_lab.training.module as training
    whole = training.VAEModule.training_step
    def step(self, batch, batch_idx):
        loss = whole(self, batch, batch_idx)
        with open(os.environ["VAE_LAB_LOSSES"], "a") as file:
            place = f"{self.global_rank} {self.current_epoch} {batch_idx}"
            file.write(f"{place} {float(loss.detach()).hex()}\\n")
        return loss
    training.VAEModule.training_step = step
"""
"""Put into every process of a run: writes down each loss, bit by bit."""

SMALL = ("callbacks.progress=null", "callbacks.figures=null", "logger=csv",
         "trainer.accelerator=cpu", "model.encoder.widths=[64]", "model.decoder.widths=[64]",
         "data=digits", "data.limit=400", "trainer.max_epochs=4",
         "callbacks.last.every_n_seconds=0")  # fmt: skip
"""Four epochs of 13 steps each, every one of them saved."""

Place = tuple[int, int, int]  # rank, epoch, batch


class Watched:
    """A run folder whose losses are written down, over all the processes that train in it.

    Its commands run in warm processes; the first one, if `cold`, in an interpreter of its own.
    """

    def __init__(self, folder: Path, *overrides: str, cold: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.cold = cold
        self.folder, self.losses = folder / "run", folder / "losses"
        self.first = [*SMALL, *overrides, f"hydra.run.dir={self.folder}"]
        (folder / "sitecustomize.py").write_text(WATCH)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")]),
            "VAE_LAB_LOSSES": str(self.losses),
            "WANDB_MODE": "offline",
        }

    def start(self, *overrides: str) -> "subprocess.Popen[str] | Forked":
        """`python train.py`: with these overrides, or else with the first ones."""
        command = [ROOT / "train.py", *(overrides or self.first)]
        cold = self.cold and not overrides
        return start_script(command, self.folder.parent, self.environment, cold)

    def finish(self, *overrides: str) -> str:
        """Let it run to its end; what it printed. Fails where it does."""
        process = self.start(*overrides)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr[-3000:] + stdout[-1000:]
        return stdout

    def stop(self, when: Callable[[], bool], number: int, pause: float = 0.0) -> tuple[int, str]:
        """Start it, and send it a signal once `when` holds; its status, and what it printed."""
        process = self.start()
        deadline = time.monotonic() + 300
        while not when():
            assert process.poll() is None, process.communicate()[1][-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(pause)
        os.kill(process.pid, number)
        stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout + stderr

    def kill_after(self, steps: int, pause: float = 0.0) -> None:
        """SIGKILL once so many losses are written (by all processes), and a little later."""
        status, _ = self.stop(lambda: self.steps() >= steps, signal.SIGKILL, pause)
        assert status == -signal.SIGKILL

    def steps(self) -> int:
        """How many losses are written."""
        return len(self.losses.read_text().splitlines()) if self.losses.exists() else 0

    def curve(self) -> dict[Place, set[str]]:
        """The losses at each place: one where every visit gave the same."""
        found: dict[Place, set[str]] = {}
        for line in self.losses.read_text().splitlines():
            rank, epoch, batch, loss = line.split()
            found.setdefault((int(rank), int(epoch), int(batch)), set()).add(loss)
        return found
