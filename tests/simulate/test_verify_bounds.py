"""verify-bounds: settings are checked before anything runs, files are written, the exit code says the truth."""

import csv
import json

import pytest

from simulate.experiments.known import EXPERIMENTS, Experiment
from simulate.experiments.result import Result
from simulate.experiments.settings import Level
from simulate.laboratory.theorems import Theorem1
from simulate.outcomes import Assertion, Outcome
from simulate.verify_bounds import Settings, require_verdicts, resolve, verify_bounds


def _settings(tmp_path, **more):
    defaults = {"level": Level.QUICK, "experiments": ("sign-descent", "published-theorem")}
    return Settings(**{**defaults, "output": tmp_path / "out", **more})


def test_report_and_figures_are_written(tmp_path, capsys):
    assert verify_bounds(_settings(tmp_path), "adabatch verify-bounds") == 0
    out = tmp_path / "out"
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == [
        "figures/published_theorem.csv",
        "figures/published_theorem.pdf",
        "figures/published_theorem.png",
        "figures/sign_descent.csv",
        "report.html",
        "report.json",
    ]
    record = json.loads((out / "report.json").read_text())
    assert record["passed"] is True
    assert record["command"] == "adabatch verify-bounds"
    assert record["settings"]["seed"] == 0
    printed = capsys.readouterr().out
    assert "Theorem 1, sign descent" in printed
    assert "All 4 verdicts came out as they should." in printed


def test_a_claim_that_fails_gives_exit_code_1(tmp_path, monkeypatch, capsys):
    rightly = Theorem1.at
    monkeypatch.setattr(Theorem1, "at", lambda *given: rightly(*given) * 0.9)
    assert verify_bounds(_settings(tmp_path)) == 1
    assert json.loads((tmp_path / "out" / "report.json").read_text())["passed"] is False
    assert "1 of 4 verdicts did not.\n  Theorem 1, sign descent" in capsys.readouterr().out


def test_a_refutation_that_no_longer_refutes_gives_exit_code_1(tmp_path, monkeypatch):
    from simulate.experiments.audit.published_theorem import Counterexample

    monkeypatch.setattr(Counterexample, "published", Counterexample.corrected)
    assert verify_bounds(_settings(tmp_path)) == 1


def test_an_output_folder_is_replaced_only_if_asked_for(tmp_path):
    settings = _settings(tmp_path, experiments=("sign-descent",))
    verify_bounds(settings)
    out = tmp_path / "out"
    old = [out / "figures" / f"old{ending}" for ending in (".csv", ".png", ".pdf")]
    foreign = [
        out / "thesis.tex",
        out / "figures" / "photo.png",
        out / "report.json.bak",
        out / "more" / "report.html",
    ]
    (out / "more").mkdir()
    for file in (*old, *foreign):
        file.write_text(file.name)
    record = json.loads((out / "report.json").read_text())
    record["experiments"][0]["tables"] += ["figures/old.csv", "../thesis.csv"]
    (tmp_path / "thesis.csv").write_text("of another folder")
    (out / "report.json").write_text(json.dumps(record))
    with pytest.raises(
        ValueError, match=r"out exists; choose another --output, or give --overwrite to replace it"
    ):
        verify_bounds(settings)
    assert all(file.exists() for file in old)
    assert verify_bounds(_settings(tmp_path, experiments=("sign-descent",), overwrite=True)) == 0
    assert not any(file.exists() for file in old)
    assert [file.read_text() for file in foreign] == [file.name for file in foreign]
    assert (tmp_path / "thesis.csv").exists()


def test_a_folder_that_is_no_report_is_never_replaced(tmp_path):
    precious = tmp_path / "out" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ValueError, match="holds no earlier report; it is not replaced"):
        verify_bounds(_settings(tmp_path, overwrite=True))
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"experiments": 3}', '{"experiments": [{}]}'])
def test_a_file_of_the_same_name_is_no_report(tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text(content)
    with pytest.raises(ValueError, match="holds no earlier report; it is not replaced"):
        verify_bounds(_settings(tmp_path, overwrite=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"experiments": ("printed-theorem",)}, "was renamed: use --experiment published-theorem"),
        ({"experiments": ("slope",)}, "unknown experiment 'slope'; known: batch-demand, bounds, clipping"),
        ({"objectives": ("sphere",)}, "unknown objective 'sphere'; known: directional-huber, geman-mcclure"),
        ({"optimizers": ("lyon",)}, "unknown optimizer 'lyon'; known: adagrad, adam, adamw, amsgrad, lion, "),
        ({"eta": 0.96}, r"supremum of the admissible values is eta = 0\.955738"),
        ({"beta1": 0.9, "beta2": 0.999, "eta": 1.2}, r"supremum of the admissible values is eta = 0\.95975"),
        ({"eta": -0.1}, "eta >= 0"),
        ({"beta2": 1.5}, "take beta2 < 1"),
        ({"steps": 3}, "--steps must be at least 16, not 3"),
        ({"seeds": 0}, "--seeds must be at least 1, not 0"),
        ({"experiments": ("bounds",), "optimizers": ("sgd",)}, "nothing to run: bounds need --optimizer adam"),
    ],
)
def test_bad_input_is_found_before_anything_runs(tmp_path, monkeypatch, given, message):
    def fail(*_):
        raise AssertionError("an experiment was started")

    monkeypatch.setattr(Experiment, "run", fail)
    with pytest.raises(ValueError, match=message):
        verify_bounds(_settings(tmp_path, **{"experiments": (), **given}))
    assert not (tmp_path / "out").exists()


def test_results_without_a_verdict_are_an_error():
    full = Result("bounds", "", "", [Outcome("claim", "1 <= 2", (Assertion("claim", 1.0, "<=", 2.0),))])
    empty = Result("slopes", "", "", [], unchecked="no slope on quadratic")
    require_verdicts([full], Settings())
    require_verdicts([full, empty], Settings())  # of all experiments; the note about it is printed
    require_verdicts([full], Settings(experiments=("bounds",)))
    for results, asked, message in (
        ([], (), "no verdict of any experiment"),
        ([empty], (), r"no verdict of slopes \(no slope on quadratic\)"),
        ([full, empty], ("bounds", "slopes"), r"no verdict of slopes \(no slope on quadratic\)"),
        ([Result("bounds", "", "", [])], ("bounds",), r"no verdict of bounds \(no case applies\)"),
    ):
        with pytest.raises(ValueError, match=f"^nothing was checked: {message}$"):
            require_verdicts(results, Settings(experiments=asked))


def test_all_experiments_are_run_unless_some_are_asked_for(tmp_path):
    assert resolve(_settings(tmp_path, experiments=())) == tuple(EXPERIMENTS)
    without = resolve(_settings(tmp_path, experiments=(), optimizers=("sgd",)))
    assert set(EXPERIMENTS) - set(without) == {"bounds", "slopes"}


@pytest.mark.parametrize(
    "setting",
    [
        {"beta1": 0.9, "beta2": 0.999, "eta": 0.2},  # both theorems, Theorem 1 far from the sum
        {"beta1": 0.1, "beta2": 0.95, "eta": 0.94},  # Theorem 1 only
        {"beta1": 0.98, "beta2": 0.97, "eta": 0.1},  # Theorem 2 only
        {"eta": 0.0},
        {"optimizers": ("rmsprop",)},
    ],
)
def test_any_admissible_setting_can_be_asked_for(tmp_path, monkeypatch, setting):
    monkeypatch.setattr("simulate.verify_bounds._write", lambda *_: None)  # drawing takes longer than the bounds
    settings = _settings(
        tmp_path, experiments=("bounds",), objectives=("quadratic",), steps=32, seeds=1, **setting
    )
    assert verify_bounds(settings) == 0


def test_restricted_grid_runs_what_was_asked_for(tmp_path):
    settings = _settings(
        tmp_path,
        experiments=("bounds",),
        objectives=("quadratic",),
        beta1=0.5,
        beta2=0.9,
        eta=0.3,
        steps=64,
        seeds=2,
    )
    verify_bounds(settings)
    rows = list(csv.DictReader((tmp_path / "out" / "figures" / "ratios.csv").open()))
    assert {row["objective"] for row in rows} == {"quadratic"}
    assert {row["setting"] for row in rows} == {"(0.5, 0.9), eta 0.3"}
    assert max(int(row["K"]) for row in rows) == 64
