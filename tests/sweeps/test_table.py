"""The table over any runs: what is one row, what is ranked, what cannot be read, how it looks."""

import csv
import io
import json
import os
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from parts import training
from rich.console import Console

from vae_lab.evaluation.measure import Measure
from vae_lab.objectives import IWAE
from vae_lab.storage.run_config import write_config
from vae_lab.storage.run_folder import LOCK, RunFolder
from vae_lab.support import Support
from vae_lab.sweeps import rows as sweep_rows
from vae_lab.sweeps import show
from vae_lab.sweeps.differences import differences
from vae_lab.sweeps.rows import Row
from vae_lab.sweeps.runs import jobs
from vae_lab.sweeps.show import plot
from vae_lab.sweeps.table import main, write_table

PROBABILITY = Measure("digits", "ab12", "cd34", "binarised", Support.BINARY.value, False)
DENSITY = replace(PROBABILITY, preparation="dequantised", support=Support.CONTINUOUS.value)
MLP = {"_target_": "vae_lab.model.networks.mlp.MLP", "widths": [16], "activation": "relu"}
CONV = {"_target_": "vae_lab.model.networks.conv.ConvEncoder", "channels": [4, 8]}


def job(
    folder: Path,
    best: float | None,
    measure: Measure = PROBABILITY,
    seed: int = 0,
    overrides: dict[str, str] | None = None,
    ended: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A run, as its folder tells it; one that has not finished, where it has no `best`."""
    folder.mkdir(parents=True)
    (folder / LOCK).touch()
    own = {"run_dir": str(folder), "run_id": folder.name, "name": folder.name, "logger": None}
    told = {"config_digest": folder.name, "overrides": overrides or {}, "seed": seed}
    write_config(folder / "config.yaml", json.dumps({**own, **told, **config}) + "\n")
    if best is not None:
        found = {"metrics": {"test/elbo": best - 1}, "best": best, "measure": asdict(measure)}
        RunFolder(folder).finish({**found, **(ended or {})})
    return folder


def rows(*folders: Path) -> list[Row]:
    return sweep_rows.rows(jobs(folders))


def shown(folder: Path, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    write_table(folder, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_means_and_deviations_over_seeds_and_the_best_of_each_measure(tmp_path: Path) -> None:
    values = {"a": [-30.0, -31.0, -35.0], "b": [-32.0, -32.5, -31.0]}
    for model, bests in values.items():
        for seed, best in enumerate(bests):
            job(tmp_path / f"{model}{seed}", best, seed=seed, model=model, data={"limit": 9})
    job(tmp_path / "g", 500.0, DENSITY, model="c", data={"limit": 9})
    job(tmp_path / "h", 400.0, DENSITY, model="d", data={"limit": 9})
    job(tmp_path / "f", None, seed=3, model="a", data={"limit": 9})
    table = {(row.choices["model"], row.measure): row for row in rows(tmp_path)}
    assert all(
        set(row.choices) == {"model"} for row in table.values()
    )  # what does not vary is left
    for model, bests in values.items():
        row = table[model, PROBABILITY]
        assert row.values["best"] == bests
        assert row.mean("best") == pytest.approx(statistics.fmean(bests))
        assert row.sd("best") == pytest.approx(statistics.stdev(bests))
        assert row.is_best == (model == "b")
    assert table["c", DENSITY].is_best  # a density is not ranked with probabilities
    assert table["c", DENSITY].sd("best") is None
    assert not table["d", DENSITY].is_best
    assert (table["a", None].failed, table["a", None].unfinished) == (0, 1)


def test_a_single_configuration_is_no_best(tmp_path: Path) -> None:
    job(tmp_path / "0", -1.0, seed=0)
    job(tmp_path / "1", -2.0, seed=1)
    (row,) = rows(tmp_path)
    assert not row.is_best
    assert row.values["best"] == [-1.0, -2.0]


def test_runs_of_two_encoders_are_no_seeds_of_one(tmp_path: Path) -> None:
    for at, encoder in enumerate([MLP, MLP, {**MLP, "widths": [300]}, CONV]):
        job(tmp_path / str(at), -30.0 - at, seed=at, model={"encoder": encoder})
    table = rows(tmp_path / "0", tmp_path)  # a run, and a folder of it and others
    assert [row.seeds for row in table] == [2, 1, 1]
    assert set(table[0].choices) == {"model.encoder", "model.encoder.widths"}
    said = shown(tmp_path)
    assert "ConvEncoder" in said
    assert "[300]" in said
    assert "channels" not in said  # the class says as much


def test_the_same_seed_twice_is_one_seed_and_the_latest_counts(tmp_path: Path) -> None:
    for at, best in enumerate([-30.0, -31.0, -32.0]):
        folder = job(tmp_path / str(at), best, seed=0)
        os.utime(folder / "result.json", (9 - at, 9 - at))
    (row,) = rows(tmp_path)
    assert (row.seeds, row.repeated) == (1, 2)
    assert row.values["best"] == [-30.0]
    assert row.sd("best") is None
    assert "+-" not in shown(tmp_path)
    assert "repeat a seed" in shown(tmp_path)


def test_searches_for_a_learning_rate_are_left_out(tmp_path: Path) -> None:
    job(tmp_path / "0", -30.0, lr_find=False)
    job(tmp_path / "1", -1.0, seed=1, lr_find=True)
    job(tmp_path / "2", None, seed=2, lr_find=True)
    (row,) = rows(tmp_path)
    assert (row.seeds, row.unfinished, row.values["best"]) == (1, 0, [-30.0])


def evaluated(folder: Path, num_draws: int = 100, epochs: int = 3, **values: float) -> None:
    estimates = {
        name: {"value": value, "standard_error": None, "unit": "share"}
        for name, value in values.items()
    }
    told = {"estimates": estimates, "num_draws": num_draws, "items": 9, "draw_seed": 0, "bound": {}}
    told |= {"checkpoint": "best.ckpt", "epochs": epochs}
    (folder / "evaluation.json").write_text(json.dumps(told))


def test_estimates_are_columns_where_all_that_finished_were_evaluated_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for at in range(4):
        folder = job(tmp_path / str(at), -30.0 - at, seed=at // 2, model="ab"[at % 2])
        assert all("evaluated/mig" not in row.values for row in rows(tmp_path))  # not all of them
        evaluated(folder, mig=0.1 * at, nll=30.0 + at)
    job(tmp_path / "unfinished", None, seed=3, model="a")
    found = {row.choices["model"]: row.values.get("evaluated/mig") for row in rows(tmp_path)}
    assert found["b"] == pytest.approx([0.1, 0.3])
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path), "--columns", "evaluated/mig"])
    main()
    said = capsys.readouterr().out
    assert "mig" in said
    assert "0.200 +- 0.141" in said
    assert "active" not in said  # the usual columns have made room
    with (tmp_path / "table.csv").open(newline="") as file:
        read = {row["model"]: row for row in csv.DictReader(file) if row["seeds"] == "2"}
    assert float(read["b"]["evaluated/mig"]) == pytest.approx(0.2)
    assert float(read["a"]["evaluated/nll sd"]) == pytest.approx(2**0.5)
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path), "--columns", "mig"])
    with pytest.raises(SystemExit, match="unknown column 'mig'. There are: best, evaluated/mig"):
        main()
    evaluated(tmp_path / "0", num_draws=5, mig=0.0)
    assert all("evaluated/mig" not in row.values for row in rows(tmp_path))
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path), "--columns", "evaluated/mig"])
    with pytest.raises(SystemExit, match="no column 'evaluated/mig': .* not all evaluated alike"):
        main()


def test_an_evaluation_of_the_run_before_it_went_on_is_no_column(tmp_path: Path) -> None:
    for at, best_epoch in enumerate((3, 5)):
        folder = job(tmp_path / str(at), -30.0, seed=at, ended={"best_epoch": best_epoch})
        evaluated(folder, epochs=best_epoch, mig=0.1)
    assert all("evaluated/mig" in row.values for row in rows(tmp_path))
    evaluated(folder, epochs=3, mig=0.1)  # the best came later
    assert all("evaluated/mig" not in row.values for row in rows(tmp_path))


def test_columns_that_no_run_has_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path / "run", -30.0)
    asked = "best, test/elbo,,test/rate , test/distortion"
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path), "--columns", asked])
    main()
    said = capsys.readouterr().out
    assert "-31.00" in said
    assert "No run has test/rate, test/distortion." in said


def test_nothing_is_pooled_across_a_measure(tmp_path: Path) -> None:
    job(tmp_path / "0", -30.0, seed=0)
    job(tmp_path / "1", 500.0, DENSITY, seed=1)
    job(tmp_path / "2", -20.0, replace(PROBABILITY, evaluated="ef56"), seed=2)
    table = rows(tmp_path)
    assert [row.seeds for row in table] == [1, 1, 1]
    assert not any(row.is_best for row in table)


def test_the_best_is_ranked_among_those_of_one_monitor_and_objective(tmp_path: Path) -> None:
    for at, beta in enumerate([1.0, 4.0, 4.0, 4.0]):
        kind = {"monitor": "val/objective", "objective": f"beta {beta:g}"} if at else {}
        job(tmp_path / str(at), -30.0 - at, objective={"beta": beta}, lr=at, ended=kind)
    table = rows(tmp_path)
    assert [row.is_best for row in table] == [False, True, False, False]
    assert [row.choices["objective.beta"] for row in table] == [1, 4, 4, 4]
    assert [row.values["best"][0] for row in table] == [-30.0, -31.0, -32.0, -33.0]
    assert len(plot(table).axes) == 2


def test_a_bound_of_more_draws_is_ranked_with_others_by_the_elbo_alone(tmp_path: Path) -> None:
    for monitor in ("val/objective", "val/elbo"):
        for draws in (8, 64):
            run = training(IWAE)
            run.estimator.num_draws = draws
            kind = {"monitor": monitor, "objective": run.trained}
            folder = tmp_path / monitor.partition("/")[2] / str(draws)
            job(folder, -30.0 - draws, estimator={"num_draws": draws}, ended=kind)
    assert [row.is_best for row in rows(tmp_path / "objective")] == [False, False]
    assert [row.is_best for row in rows(tmp_path / "elbo")] == [True, False]
    assert len(plot(rows(tmp_path / "elbo")).axes) == 1
    said = shown(tmp_path / "objective")
    assert "importance-weighted bound, 64 draws" in " ".join(said.split())
    assert said.count("val/objective") == 2  # each block names its monitor


def test_each_block_names_its_monitor_and_its_objective(tmp_path: Path) -> None:
    for at, beta in enumerate([1.0, 0.1]):
        kind = {"monitor": "val/objective", "objective": f"beta {beta:g}, no bound"} if at else {}
        job(tmp_path / str(at), -30.0 - 5 * at, objective={"beta": beta}, ended=kind)
    said = shown(tmp_path)
    assert (said.count("val/elbo"), said.count("val/objective")) == (1, 1)
    assert "log p(x). beta 0.1, no bound" in said
    for value in ("-30.00", "-35.00"):  # what was chosen stands beside it
        (line,) = (line for line in said.splitlines() if value in line)
        assert line.split()[0] in ("1", "0.1")


def test_what_a_failed_job_has_not_chosen_is_not_told(tmp_path: Path) -> None:
    for at, size in enumerate([16, 32]):
        job(tmp_path / str(at), -30.0, data={"batch_size": size, "limit": at})
    RunFolder(tmp_path / "2").fail({"data.limit": "x"}, "no number", "")
    assert (
        "batch_size=" not in shown(tmp_path).partition("failed or unfinished")[2].split("best:")[0]
    )
    assert show._sentence({"lr": "0.1", "batch_size": ""}) == "lr=0.1"


def test_where_and_how_a_run_is_logged_is_no_difference(tmp_path: Path) -> None:
    for at in range(2):
        best = {"dirpath": f"{tmp_path}/{at}/checkpoints"}
        data = {"num_workers": at, "root": str(at)}
        callbacks = {"best": best, "progress": at}
        job(tmp_path / str(at), -30.0, seed=at, data=data, tags=[at], callbacks=callbacks)
    (row,) = rows(tmp_path)
    assert row.seeds == 2


def test_what_a_command_line_chose_stands_for_what_follows_from_it(tmp_path: Path) -> None:
    for at, (name, encoder) in enumerate([("mlp_vae", MLP), ("conv_vae", CONV)]):
        overrides = {"model": name, "seed": str(at)}
        model = {"encoder": encoder, "decoder": encoder}
        job(tmp_path / str(at), -30.0, seed=at, model=model, overrides=overrides)
    RunFolder(tmp_path / "2").fail({"model": "vea", "seed": "0"}, "no such model", "")
    table = rows(tmp_path)
    assert {tuple(row.choices.items()): row.seeds for row in table} == {
        (("model", "mlp_vae"),): 1,
        (("model", "conv_vae"),): 1,
        (("model", "vea"),): 0,
    }


def test_arguments_are_compared_among_parts_of_one_class() -> None:
    nodes = {0: {"part": MLP}, 1: {"part": {**MLP, "widths": [9, 9]}}, 2: {"part": CONV}, 3: {}}
    assert differences(nodes) == {
        "part": {0: MLP["_target_"], 1: MLP["_target_"], 2: CONV["_target_"], 3: "none"},
        "part.widths": {0: "[16]", 1: "[9,9]"},
    }


@pytest.mark.parametrize("name", ["result.json", "failed.json", "config.yaml", "evaluation.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b'{"metrics": {"a": 1', b"[1, 2]", b"\xff\xfe\x00", b"null", b'{"metrics": 3}',
     b'{"best": "high", "metrics": {}, "measure": {}}', b"[" * 100_000],
    ids=lambda content: str(content[:12]),
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line_and_the_table_is_made(
    tmp_path: Path,
    name: str,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for at in range(3):
        job(tmp_path / str(at), -30.0 - at, seed=at)
    (tmp_path / "1" / name).write_bytes(content)
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "failed: " in line)
    assert str(tmp_path / "1") in line
    with (tmp_path / "table.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert sorted((row["seeds"], row["failed"]) for row in read) == [("0", "1"), ("2", "0")]


def test_nothing_is_cut_at_80_columns_and_rows_are_sorted(tmp_path: Path) -> None:
    for at in range(6):
        encoder = [MLP, CONV][at % 2]
        job(
            tmp_path / str(at), -103.4 - 1.3 * at, seed=at // 3, model={"encoder": encoder},
            optimizer={"lr": [1e-3, 0.0006999999][at % 2]},
            trainer={"accumulate_grad_batches": at % 3}, objective={"beta": {"epochs": at % 3}},
        )  # fmt: skip
    said = shown(tmp_path)
    assert max(len(line) for line in said.splitlines() if "Written" not in line) <= 80
    assert "…" not in said
    for told in ("0.0007", "val/elbo", "ConvEncoder", "x in {0, 1}"):
        assert told in said.replace("\n", " ")
    assert "ab12" not in said  # a hash tells nothing where words do
    values = [row.values["best"][0] for row in rows(tmp_path)]
    assert values == sorted(values, reverse=True)
    assert "best: encoder=MLP" in said.splitlines()[-1]
    for width in (80, 200):  # each row says what it is, beside its numbers
        lines = [line for line in shown(tmp_path, width).splitlines() if "best:" not in line]
        for row in rows(tmp_path):
            (line,) = (line for line in lines if f"{row.values['best'][0]:.2f}" in line)
            assert ("ConvEncoder" in line) == (row.choices["model.encoder"] == CONV["_target_"])
    wide = shown(tmp_path, 200)
    assert "accumulate_grad_batches  " in wide


def test_hashes_are_shown_where_words_look_alike(tmp_path: Path) -> None:
    job(tmp_path / "0", -30.0)
    job(tmp_path / "1", -31.0, replace(PROBABILITY, split="ef56"))
    assert "ab12" in shown(tmp_path)
    assert "ef56" in shown(tmp_path)


def test_numbers_are_short_but_told_apart(tmp_path: Path) -> None:
    for at, rate in enumerate([0.00070000001, 0.0012341, 0.0012349]):
        job(tmp_path / str(at), -30.0 - at, optimizer={"lr": rate})
    said = shown(tmp_path)
    assert "0.0007 " in said
    assert "0.001234 " in said
    assert "0.001235 " in said


def test_the_spread_is_drawn(tmp_path: Path) -> None:
    for seed in range(3):
        job(tmp_path / str(seed), -30.0 - seed, seed=seed)
    (panel,) = plot(rows(tmp_path)).axes
    (bar,) = (c for c in panel.containers if len(c) == 3)
    ((start, end),) = bar[2][0].get_segments()
    assert (start[0], end[0]) == pytest.approx((-32.0, -30.0))


def test_the_command_asks_for_folders_that_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="error: no folder at"):
        main()


def test_the_command_also_writes_elsewhere_and_says_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(job(tmp_path / name, -30.0, seed=at)) for at, name in enumerate("ab")]
    monkeypatch.setattr("sys.argv", ["table", *runs, "--out", str(tmp_path)])
    main()
    assert "table.csv and table.png" in capsys.readouterr().out
    assert (tmp_path / "table.png").is_file()
    monkeypatch.setattr("sys.argv", ["table", *runs, "--out", str(tmp_path / "nowhere")])
    main()
    assert (tmp_path / "nowhere" / "table.csv").is_file()
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["table", *runs, "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="error: .*file cannot take the table"):
        main()


def test_a_run_that_goes_on_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job(tmp_path / "0", -30.0)
    job(tmp_path / "1", None, seed=1)
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path)])
    main()


def rated(rate: float, distortion: float) -> dict[str, Any]:
    return {"metrics": {"test/rate": rate, "test/distortion": distortion, "test/elbo": -1.0}}


def test_rate_and_distortion_are_drawn_of_what_differs_within_each_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for at, beta in enumerate([1.0, 0.1, 0.01]):
        for seed in range(2):  # one point: their mean
            ended = rated(10.0 * at + seed, 50.0 - 10 * at) | {"objective": f"beta {beta}"}
            folder = tmp_path / f"{at}{seed}"
            job(folder, -30.0, seed=seed, objective={"beta": beta}, ended=ended)
    job(tmp_path / "alone", -30.0, DENSITY, ended=rated(3.0, 4.0))
    job(tmp_path / "unfinished", None, objective={"beta": 9})
    figure = show.plane(rows(tmp_path))
    assert figure is not None
    (axes,) = figure.axes
    told = {text.get_text(): text.xy for text in axes.texts}
    assert told == {"beta=1": (0.5, 50), "beta=0.1": (10.5, 40), "beta=0.01": (20.5, 30)}
    assert PROBABILITY.words() in axes.get_title()
    assert write_table(tmp_path, Console(width=200)) == 0
    assert "table.csv and table.png and rate_distortion.png" in capsys.readouterr().out
    assert (tmp_path / "rate_distortion.png").is_file()


def test_without_two_rates_there_is_no_plane(tmp_path: Path) -> None:
    job(tmp_path / "0", -30.0, ended=rated(1.0, 2.0))
    job(tmp_path / "1", -30.0, lr=2)
    assert show.plane(rows(tmp_path)) is None
    write_table(tmp_path, Console(quiet=True))
    assert not (tmp_path / "rate_distortion.png").exists()
