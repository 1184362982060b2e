"""Divergence: what is counted, when a run stops, which checkpoint is named."""

import itertools
import json
import math

import pytest

from adabatch.training.divergence import DivergenceGuard, TrainingDivergedError


def checkpoint(folder, step, complete=True):
    path = folder / f"step-{step:08d}"
    path.mkdir()
    if complete:
        (path / "complete.json").write_text("{}")
    return path


def fail(guard, times):
    assert not any(guard.accepts(math.nan, 1.0) for _ in range(times))


def test_only_steps_in_a_row_stop_a_run():
    guard = DivergenceGuard(limit=2)
    for step in range(1, 20):
        guard.accepts(math.inf if step % 3 else 1.0, 1.0)
        assert not guard.diverged
    assert guard.skipped == 13


def test_the_checkpoint_named_was_followed_by_a_good_step(tmp_path):
    for step in (10, 20, 25, 30):
        checkpoint(tmp_path, step, complete=step != 20)
    guard = DivergenceGuard(limit=3)
    fail(guard, 3)
    assert not guard.diverged
    fail(guard, 1)
    assert guard.diverged
    with pytest.raises(TrainingDivergedError) as stopped:
        guard.stop(29, tmp_path)  # steps 26 to 29 failed on what step 25 left
    assert "4 steps in a row, up to step 29" in str(stopped.value)
    assert f"--resume {tmp_path / 'step-00000010'}" in str(stopped.value)


def test_no_checkpoint_and_no_limit(tmp_path):
    guard = DivergenceGuard(limit=0)
    fail(guard, 100)
    assert not guard.diverged
    guard.limit = 1
    assert guard.diverged
    with pytest.raises(TrainingDivergedError, match="there is no checkpoint"):
        guard.stop(100, tmp_path)


def test_counts_survive_a_checkpoint():
    guard, other = DivergenceGuard(limit=5), DivergenceGuard(limit=5)
    fail(guard, 4)
    other.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert other == guard


@pytest.mark.parametrize(("loss", "norm"), list(itertools.product([1.0, math.nan, math.inf], [1.0, math.inf])))
def test_both_loss_and_gradient_count(loss, norm):
    assert DivergenceGuard(1).accepts(loss, norm) == (math.isfinite(loss) and math.isfinite(norm))
