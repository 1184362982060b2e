"""Reports that were written before: read back, compared, redrawn; what is damaged is named in a line."""

import json
import os
import shutil

import matplotlib.image
import pytest

from simulate.experiments.settings import Level, Settings
from simulate.laboratory.theorems import Theorem1
from simulate.report.comparison import changes, compare
from simulate.report.redrawing import redraw
from simulate.report.saved import SavedReport
from simulate.verify_bounds import verify_bounds


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A small report with two figures."""
    folder = tmp_path_factory.mktemp("reports") / "report"
    chosen = ("sign-descent", "rmsprop", "schedule-limit")
    assert verify_bounds(Settings(level=Level.QUICK, experiments=chosen, output=folder)) == 0
    return folder


@pytest.fixture
def damaged(report, tmp_path):
    """A copy to damage."""
    return shutil.copytree(report, tmp_path / "damaged")


def test_figures_are_redrawn_as_they_were(report, tmp_path, adabatch):
    printed = adabatch.output("plot", report, "--output", tmp_path / "drawn")
    names = [f"{name}.{kind}" for name in ("rmsprop", "schedule_limit") for kind in ("pdf", "png")]
    assert sorted(os.listdir(tmp_path / "drawn")) == names
    assert printed.count("figure: ") == 4
    for name in names:
        assert (tmp_path / "drawn" / name).read_bytes() == (report / "figures" / name).read_bytes(), name


def test_size_format_and_style(report, tmp_path, adabatch):
    (tmp_path / "mine.mplstyle").write_text("figure.dpi: 50\nfont.family: DejaVu Sans\n")
    words = ["plot", report, "--style", tmp_path / "mine.mplstyle", "--output", tmp_path / "drawn"]
    adabatch.output(*words, "--size", "6.8", "--format", "png", "--format", "svg")
    height, width, _ = matplotlib.image.imread(tmp_path / "drawn" / "rmsprop.png").shape
    assert (width, height) == (340, 240)  # at its own proportions, 3.4 x 2.4
    assert b"DejaVu" in (tmp_path / "drawn" / "rmsprop.svg").read_bytes()
    assert not (tmp_path / "drawn" / "rmsprop.pdf").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "gif"], "unknown format 'gif'; known: png, pdf, svg"),
        (["--size", "wide"], "'wide' is not a size: give a width in inches"),
        (["--size", "0.1"], "'0.1' is not a size"),
        (["--size", "4x400"], "'4x400' is not a size"),
        (["--style", "none.mplstyle"], "no file none.mplstyle: name a style sheet of matplotlib (--style)"),
        (
            ["--style", "bad.mplstyle"],
            "bad.mplstyle is not a style sheet of matplotlib (--style): Bad key font.sise",
        ),
        (
            ["--style", "binary.mplstyle"],
            "binary.mplstyle is not a style sheet of matplotlib (--style): ",
        ),
        (["--against", "step"], "--against is for runs"),
        (["other"], "is a report of verify-bounds: name it alone"),
    ],
)
def test_bad_looks_are_one_line(report, tmp_path, monkeypatch, adabatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.mplstyle").write_text("font.sise: 3\n")
    (tmp_path / "binary.mplstyle").write_bytes(bytes(range(256)))
    adabatch.refuses(message, "plot", report, *words)
    assert not (tmp_path / "runs").exists()


def _shorten(folder):
    file = folder / "figures" / "rmsprop.csv"
    file.write_text(file.read_text()[:-50])


def _other_version(folder):
    record = json.loads((folder / "report.json").read_text())
    del record["format"]
    (folder / "report.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shorten, "rmsprop.csv, line 25: "),
        (
            lambda folder: (folder / "figures" / "rmsprop.csv").unlink(),
            "rmsprop.csv is missing: the report lists it",
        ),
        (
            lambda folder: (folder / "figures" / "rmsprop.csv").write_text(""),
            "rmsprop.csv is not a table of verify",
        ),
        (
            lambda folder: (folder / "figures" / "rmsprop.csv").write_bytes(b"\xff\xfe"),
            "rmsprop.csv is not a table of",
        ),
        (
            lambda folder: shutil.copy(
                folder / "figures" / "schedule_limit.csv", folder / "figures" / "rmsprop.csv"
            ),
            "rmsprop.csv is not the table of the figure 'rmsprop': unknown column 'eta'",
        ),
        (
            lambda folder: (folder / "figures" / "rmsprop.csv").write_text("eta,K,mean,low,high\nx,y,z,u,v\n"),
            "rmsprop.csv is not the table of the figure 'rmsprop': ",
        ),
        (_other_version, "is a report of another version (adabatch 0.1.0, format None; here format 1 is read)"),
        (
            lambda folder: (folder / "report.json").write_text("{"),
            "report.json is not a report of verify-bounds, or",
        ),
        (
            lambda folder: (folder / "report.json").write_text("[]"),
            "report.json is not a report of verify-bounds, or",
        ),
    ],
)
def test_a_damaged_report_is_one_line(damaged, adabatch, tmp_path, damage, message):
    damage(damaged)
    adabatch.refuses(message, "plot", damaged, "--output", tmp_path / "drawn")


def test_a_report_without_figures_and_a_folder_without_a_report(adabatch, tmp_path):
    words = ["verify-bounds", "--quick", "--experiment", "sign-descent", "--output"]
    adabatch.output(*words, tmp_path / "plain")
    adabatch.refuses("has no figures: none of its experiments draws one", "plot", tmp_path / "plain")
    adabatch.refuses("no report in", *words, tmp_path / "new", "--against", tmp_path)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="no report in"):
        redraw(tmp_path, tmp_path / "drawn")


def test_a_report_next_to_itself_is_the_same(report):
    saved = SavedReport.read(report)
    found = compare(saved, {**saved.settings, "output": "elsewhere"}, saved.verdicts)
    assert found.changes == ()
    assert found.conclusion == "6 verdicts are in both. Their verdicts, ratios and slopes are the same."


def test_slopes_are_compared_with_their_intervals():
    slope = {"value": -0.5, "low": -0.6, "high": -0.4}
    before = {"claim": {"outcome": "holds", "ratio": None, "slope": slope}}
    wider = {"claim": {"outcome": "holds", "ratio": None, "slope": {**slope, "high": -0.3}}}
    without = {"claim": {"outcome": "holds", "ratio": None, "slope": None}}
    assert list(changes(before, before)) == []
    (change,) = changes(before, wider)
    assert str(change) == "claim, slope: -0.500 [-0.600, -0.400] -> -0.500 [-0.600, -0.300]"
    (change,) = changes(before, without)
    assert (change.what, change.after) == ("slope", "–")


def test_a_constant_that_changed_is_seen(report, tmp_path, monkeypatch, capsys):
    """Theorem 1's bound a tenth smaller: its ratio changes, its tight case fails, and nothing else does."""
    rightly = Theorem1.at
    monkeypatch.setattr(Theorem1, "at", lambda *given: rightly(*given) * 0.9)
    chosen = ("sign-descent", "rmsprop")
    settings = Settings(level=Level.QUICK, experiments=chosen, output=tmp_path / "new", against=report, seed=0)
    assert verify_bounds(settings) == 1
    printed = capsys.readouterr().out
    assert "3 verdicts are in both. " in printed
    assert "Theorem 1, sign descent, verdict: holds -> FAILED" in printed
    before = SavedReport.read(report).verdicts["Theorem 1, sign descent"]["ratio"]
    after = SavedReport.read(tmp_path / "new").verdicts["Theorem 1, sign descent"]["ratio"]
    assert f"Theorem 1, sign descent, ratio: {before:.6g} -> {after:.6g}" in printed
    assert "RMSProp, eta" not in printed.partition("are in both")[2]
    assert "experiments, setting: sign-descent, rmsprop, schedule-limit -> sign-descent, rmsprop" in printed
    assert "Limit of batch schedules, verdict: holds -> –" in printed
    page = (tmp_path / "new" / "report.html").read_text()
    assert "<td>Theorem 1, sign descent</td><td>verdict</td>" in page
