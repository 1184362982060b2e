"""How far an experiment is, by hand."""

from __future__ import annotations

from adabatch.experiments.progress import Progress, Work
from adabatch.experiments.run import ExperimentRun
from adabatch.settings import Settings, overlay


def run_of(samples: int) -> ExperimentRun:
    return ExperimentRun(f"of-{samples}", None, lambda: overlay(Settings(), {"samples": samples}))


def test_larger_runs_count_for_more():
    """100 samples took 30 s: the 700 that are left take 210 s one after the other, 70 s three at once."""
    runs = [run_of(samples) for samples in (100, 200, 500)]
    progress = Progress(Work.of(runs))
    assert (progress.count(), progress.left(3)) == ("0 of 3 runs", "")
    progress.add(runs[0], 30.0)
    assert (progress.count(), progress.left(3)) == ("1 of 3 runs", "; about 70 s left")
    assert progress.left(1) == "; about 4 min left"
    progress.add(runs[1], 30.0)
    assert progress.left(1) == "; about 2 min left"  # 0.2 s for a sample now
    progress.add(runs[2], 1.0)
    assert (progress.count(), progress.left(1)) == ("3 of 3 runs", "")


def test_what_was_finished_before_says_nothing_about_time():
    runs = [run_of(100), run_of(100)]
    progress = Progress(Work(9, 900, at_most=True), {runs[0]})
    assert (progress.count(), progress.left(1)) == ("1 of at most 9 runs", "")
    progress.add(runs[1], 10.0)
    assert (progress.count(), progress.left(1)) == ("2 of at most 9 runs", "; about 70 s left")
    progress.planned = Work(3, 300)
    assert (progress.count(), progress.left(1)) == ("2 of 3 runs", "; about 10 s left")
