"""A forked script is what a cold one is."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from warm import run_script, start_script

pytestmark = pytest.mark.process

TELL = """
import atexit, os, random, sys, numpy
if __name__ == "__main__":
    atexit.register(print, "the end", file=sys.stderr)
    print(sys.argv, os.getcwd(), __file__, sys.path[0], os.environ["SAID"], "HOME" in os.environ)
    print(os.path.samefile(sys.path[1], "aside"), __import__("sitecustomize").SAID)
    print(os.getpid() == os.getsid(0), sys.stdin.read())
    open("drawn", "a").write(f"{random.random()} {numpy.random.rand()}\\n")
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "sitecustomize.py").write_text("SAID = 'beside'")
    (tmp_path / "tell.py").write_text(TELL)
    return tmp_path / "tell.py"


@pytest.mark.parametrize("status", ["0", "3"])
def test_a_script_meets_what_it_meets_in_an_interpreter_of_its_own(
    script: Path, status: str
) -> None:
    folder = script.parent
    env = {"SAID": "here", "PYTHONPATH": str(folder / "aside"), "PATH": os.environ["PATH"]}
    warm, cold = (run_script([script, status], folder, env, cold=cold) for cold in (False, True))
    assert warm.stdout == cold.stdout
    assert warm.stderr == cold.stderr == "the end\n"
    assert warm.returncode == cold.returncode == int(status)


def test_forks_draw_different_numbers(script: Path) -> None:
    env = {"SAID": "here", "PYTHONPATH": "aside", "PATH": os.environ["PATH"]}
    for _ in range(2):
        run_script([script, "0"], script.parent, env)
    drawn = (script.parent / "drawn").read_text().split()
    assert len(set(drawn)) == 4


def test_a_fork_has_a_parent_without_threads_and_is_killed_as_a_process_is(tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text("import time; print(1, flush=True); time.sleep(60)")
    process = start_script(["wait.py"], tmp_path)
    status = Path("/proc", str(process.pid), "status")
    parent = next(line.split()[1] for line in status.read_text().splitlines() if "PPid" in line)
    assert len(list(Path("/proc", parent, "task").iterdir())) == 1
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode == process.poll() == -signal.SIGKILL


def test_a_script_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / "fail.py").write_text("raise ValueError('as meant')")
    for cold in (False, True):
        finished = run_script(["fail.py"], tmp_path, cold=cold)
        assert finished.returncode == 1
        assert finished.stderr.endswith("ValueError: as meant\n")
