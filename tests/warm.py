"""Scripts run as `python SCRIPT` runs them, forked from an interpreter that is warm.

Python takes five seconds of CPU to start and import Lightning; a fork of a process that has done so
takes almost none. What a fork does not show is the start itself: variables that are read at import
(OMP_*, RANK) are those of the warm interpreter, and strings have the same hashes in all its forks.
Tests of that ask for a cold start, in an interpreter of its own.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import numpy as np

ROOT = Path(__file__).parents[1]

_ENVIRONMENT = {  # of the warm interpreter, whatever a test has changed when it runs a command
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    "OMP_NUM_THREADS": "1",
}
_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(
    [*(f"vae_lab.commands.{name}" for name in ("train", "evaluate", "export")), "matplotlib.pyplot"]
)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Forked:
    """`python SCRIPT ARGUMENTS` in a process forked: watched and waited for as subprocess.Popen."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        cwd: Path = ROOT,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        with mock.patch.dict(os.environ, _ENVIRONMENT, clear=True):
            forkserver.ensure_running()
        self.args = [str(argument) for argument in arguments]
        self._said = [tempfile.NamedTemporaryFile("r") for _ in ("stdout", "stderr")]
        self._process = _WARM.Process(
            target=_become,
            args=(self.args, str(cwd), dict(env), [f.name for f in self._said]),
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed on stdout and stderr, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        stdout, stderr = (file.read() for file in self._said)
        for file in self._said:
            file.close()
        return stdout, stderr


def start_script(
    arguments: Sequence[str | Path],
    cwd: Path = ROOT,
    env: Mapping[str, str] = os.environ,
    cold: bool = False,
) -> "subprocess.Popen[str] | Forked":
    """Start `python SCRIPT ARGUMENTS`: forked, or (cold) in an interpreter of its own."""
    if not cold:
        return Forked(arguments, cwd, env)
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=cwd, env=env, start_new_session=True,
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run_script(
    arguments: Sequence[str | Path],
    cwd: Path = ROOT,
    env: Mapping[str, str] = os.environ,
    cold: bool = False,
    timeout: float = 600,
) -> "subprocess.CompletedProcess[str]":
    """Run the same to its end, as subprocess.run does."""
    process = start_script(arguments, cwd, env, cold)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException:
        process.send_signal(signal.SIGKILL)
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _become(arguments: list[str], cwd: str, env: dict[str, str], files: list[str]) -> None:
    """Do in this process what Python does as it starts, then run the script."""
    os.setsid()  # so that a signal to it is its own
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = arguments
    sys.path[:0] = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    np.random.seed()  # the other generators see to that themselves
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")
    script = Path(cwd, arguments[0])
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
