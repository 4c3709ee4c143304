"""Figures: what stands where in them, and in which colour."""

from functools import partial
from pathlib import Path

import matplotlib.image
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch
from parts import batch, vae
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae_lab.evaluation.curves import curves, noise, unit_kl
from vae_lab.evaluation.figures import (
    class_path,
    classes,
    plot_all,
    save_figures,
    transfers,
    traversals,
)
from vae_lab.evaluation.grid import image_grid
from vae_lab.evaluation.plane import rate_distortion
from vae_lab.evaluation.points import class_colours, code_map, latent_means
from vae_lab.model.conditioning import Concat, FiLM
from vae_lab.model.posteriors import DiagonalGaussian
from vae_lab.model.priors import ClassGaussian, ClassMeans, ClassMixture
from vae_lab.trace import Batch

MIXTURE = partial(ClassMixture, components=2)


@pytest.mark.parametrize("shape", [(2, 10, 1, 28, 28), (3, 2, 3, 8, 8), (4, 6, 1, 16, 40)])
def test_a_grid_fills_its_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    paths = save_figures({"grid": image_grid(torch.zeros(shape), "grid")}, tmp_path)
    rows = matplotlib.image.imread(paths["grid"])[..., :3].min((1, 2))
    below = len(rows) - 1 - (rows < 0.5).nonzero()[0].max()
    assert below < 25  # pixels: the margin, and the grid's own gap


def test_rows_and_columns_bear_their_names_beside_them() -> None:
    axes = image_grid(torch.zeros(2, 3, 1, 4, 6), "", ["a", "b"], ["l", "m", "r"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert list(axes.get_yticks()) == [1.5, 6.5]  # the middles of rows of 4 pixels and a gap
    assert [label.get_text() for label in axes.get_xticklabels()] == ["l", "m", "r"]
    assert list(axes.get_xticks()) == [2.5, 9.5, 16.5]


def test_class_rows_say_their_class() -> None:
    model = vae(decoder_conditioning=Concat, prior=ClassMeans, num_classes=4)
    with torch.no_grad():
        figures = classes(model, 3), class_path(model, [(0, 1), (3, 1)], 3)
    names = [[label.get_text() for label in f.axes[0].get_yticklabels()] for f in figures]
    assert names == [["0", "1", "2", "3"], ["0 → 1", "3 → 1"]]


@pytest.mark.parametrize(
    ("parts", "drawn"),
    [
        ({}, set()),
        ({"encoder_conditioning": FiLM}, {"classes"}),
        ({"decoder_conditioning": FiLM}, {"classes", "transfer"}),
        ({"prior": ClassGaussian}, {"classes", "transfer", "class_path"}),
        ({"prior": MIXTURE}, {"classes", "class_path"}),
        ({"prior": MIXTURE, "decoder_conditioning": FiLM}, {"classes", "class_path"}),
    ],
)
def test_what_shows_the_classes(parts: dict[str, object], drawn: set[str]) -> None:
    figures = plot_all(vae(**parts), batch((1, 8, 8), 6))
    assert figures.keys() & {"classes", "transfer", "class_path"} == drawn
    titles = {name: figures[name].axes[0] for name in ("interpolation", "traversals")}
    ways = [label.get_text() for label in titles["interpolation"].get_yticklabels()]
    assert (ways[:3] == ["0 → 1", "2 → 3", "4 → 5"]) == bool(drawn)
    assert ("of class 0" in titles["traversals"].get_title()) == bool(drawn)


def test_a_transfer_is_shown_of_each_class_to_each(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = vae(decoder_conditioning=Concat), batch((1, 8, 8), 8)
    y = torch.tensor([5, 2, 5, 9, 2, 2, 9, 5])
    told: list[Tensor] = []
    whole = model.p_x
    monkeypatch.setattr(model, "p_x", lambda z, y: (told.append(y), whole(z, y))[1])
    with torch.no_grad():
        axes = transfers(model, Batch(data.x, y, data.index), "test").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "5", "9"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "2", "5", "9"]
    assert torch.stack(told).tolist() == [[2, 2, 2], [5, 5, 5], [9, 9, 9]]
    left = torch.as_tensor(axes.images[0].get_array())[:, :8].reshape(3, 9, 8)[:, :8]
    torch.testing.assert_close(left.float(), data.x[[1, 0, 3], 0])


def test_a_class_has_its_colour_whatever_others_are_there() -> None:
    model = vae(z_shape=(2,))
    data = batch((1, 8, 8), 10)

    def colour_of_three(items: Tensor) -> str:
        shown = Batch(data.x[items], items, items)
        with torch.no_grad():
            points = latent_means(model, shown, "test").axes[0].collections[0]
        points.update_scalarmappable()
        return to_hex(points.get_facecolors()[int((items == 3).nonzero())])

    colours = {colour_of_three(torch.tensor(items)) for items in ([3], [3, 9], range(10))}
    assert colours == {to_hex("tab:red")}
    for count in (2, 10, 15, 20, 100):
        assert len({class_colours(count)(y) for y in range(count)}) == count


def test_codes_are_shown_where_they_spread_most(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = torch.tensor([3.0, 0.1, 2.0, 0.0])
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    z = torch.randn(200, 4) * spread + 5.0
    monkeypatch.setattr("vae_lab.evaluation.points.centres", lambda trace: z @ turn)
    data = batch((1, 8, 8), 200)
    with torch.no_grad():
        axes = code_map(vae(), data, "test").axes[0]
    points = torch.as_tensor(axes.collections[0].get_offsets().data)
    middle = (z - z.mean(0)).double()
    torch.testing.assert_close(points.norm(dim=0), middle[:, [0, 2]].norm(dim=0), rtol=0.01, atol=0)
    torch.testing.assert_close(torch.pdist(points), torch.pdist(middle), rtol=0, atol=1.0)
    shares = middle.square().sum(0) / middle.square().sum()
    assert f"axis 1: {100 * shares[0]:.0f} %" in axes.get_xlabel()
    assert f"axis 2: {100 * shares[2]:.0f} %" in axes.get_ylabel()


def test_a_row_of_traversals_moves_one_unit_over_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = vae(z_shape=(2, 3)), batch((1, 8, 8), 10)
    seen: list[Tensor] = []
    whole = model.p_x
    monkeypatch.setattr(model, "p_x", lambda z, y: (seen.append(z), whole(z, y))[1])
    with torch.no_grad():
        figure = traversals(model, data, "test", rows=4, columns=7)
        q = model.q_z(data.x, None)
    kl = torch.distributions.kl_divergence(q.base_dist, model.p_z(None).base_dist).mean(0).flatten()
    z, centre = torch.stack(seen).reshape(4, 7, 6), q.mean[0].flatten()
    for row, unit in enumerate(kl.argsort(descending=True)[:4].tolist()):
        others = torch.arange(6) != unit
        assert torch.equal(z[row][:, others], centre[others].expand(7, -1))
        torch.testing.assert_close(z[row, :, unit], torch.linspace(-3, 3, 7), atol=0.4, rtol=0)
        name = figure.axes[0].get_yticklabels()[row].get_text()
        assert name == f"$z_{{{unit // 3},{unit % 3}}}$  {kl[unit]:.2f}"


class Correlated(DiagonalGaussian):
    """A posterior whose KL is no sum over units."""

    def distribution(self, params: Tensor) -> MultivariateNormal:
        q = super().distribution(params)
        return MultivariateNormal(q.mean, torch.diag_embed(q.variance))


@pytest.mark.parametrize(
    "parts", [{"posterior": Correlated}, {"prior": ClassMeans}, {"z_shape": (1,)}]
)
def test_any_vae_of_images_is_traversed(parts: dict[str, object]) -> None:
    assert "traversals" in plot_all(vae(**parts), batch((1, 8, 8), 10))


def test_curves_show_every_epoch_that_was_noted_and_units_in_order() -> None:
    epochs = {
        e: {"train/elbo": -e, "train/rate": 1.0, "train/distortion": 2.0} for e in (1, 2, 3, 4)
    }
    for epoch in (2, 4):  # validated every other epoch
        epochs[epoch] |= {"val/elbo": -9.0, "val/active_units": 1.0}
    by_title = {a.get_title().split(",")[0]: a for a in curves(epochs, [0.5, 2.0, 1.0]).axes}
    train, val = by_title["ELBO"].lines
    assert train.get_xydata().tolist() == [[1, -1], [2, -2], [3, -3], [4, -4]]
    assert val.get_xydata().tolist() == [[2, -9], [4, -9]]
    assert len(by_title["active units"].lines) == 1
    bars = by_title["KL of each unit of z"].patches
    assert [bar.get_height() for bar in bars] == [2.0, 1.0, 0.5]
    assert by_title["KL of each unit of z"].get_title().endswith(", after epoch 4")
    assert curves(
        {1: {"train/distortion": 1.0}}, []
    )  # a point mass; neither validation nor a KL of units


def test_the_noise_stands_above_what_it_is_traded_for() -> None:
    epochs = {e: {"val/rate": 2.0 * e, "train/distortion": -e} for e in (1, 2, 4)}
    top, rate, distortion = noise(epochs, {2: [0.5, 0.1], 4: [0.25, 0.75]}).axes
    assert [line.get_xydata().tolist() for line in top.lines] == [
        [[2, 0.5], [4, 0.25]], [[2, 0.1], [4, 0.75]], [[2, 0.3], [4, 0.5]],
    ]  # fmt: skip
    assert rate.lines[0].get_xydata().tolist() == [[1, 2], [2, 4], [4, 8]]
    assert distortion.lines[0].get_xydata().tolist() == [[1, -1], [2, -2], [4, -4]]


def test_the_kl_of_units_stands_sorted() -> None:
    (axes,) = unit_kl([0.5, 2.0, 0.0]).axes
    assert [bar.get_height() for bar in axes.patches] == [2.0, 0.5, 0.0]


def test_thousands_of_units_are_one_shape_and_a_hundred_lines() -> None:
    (axes,) = unit_kl(list(map(float, range(1024)))).axes
    (shape,) = axes.patches
    assert isinstance(shape, StepPatch)
    values, edges, _ = shape.get_data()
    assert list(values) == list(map(float, range(1023, -1, -1)))
    assert (edges[0], edges[-1]) == (0.5, 1024.5)
    sigma = {epoch: [epoch * unit / 1024 for unit in range(1024)] for epoch in (1, 2)}
    top = noise({1: {}, 2: {"train/distortion": 1.0}}, sigma).axes[0]
    *units, middle = [line.get_ydata().tolist() for line in top.lines]
    assert 90 < len(units) <= 100
    assert units[0] == [0, 0]
    assert units[-1][1] > 1.97
    assert middle == pytest.approx([1023 / 2048, 1023 / 1024])  # of all
    assert f"of {len(units)} of 1024 units" in top.get_title()


def test_three_runs_that_none_surpasses_are_joined_to_a_curve() -> None:
    at = {"a": (1, 9), "b": (4, 5), "worse": (5, 7), "c": (9, 4)}
    runs = {name: {"test/rate": r, "test/distortion": d} for name, (r, d) in at.items()}
    (axes,) = rate_distortion(runs).axes
    assert axes.lines[-1].get_xydata().tolist() == [[1, 9], [4, 5], [9, 4]]
    many = {f"{n}": {"test/rate": n, "test/distortion": 9.0} for n in range(20)}
    (axes,) = rate_distortion(many).axes
    assert [text.get_text() for text in axes.texts] == ["0"]


def test_runs_lie_in_the_plane_each_on_the_line_of_its_elbo() -> None:
    runs = {
        "plain": {"test/rate": 1.0, "test/distortion": 9.0, "test/active_units": 2.0},
        "other": {"test/rate": 4.0, "test/distortion": 7.5, "val/rate": 0.0},
    }
    (axes,) = rate_distortion(runs).axes
    dots, lines = axes.lines[::2], axes.lines[1::2]
    assert [dot.get_xydata().tolist() for dot in dots] == [[[1, 9]], [[4, 7.5]]]
    assert [(line.get_xy1(), line.get_slope()) for line in lines] == [
        ((0, 10), -1),
        ((0, 11.5), -1),
    ]
    assert [text.get_text() for text in axes.texts] == ["plain: 2 active", "other"]
