"""The table of benchmarks: who does what against whom."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks.case import Case
from benchmarks.measure import Entrant, Measured


@dataclass(frozen=True)
class Contest:
    """The same case for all; ratios are of the first entrant to each other."""

    case: Case
    entrants: tuple[Entrant, ...]
    busy: bool = False  # beside a process that never rests

    def describe(self) -> str:
        """In a few words."""
        return self.case.describe() + ", beside a busy process" * self.busy


def training(measured: Measured) -> float | None:
    """Seconds of an epoch, the mean of all but the first."""
    counted = measured.epochs[1:]
    return sum(counted) / len(counted) if counted else None


def start_up(measured: Measured) -> float | None:
    """Seconds from the command to its first step; to its end, where it takes none.

    None where it failed.
    """
    if measured.failed is not None:
        return None
    return measured.wall if measured.to_first_step is None else measured.to_first_step


@dataclass(frozen=True)
class Benchmark:
    """A section of RESULTS.md."""

    says: str
    contests: tuple[Contest, ...]
    rounds: int = 3
    seconds: Callable[[Measured], float | None] = field(default=training)
    unit: str | None = "images/s"  # of which it does so many a second
    axis: str | None = None  # the field of `Case` that grows, and is drawn


def _entrants(*names: str) -> tuple[Entrant, ...]:
    return tuple(Entrant(name) for name in names)


_LOOPS = ("bare, fused", "bare, at full speed")
_ALL = _entrants("ours", "tutorial", "bare", *_LOOPS, "pythae")
_SOME = _entrants("ours", *_LOOPS, "pythae")
_HALF = _entrants("ours", *_LOOPS)  # the others have no half precision of their own on a CPU
_PAIR = _entrants("ours", "bare, fused")
_SETTINGS = (
    ("OMP_WAIT_POLICY", "PASSIVE"),
    ("OMP_WAIT_POLICY", "ACTIVE"),
    *(("GOMP_SPINCOUNT", count) for count in ("1000", "10000")),
    ("OMP_NUM_THREADS", "1"),
)
_THREADS = (Entrant("ours"), *(Entrant("ours", (setting,)) for setting in _SETTINGS))


def _less(case: Case, part: int) -> Case:
    """A part of it, for a busy machine: threads that spin are up to fifty times slower there."""
    return replace(case, images=case.images // part, epochs=2)


def _throughput(says: str, model: str, images: int, rounds: int = 3) -> Benchmark:
    case = Case(model, images)
    half = replace(case, precision="bf16")
    return Benchmark(
        says,
        (
            Contest(case, _ALL),
            *(Contest(replace(case, batch=batch), _SOME) for batch in (128, 512)),
            Contest(half, (*_HALF, Entrant("tutorial"))),  # in fp32, as it stands in tutorials
            *(Contest(replace(half, batch=batch), _HALF) for batch in (128, 512)),
            Contest(_less(case, 4), _ALL, busy=True),
        ),
        rounds,
    )


def _idle_and_busy(case: Case, *names: str) -> tuple[Contest, Contest]:
    return Contest(case, _entrants(*names)), Contest(case, _entrants(*names), busy=True)


def _growth(axis: str, says: str, cases: list[Case]) -> Benchmark:
    contests = tuple(Contest(case, _PAIR) for case in cases)
    return Benchmark(says, contests, rounds=2, unit="image-draws/s", axis=axis)


_MLP = Case("mlp", 12_800)
_SMALL = Case("mlp", 2_560)

BENCHMARKS = {
    "mlp": _throughput("Training 784-512-16 on MNIST", "mlp", 12_800),
    "notebook": _throughput("Training `experiment=mnist_notebook`", "notebook", 6_400),
    "conv": _throughput("Training `model=conv_vae` on CIFAR-10", "conv", 1_600, rounds=2),
    "threads": Benchmark(
        "The default way of waiting beside every other",
        tuple(
            Contest(_less(case, 4 if busy else 2), _THREADS, busy)
            for case in (_MLP, Case("notebook", 6_400))
            for busy in (False, True)
        ),
        rounds=2,
    ),
    "startup": Benchmark(
        "From the command to the first step, beside imports alone",
        _idle_and_busy(Case("digits", 1_797, 32), "ours, starting", "imports"),
        seconds=start_up,
        unit=None,
    ),
    "evidence": Benchmark(
        "Importance-weighted evidence",
        _idle_and_busy(
            Case("mlp", 100, draws=1000), "ours, scoring", "bare, scoring", "pythae, scoring"
        ),
        unit="image-draws/s",
    ),
    "batch": _growth("batch", "Growth with the batch",
                     [replace(_MLP, batch=batch) for batch in (16, 128, 1024)]),
    "units": _growth("units", "Growth with the size of z",
                     [replace(_MLP, units=units) for units in (2, 32, 512)]),
    "draws": _growth("draws", "Growth with K, of `objective=iwae`",
                     [replace(_SMALL, draws=draws) for draws in (1, 8, 64)]),
    "images": _growth("images", "Growth with the data",
                      [replace(_MLP, images=images, epochs=2)
                       for images in (1_000, 8_000, 60_000)]),
}  # fmt: skip


def quick(benchmark: Benchmark) -> Benchmark:
    """One round of a tenth, of the first contest on an idle and the first on a busy machine."""
    first = {contest.busy: contest for contest in reversed(benchmark.contests)}
    contests = tuple(
        replace(contest, case=replace(contest.case, images=contest.case.images // 10, epochs=2))
        for contest in sorted(first.values(), key=lambda contest: contest.busy)
    )
    return replace(benchmark, contests=contests, rounds=1)
