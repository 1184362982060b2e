"""Experiments at once and one after the other give the same; an interrupted call continues where it was."""

from __future__ import annotations

import pickle
import shutil
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress

from simulate import running
from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.pieces import Pieces
from simulate.experiments.settings import Level, Settings
from simulate.kept import KeptResults, unpickled
from simulate.laboratory import sign_descent
from simulate.running import run_experiments
from simulate.verify_bounds import verify_bounds

NAMES = ("sign-descent", "rmsprop", "schedule-limit")
QUIET = Console(quiet=True)


def settings(tmp_path, **more):
    return Settings(level=Level.QUICK, experiments=NAMES, output=tmp_path / "out", **more)


def plain(results):
    return [(r.name, r.summary, r.outcomes, {n: t.columns for n, t in r.tables.items()}) for r in results]


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path):
    own = settings(tmp_path)
    one, _ = run_experiments(NAMES, own, 1, KeptResults(None, ""), QUIET)
    two, seconds = run_experiments(NAMES, own, 2, KeptResults.of(own), QUIET)
    assert plain(one) == plain(two)
    assert list(seconds) == list(NAMES)
    kept = [KeptResults.of(own).read(name) for name in NAMES]
    assert plain(result for result, _ in kept) == plain(one)
    assert [KeptResults.of(own).count(name) for name in NAMES] == [3, 2, 39]


def test_an_interrupted_call_continues_where_it_was(tmp_path, monkeypatch, capsys):
    run, ran = running._timed, []

    def interrupted(name, *rest):
        ran.append(name)
        if ran.count("rmsprop") == 1 and name == "rmsprop":
            raise KeyboardInterrupt
        return run(name, *rest)

    monkeypatch.setattr(running, "_timed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_bounds(settings(tmp_path))
    assert not (tmp_path / "out").exists()
    assert verify_bounds(settings(tmp_path)) == 0
    assert ran == ["sign-descent", "rmsprop", "rmsprop", "schedule-limit"]
    assert "Kept from an earlier start: sign-descent." in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_pieces_of_an_interrupted_experiment_are_kept(tmp_path, monkeypatch, capsys):
    rightly, asked = sign_descent._row, []

    def interrupted(objective, steps):
        asked.append(steps)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return rightly(objective, steps)

    own = Settings(level=Level.QUICK, experiments=("sign-descent",), output=tmp_path / "out")
    monkeypatch.setattr(sign_descent, "_row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_bounds(own)
    kept = KeptResults.of(own)
    kept.write("sign-descent-0", (kept.read("sign-descent-0")[0], 1000.0))
    (resumed,), seconds = run_experiments(("sign-descent",), own, 1, kept, Console())
    assert asked == [10, 100, 100, 1000]
    assert "Kept from an earlier start: 1 piece of sign-descent." in capsys.readouterr().out
    assert seconds["sign-descent"] > 1000
    assert plain([resumed]) == plain([sign_descent.run(own, Pieces())])


def test_time_left_is_told_by_what_this_start_computes(monkeypatch, capsys):
    """Of 300 s of work 150 are kept and 25 take 70 s here: the other 125 will take 350."""
    clock = iter([0.0, 5.0, 70.0])
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with Progress(console=Console(), disable=True) as progress:
        bar = running._Bar(progress, {"bounds": 200.0, "slopes": 100.0})
        bar.advance("bounds", 0.75, kept=True)
        bar.advance("bounds", 0.125, kept=False)
    assert capsys.readouterr().out == "58%, 0:05:50 left: bounds 88%\n"


@pytest.mark.parametrize("change", [{"seed": 1}, {"level": Level.DEFAULT}, {"steps": 99}])
def test_results_of_other_settings_are_not_taken(tmp_path, change):
    own = settings(tmp_path)
    assert KeptResults.of(own).key == KeptResults.of(settings(tmp_path, against=tmp_path)).key
    other = Settings(**{**vars(own), **change})
    assert KeptResults.of(other).key != KeptResults.of(own).key


def test_results_of_your_own_code_are_not_kept(tmp_path):
    kept = KeptResults.of(settings(tmp_path, objectives=("mine.py:Steep",)))
    kept.write("rmsprop", (None, 1.0))
    assert kept.read("rmsprop") is None
    assert list(tmp_path.iterdir()) == []


class Harmful:
    def __reduce__(self):
        return eval, ("1 / 0",)


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", pickle.dumps(Harmful()), pickle.dumps((1, 2)), pickle.dumps(3)],
)
def test_a_file_that_is_no_result_is_left_alone(tmp_path, content):
    kept = KeptResults(tmp_path, "key")
    (tmp_path / "rmsprop-key.pickle").write_bytes(content)
    assert kept.read("rmsprop") is None


def test_a_function_by_way_of_a_module_of_results_is_refused():
    content = b"\x80\x04\x8c\x0dsimulate.kept\x8c\x0dshutil.rmtree\x93."
    assert pickle.loads(content) is shutil.rmtree
    with pytest.raises(pickle.UnpicklingError, match="does not belong to a result"):
        unpickled(content)


def test_a_failure_in_a_process_is_reported(tmp_path):
    names = ("sign-descent", "bounds")
    own = Settings(level=Level.QUICK, objectives=("no-such",), output=tmp_path / "out")
    with pytest.raises(ValueError, match="no-such"):
        run_experiments(names, own, 2, KeptResults(None, ""), QUIET)


def test_weights_order_what_is_run_at_a_time():
    assert max(EXPERIMENTS, key=lambda name: EXPERIMENTS[name].by_default) == "bounds"
