"""Figures: drawn from their CSV, the same file for the same table, by functions that return axes."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report import figures
from simulate.report.figures.style import GREY


def _convergence():
    return Table.of_rows(
        {
            "objective": name,
            "setting": setting,
            "K": k,
            "mean": k**-0.5,
            "low": 0.9 * k**-0.5,
            "high": 1.1 * k**-0.5,
            "theorem_1": float("nan") if setting.endswith("0.5") else 20 * k**-0.5,
            "theorem_2": 10 * k**-0.5,
        }
        for name in ("rastrigin", "network")
        for setting in ("(0.9, 0.95), eta 0.2", "(0.9, 0.95), eta 0.5")
        for k in (16, 64, 256)
    )


def _ratio_map():
    rows = []
    for plane, ys, fixed in (("betas", (1e-3, 1e-2, 1e-1), 0.2), ("eta", (0.1, 0.5, 0.9), 0.95)):
        for theorem in ("Theorem 1", "Theorem 2"):
            for beta1 in (0.0, 0.4, 0.8):
                rows += [
                    {
                        "plane": plane,
                        "theorem": theorem,
                        "beta1": beta1,
                        "y": y,
                        "fixed": fixed,
                        "ratio": float("nan") if y == 0.9 else 3 + beta1 + y,
                    }
                    for y in ys
                ]
    return Table.of_rows(rows)


def _sizes(k):
    row = {"problem": "noisy", "K": k, "population": 128, "miss_rate": 0.1}
    for test in ("coordinate_wise", "norm_wise", "estimated"):
        row |= {test: 20.0, f"{test}_low": 10.0, f"{test}_high": 40.0}
    return row


def _bias(workers, batch):
    names = [f"{kind}_{name}" for kind in ("statistic", "median") for name in ("paper", "unbiased", "debiased")]
    values = {"published_exact": 0.1, "published_mean": 0.1, "unbiased_mean": 1.0}
    return {"workers": workers, "batch_size": batch, **values, **dict.fromkeys(names, 50.0 + batch)}


TABLES = {
    "attack": Table.of_rows(
        {"part": part, "step": 1, "w": w, "to": w - 0.1, "gradient": w, "probability": 0.5}
        for part in ("function", "step")
        for w in (-1.0, 0.0, 1.0)
    ),
    "plane": Table.of_rows(
        {"method": m, "rule": r, "capacity": c, "source": s, "ratio": 1.0 + c * s}
        for m in ("sgd", "adam-like")
        for r in ("constant 1", "ramp")
        for c in (1.0, 2.0)
        for s in (1.0, 1.5, 2.0)
    ),
    "studies": Table.of_rows(
        {"objective": o, "noise": "gaussian", "optimizer": p, "bound": b, "K": k, "measured": 2.0 * k}
        | {"low": 1.9 * k, "high": 2.1 * k, "value": 5.0 * k, "ratio": 2.5}
        for o in ("rastrigin", "quadratic", "network")
        for p, b in (("adam", "guarantee"), ("lion", "no bound"))
        for k in (1, 4, 16)
    ),
    "convergence": _convergence(),
    "ratios": Table.of_rows(
        {"theorem": t, "setting": "(0, 0.9), eta 0.5", "step_factor": f, "ratio": 10.0 * f + 2}
        for t in ("Theorem 1", "Theorem 2")
        for f in (0.1, 1.0)
    ),
    "ratio_map": _ratio_map(),
    "published_theorem": Table.of_rows(
        {"counterexample": "steep", "K": k, "measured": float(k), "published_bound": 50.0, "corrected_bound": 1e4}
        for k in (10, 100, 1000)
    ),
    "scalar_test": Table.of_rows(
        {"test": t, "batch_size": 3, "step": k, "a_dot_w": 1.0 + k}
        for t in ("scalar", "coordinate-wise", "l1")
        for k in range(5)
    ),
    "clipping": Table.of_rows(
        {"clipped": c, "seed": s, "step": k, "a_dot_w": 3.0 - k}
        for c in (True, False)
        for s in (0, 1)
        for k in range(4)
    ),
    "rmsprop": Table.of_rows(
        {"eta": eta, "K": k, "mean": 1.0 / k, "low": 0.5 / k, "high": 2.0 / k}
        for eta in (1.5, 0.9)
        for k in (1, 2, 4)
    ),
    "batch_demand": Table.of_rows(_sizes(k) for k in (1, 2, 4)),
    "estimator_bias": Table.of_rows(_bias(workers, batch) for workers in (2, 4) for batch in (16, 64)),
    "schedule_limit": Table.of_rows(
        {"power": power, "rho": rho, "searched": 0.9, "closed_form": 1 - 0.1 / power, "roofline": 1.0}
        for power in (1.0, 2.0)
        for rho in (0.1, 1.0, 10.0)
    ),
    "exchange": Table.of_rows(
        {"task": task, "limit": limit, "price": 0.01 * place, "steps": 0.3 + 0.1 * place}
        for task in ("noisy", "clean")
        for place, limit in enumerate(("none", "trace, eta 2", "weighted, eta 2"))
    ),
    "samples": Table.of_rows(
        {"panel": panel, "curve": curve, "x": x, "measured": 2.0 / x, "bound": 3.0 / x}
        for panel, curves in (
            ("hyperbola", ("steps", "samples", "steps, attained", "samples, attained")),
            *((panel, ("one", "two")) for panel in ("eta", "square", "gain", "tail", "measured")),
        )
        for curve in curves
        for x in (0.5, 1.0)
    ),
    "rules_and_optimum": Table.of_rows(
        {"method": method, "rule": rule, "ratio": ratio}
        for method in ("sgd", "adam-like")
        for rule in ("constant", "norm test")
        for ratio in (1.0, 1.1, 1.5)
    ),
}


def test_there_is_an_example_of_every_figure():
    assert set(TABLES) == set(figures.FIGURES)
    assert all(recipe.caption.endswith(".") for recipe in figures.FIGURES.values())


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_can_be_drawn_again_from_its_csv(name, tmp_path):
    written = figures.save_figures({name: TABLES[name]}, tmp_path / "one")
    assert written[name].read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    again = Table.read_csv(tmp_path / "one" / f"{name}.csv")
    assert list(again.columns) == list(TABLES[name].columns)
    with mpl.rc_context(figures.STYLE):
        figures.draw(name, again).savefig(tmp_path / "two.png", dpi=200, metadata={"Software": None})
    assert written[name].read_bytes() == (tmp_path / "two.png").read_bytes()


def test_what_is_plotted_is_the_table(tmp_path):
    axes = Figure().subplots()
    assert figures.convergence.plot_convergence(TABLES["convergence"], axes, "rastrigin") is axes
    drawn = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    assert np.allclose(drawn[0], [0.25, 0.125, 0.0625])
    bounds = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--" and line.get_color() != GREY]
    assert np.allclose(bounds[0], [2.5, 1.25, 0.625])  # the smaller of the two theorems
    guide = next(line.get_ydata() for line in axes.lines if line.get_color() == GREY)
    assert np.isclose(guide[0] / guide[-1], 4.0)  # slope -1/2 over a factor of 16


def test_plot_functions_return_their_axes():
    plots = {
        "ratios": (figures.convergence.plot_ratios, "Theorem 1"),
        "published_theorem": (figures.refutations.plot_published_theorem, "steep"),
        "scalar_test": (figures.refutations.plot_scalar_test,),
        "clipping": (figures.refutations.plot_clipping,),
        "rmsprop": (figures.refutations.plot_divergence,),
        "batch_demand": (figures.batches.plot_batch_demand, "noisy"),
        "estimator_bias": (figures.batches.plot_estimator_bias,),
        "schedule_limit": (figures.schedules.plot_schedule_limit,),
        "exchange": (figures.schedules.plot_exchange, "price"),
        "rules_and_optimum": (figures.schedules.plot_rules, "adam-like"),
        "samples": (figures.samples.plot_samples, "tail"),
    }
    for name, (plot, *arguments) in plots.items():
        axes = Figure().subplots()
        assert plot(TABLES[name], axes, *arguments) is axes, name
    axes = Figure().subplots()
    assert figures.batches.plot_statistic(TABLES["estimator_bias"], axes, workers=4, eta=0.2) is axes
    returned, mesh = figures.ratio_map.plot_ratio_map(
        TABLES["ratio_map"], Figure().subplots(), "Theorem 2", "eta", LogNorm(1, 10)
    )
    assert isinstance(returned, Axes)
    assert np.isnan(np.ma.filled(mesh.get_array(), np.nan)).sum() == 3  # one row of the map has no bound


def test_unknown_figure_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown figure 'rates'; known: attack, batch_demand, clipping"):
        figures.draw("rates", TABLES["ratios"])


def test_tables_without_a_figure_are_only_written_as_csv(tmp_path):
    assert figures.save_figures({"numbers": Table({"a": [1, 2]})}, tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.csv"]


def test_table_columns():
    table = Table.of_rows([{"a": 1, "b": "x"}, {"a": np.float64(2.5), "b": "y"}])
    assert table.rows() == [{"a": 1, "b": "x"}, {"a": 2.5, "b": "y"}]
    assert len(table.where(b="y")) == 1
    with pytest.raises(ValueError, match="unknown column 'c'; known are: a, b"):
        table["c"]
    with pytest.raises(ValueError, match="equal length"):
        Table({"a": [1], "b": []})
