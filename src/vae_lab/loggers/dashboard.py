"""A W&B project's dashboard: a workspace view and a report, of the same panels.

`python -m vae_lab.loggers.dashboard entity/project` creates both; `--dry-run` lists their
panels and needs no network. A panel's metric must be one that runs log: a test holds it.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from vae_lab.errors import InputError, one_line, require
from vae_lab.loggers import has_wandb_key

STEP = "trainer/global_step"
BOUNDS = ("elbo", "objective", "rate", "distortion", "bits_per_dim")
LATENT = ("active_share", "posterior_stddev", "aggregate_stddev", "kl_mean", "kl_median", "kl_max")
PER_UNIT = ("kl_per_unit", "variance_of_means_per_unit")
SYSTEM = ("items_per_second", "seconds_per_epoch", "peak_memory_gib", "learning_rate")
KINDS = {
    "LinePlot": "curves",
    "BarPlot": "bars",
    "ScatterPlot": "points",
    "MediaBrowser": "images",
    "ParallelCoordinatesPlot": "lines",
    "RunComparer": "table",
}
"""What a panel is, in a word."""
BY_LABEL_OR_PLANE = ("classes", "transfer", "class_path", "latent_means", "manifold")
"""Figures of models that have labels or a plane."""


def workspace(entity: str, project: str) -> Any:
    """The workspace view: a section for each of the logger's, and comparisons above them."""
    ws = _library("workspaces")
    sections = {
        "elbo": elbo(),
        "rate and distortion": rate_distortion(),
        "sweeps": sweeps(),
        "train": [line(f"train/{name}") for name in BOUNDS],
        "val": [line(f"val/{name}") for name in (*BOUNDS, "active_units")],
        "test": [bars(f"test/{name}") for name in (*BOUNDS, "active_units")],
        "latent": [line(f"latent/{name}") for name in (*LATENT, *PER_UNIT)],
        "media": media(),
        "system": [line(f"system/{name}") for name in SYSTEM],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name="vae-lab",
        sections=[
            ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(
            pinned_columns=["summary:val/elbo.max", "summary:val/rate", "summary:val/active_units"]
        ),
    )


def report(entity: str, project: str) -> Any:
    """The report: what the panels show, in words, and the panels."""
    wr = _library("reports.v2")
    chapters = (
        (
            "ELBO",
            "A lower bound on log p(x) in nats per datum, at beta = 1 whatever objective trains; "
            "larger is better. Compare runs of one likelihood and one split alone.",
            elbo(),
        ),
        (
            "Rate and distortion",
            "Rate is KL(q(z|x) || p(z)), distortion -E_q log p(x|z); their sum is -ELBO. Runs on "
            "one falling diagonal are equally good and spend their nats differently.",
            rate_distortion(),
        ),
        (
            "Active units",
            "Units of z with Var_x E[z|x] > 0.01. A posterior as wide as the prior, and a KL of "
            "zero, are a unit that is not used.",
            latent(),
        ),
        ("Samples over time", "Decoder means, and draws of x where the two differ.", media()),
        ("Sweeps", "What was varied, beside what came of it; a group is a sweep.", sweeps()),
    )
    blocks: list[Any] = []
    for title, text, panels in chapters:
        blocks += [wr.H2(title), wr.P(text), wr.PanelGrid(panels=panels)]
    title = f"What the runs of {project} learned"
    return wr.Report(entity=entity, project=project, title=title, blocks=blocks, width="fluid")


# Panels: each call makes new ones, since a panel knows its place


def line(*metrics: str, **settings: Any) -> Any:
    """Metrics over optimiser steps."""
    wr = _library("reports.v2")
    return wr.LinePlot(**{"title": ", ".join(metrics), "x": STEP, "y": list(metrics), **settings})


def bars(*metrics: str, **settings: Any) -> Any:
    """The last values of metrics, a bar a run."""
    wr = _library("reports.v2")
    return wr.BarPlot(**{"title": ", ".join(metrics), "metrics": list(metrics), **settings})


def elbo() -> list[Any]:
    """The bound, in training and validation."""
    return [line(f"train/{name}", f"val/{name}") for name in ("elbo", "bits_per_dim")]


def rate_distortion() -> list[Any]:
    """Where runs ended in the plane of rate and distortion, and how they went there."""
    wr = _library("reports.v2")
    rate, distortion = wr.SummaryMetric("val/rate"), wr.SummaryMetric("val/distortion")
    return [
        wr.ScatterPlot(title="rate and distortion, one point a run", x=rate, y=distortion),
        line("val/distortion", x="val/rate", title="val/distortion over val/rate, in training"),
    ]


def latent() -> list[Any]:
    """Which units are used, and how much."""
    return [
        line("val/active_units"),
        line("latent/posterior_stddev", "latent/aggregate_stddev"),
        line("latent/kl_mean", "latent/kl_median", "latent/kl_max"),
        line("latent/kl_per_unit"),
    ]


def media() -> list[Any]:
    """The figures, over time."""
    wr = _library("reports.v2")
    alone = ("samples", "reconstructions", "interpolation", "traversals")
    return [
        wr.MediaBrowser(
            title=", ".join(names),
            media_keys=[f"media/{name}" for name in names],
            gallery_axis="step",
        )
        for names in (*((name,) for name in alone), BY_LABEL_OR_PLANE)
    ]


def sweeps() -> list[Any]:
    """The varied choices beside the figures, run by run and group by group."""
    wr = _library("reports.v2")
    columns = [
        wr.ParallelCoordinatesPlotColumn(wr.Config("optimizer.lr"), log=True),
        wr.ParallelCoordinatesPlotColumn(wr.Config("data.batch_size")),
        wr.ParallelCoordinatesPlotColumn(wr.Config("objective.beta.value")),
        wr.ParallelCoordinatesPlotColumn(wr.Config("parameters"), log=True),
        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric("val/rate")),
        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric("val/distortion")),
        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric("val/elbo.max")),
    ]
    by_group = {"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    return [
        wr.ParallelCoordinatesPlot(title="choices and what came of them", columns=columns),
        line("val/elbo", title="val/elbo by group: mean, least and most", **by_group),
        bars("val/rate", "val/distortion", title="rate and distortion by group", **by_group),
        wr.RunComparer(diff_only="split"),
    ]


# The command


def listing(entity: str, project: str) -> list[str]:
    """What both would show, a section or a panel a line. No network.

    Raises InputError where wandb-workspaces is not installed.
    """
    view, story = workspace(entity, project), report(entity, project)
    lines = [f"Workspace view {view.name} of {entity}/{project}"]
    for section in view.sections:
        lines += [f"  {section.name}", *map(_described, section.panels)]
    lines.append(f"Report: {story.title}")
    for title, _, grid in zip(*[iter(story.blocks)] * 3, strict=True):
        lines += [f"  {title.text}", *map(_described, grid.panels)]
    return lines


def _described(panel: Any) -> str:
    return f"    {KINDS[type(panel).__name__]:<8}{getattr(panel, 'title', 'run by run')}"


def create(entity: str, project: str) -> tuple[str, str]:
    """Create both in W&B, and return their addresses.

    Raises InputError where wandb-workspaces or a key is missing, or W&B refuses.
    """
    story, view = report(entity, project), workspace(entity, project)
    if not has_wandb_key():
        raise InputError(
            "no W&B key is configured: run `wandb login`, or say --dry-run for a list."
        )
    try:
        story.save()  # first: it creates the project where that is new
        view.save()
    except Exception as error:
        raise InputError(
            f"W&B did not take the dashboard of {entity}/{project}: {one_line(error)}"
        ) from error
    return view.url, story.url


def _library(part: str) -> Any:
    """A part of wandb-workspaces, an extra that is imported only here."""
    require("dashboard", "wandb_workspaces")
    return import_module(f"wandb_workspaces.{part}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser("python -m vae_lab.loggers.dashboard", description=__doc__)
    parser.add_argument("project", metavar="entity/project")
    parser.add_argument("--dry-run", action="store_true", help="list the panels alone")
    asked = parser.parse_args(arguments)
    try:
        if not re.fullmatch(r"[^/\s]+/[^/\s]+", asked.project):
            raise InputError(f"say entity/project, such as my-team/vae-lab, not {asked.project}.")
        entity, _, project = asked.project.partition("/")
        if asked.dry_run:
            print(*listing(entity, project), sep="\n")
        else:
            print(*create(entity, project), sep="\n")
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
