"""Runs of an experiment: where they are, and when they are finished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.run import CHANGEABLE, REPLAYED, ExperimentRun, digest
from adabatch.settings import Settings, load_settings, options, overlay
from tests.support.finished_runs import finish

SMALL = load_settings("comparison", overrides={"samples": 64})
FIELDS = {item.name: (section, item.name) for section, item, _ in options()}


def run_in(folder: Path, *needs: ExperimentRun, **overrides) -> ExperimentRun:
    return ExperimentRun("mine", folder, lambda: overlay(SMALL, overrides), needs)


def with_another_value(settings: Settings, name: str) -> Settings:
    """Settings in which this one differs, whether or not a run could have it."""
    section = getattr(settings, FIELDS[name][0])
    value = getattr(section, name)
    other = (
        (not value) if isinstance(value, bool) else value * 2 + 1 if isinstance(value, int | float) else "other"
    )
    changed = replace(section)
    object.__setattr__(changed, name, other)
    return replace(settings, **{FIELDS[name][0]: changed})


@given(st.sampled_from(sorted(FIELDS)))
def test_the_digest_tells_settings_apart_that_change_results(name):
    changed = with_another_value(SMALL, name)
    assert changed != SMALL
    assert (digest(changed) == digest(SMALL)) == (name in CHANGEABLE)


def test_what_is_changeable_is_a_setting():
    assert CHANGEABLE.issubset(FIELDS)
    assert not CHANGEABLE & {"samples", "seed", "lr", "precision", "threads", "micro_batch", "validation_interval"}


@pytest.mark.parametrize("name", REPLAYED)
def test_a_replayed_run_counts_by_its_name(name):
    at, moved, other = (overlay(SMALL, {name: place}) for place in ("/a/run-1", "/b/c/run-1", "/a/run-2"))
    assert digest(at) == digest(moved) != digest(other)


def test_the_folder_follows_the_settings(tmp_path):
    assert run_in(tmp_path).folder == run_in(tmp_path, keep=1).folder != run_in(tmp_path, seed=1).folder
    resolved = run_in(tmp_path, seed=1).resolved()
    assert (resolved.run.output, resolved.run.resume) == (str(run_in(tmp_path, seed=1).folder), "auto")
    assert resolved.data.seed == 1


def test_finished_at_the_last_sample(tmp_path):
    run = run_in(tmp_path)
    assert not run.finished()
    finish(run, share=0.5)
    assert not run.finished()
    finish(run)
    assert run.finished()


def test_what_is_finished_is_not_read_again(tmp_path):
    run = run_in(tmp_path)
    finish(run)
    assert run.finished()
    (run.folder / "metrics.jsonl").unlink()
    assert run.finished()
    assert not run_in(tmp_path).finished()


def test_a_run_waits_for_those_that_it_needs(tmp_path):
    first = run_in(tmp_path)
    second = run_in(tmp_path, first, seed=1)
    finish(second)
    assert not second.ready()
    assert not second.finished()
    finish(first)
    assert second.ready()
    assert second.finished()
