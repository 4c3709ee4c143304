"""The table of what each estimator serves agrees with what training does."""

from pathlib import Path

import pytest
from parts import CONF, choices, run

from vae_lab import InputError
from vae_lab.experiment.serves import GROUPS, Cell, cells


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, ...], Cell]:
    return {cell[:3]: cell for cell in cells()}


def test_every_choice_has_a_cell_and_is_served_by_some_estimator(
    table: dict[tuple[str, ...], Cell],
) -> None:
    estimators = choices("estimator")
    wanted = {(e, group, c) for e in estimators for group in GROUPS for c in choices(group)}
    assert table.keys() == wanted
    for group in GROUPS:
        assert (CONF / group).is_dir()
        for choice in choices(group):
            assert not all(table[e, group, choice].reason for e in estimators), (group, choice)
    assert all("\n" not in cell.reason for cell in table.values())


@pytest.mark.parametrize(
    ("cell", "more"),
    [
        (("pathwise", "model", "categorical_vae"), []),
        (("dreg", "objective", "elbo"), ["estimator.num_draws=2"]),
        (("stl", "objective", "iwae"), ["estimator.num_draws=2"]),
    ],
)
def test_what_it_refuses_training_refuses_in_the_same_words(
    table: dict[tuple[str, ...], Cell], cell: tuple[str, str, str], more: list[str], tmp_path: Path
) -> None:
    estimator, group, choice = cell
    with pytest.raises(InputError) as refused:
        run(tmp_path / "run", f"estimator={estimator}", f"{group}={choice}", *more)
    assert str(refused.value) == table[cell].reason != ""


def test_what_it_serves_trains(table: dict[tuple[str, ...], Cell], tmp_path: Path) -> None:
    served = table["dreg", "model/posterior", "diagonal_gaussian"]
    assert (served.under, served.reason) == ("iwae", "")
    run(tmp_path / "run", "estimator=dreg", "objective=iwae", "data.limit=16",
        "estimator.num_draws=2")  # fmt: skip
