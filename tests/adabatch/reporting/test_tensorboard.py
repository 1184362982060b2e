"""TensorBoard shows every step once: after kills and resumptions, next to foreign files, and while it watches."""

from __future__ import annotations

import os
import shutil
import time
from itertools import pairwise

import pytest

from adabatch.reporting.metrics import MetricsWriter, read_metrics, step_seconds
from adabatch.reporting.trackers import trackers_of
from adabatch.settings import load_settings
from adabatch.training.launch import launch

TRACKERS = trackers_of(load_settings(overrides={"tensorboard": True}), log=lambda line: None)

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def record(step, attempt=1):
    """Each attempt has losses of its own, so that it shows whose points are there."""
    samples, batch = (4 * step, 4) if step <= 100 else (400 + 8 * (step - 100), 8)
    return {
        "step": step,
        "samples": samples,
        "tokens": 16 * samples,
        "loss": float(attempt),
        "batch_size": batch,
        "tokens_per_second": 32.0 if step <= 100 else 64.0,  # two seconds per step
        "test_statistic": None if step % 2 else 5.0,
    }


def read(folder):
    return accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()


def points(folder, name="loss"):
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


def steps(first, last, attempt):
    return [(record(step)["samples"], float(attempt)) for step in range(first, last + 1)]


def write(writer, first, last, attempt):
    for step in range(first, last + 1):
        writer.write(record(step, attempt))


def test_killed_and_resumed_twice_it_shows_200_of_200_points(tmp_path):
    """Two kills, each after a checkpoint, the first one in the middle of what an event file was to get."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with MetricsWriter(first, trackers=TRACKERS) as writer:
        write(writer, 1, 120, attempt=1)
        shutil.copytree(first, second)  # killed at step 120
    (events,) = (second / "tensorboard").iterdir()
    os.truncate(events, events.stat().st_size * 2 // 3)
    assert 0 < len(points(second)) < 100
    with MetricsWriter(second, after_step=100, trackers=TRACKERS) as writer:
        write(writer, 101, 170, attempt=2)
        third = shutil.copytree(second, tmp_path / "third")  # killed at step 170
    with MetricsWriter(third, after_step=150, trackers=TRACKERS) as writer:
        write(writer, 151, 200, attempt=3)
    assert points(third) == steps(1, 100, 1) + steps(101, 150, 2) + steps(151, 200, 3)
    assert [step for step, _ in points(third)] == [line["samples"] for line in read_metrics(third)]
    assert [step for step, _ in points(third, "test_statistic")] == [
        record(k)["samples"] for k in range(2, 201, 2)
    ]
    assert len([path for path in (third / "tensorboard").iterdir() if path.stat().st_size]) == 1


def test_a_finished_run_that_is_resumed_shows_the_same(tmp_path):
    with MetricsWriter(tmp_path, trackers=TRACKERS) as writer:
        write(writer, 1, 20, attempt=1)
    with MetricsWriter(tmp_path, after_step=20, trackers=TRACKERS):
        pass
    assert points(tmp_path) == steps(1, 20, 1)


def test_an_attempt_without_tensorboard_is_shown_by_the_next_one(tmp_path):
    with MetricsWriter(tmp_path, trackers=TRACKERS) as writer:
        write(writer, 1, 20, attempt=1)
    with MetricsWriter(tmp_path, after_step=10) as writer:
        write(writer, 11, 30, attempt=2)
    with MetricsWriter(tmp_path, after_step=30, trackers=TRACKERS) as writer:
        write(writer, 31, 40, attempt=3)
    assert points(tmp_path) == steps(1, 10, 1) + steps(11, 30, 2) + steps(31, 40, 3)


def test_a_run_that_begins_again_shows_nothing_of_the_one_before(tmp_path):
    with MetricsWriter(tmp_path, trackers=TRACKERS) as writer:
        write(writer, 1, 20, attempt=1)
    with MetricsWriter(tmp_path, after_step=0, trackers=TRACKERS) as writer:
        write(writer, 1, 5, attempt=2)
    assert points(tmp_path) == steps(1, 5, 2)


def test_files_of_others_stay(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    foreign = [tmp_path / "tensorboard" / name for name in ("notes.txt", "events.out.tfevents.1.host.2.3")]
    for path in foreign:
        path.write_bytes(b"foreign")
    for _ in range(4):
        with MetricsWriter(tmp_path, trackers=TRACKERS) as writer:
            write(writer, 1, 3, attempt=1)
    assert all(path.read_bytes() == b"foreign" for path in foreign)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2 + 2  # one emptied, one in use


def test_a_tensorboard_that_watches_sees_the_run_go_back(tmp_path):
    with MetricsWriter(tmp_path, trackers=TRACKERS) as writer:
        write(writer, 1, 20, attempt=1)
    watching = read(tmp_path)
    assert len(watching.Scalars("loss")) == 20
    with MetricsWriter(tmp_path, after_step=10, trackers=TRACKERS) as writer:
        write(writer, 11, 15, attempt=2)
    shown = [(event.step, event.value) for event in watching.Reload().Scalars("loss")]
    assert shown == steps(1, 10, 1) + steps(11, 15, 2)


def test_times_of_the_steps_before_are_those_of_training_alone(tmp_path):
    assert step_seconds(record(7)) == step_seconds(record(107)) == 2.0
    with MetricsWriter(tmp_path, trackers=TRACKERS) as writer:
        write(writer, 1, 120, attempt=1)
    before = time.time()
    with MetricsWriter(tmp_path, after_step=120, trackers=TRACKERS):
        after = time.time()
    times = [event.wall_time for event in read(tmp_path).Scalars("loss")]
    assert before <= times[-1] <= after
    assert [late - early for early, late in pairwise(times)] == pytest.approx([2.0] * 119)


def test_a_run_resumed_from_a_checkpoint_in_its_middle(tmp_path):
    """The trainer itself: killed between two checkpoints, then resumed to its end."""

    def settings(**changes):
        small = {
            "model": "tiny",
            "schedule": "constant",
            "initial_batch": 4,
            "max_batch": 4,
            "sequence_length": 32,
        }
        small |= {"samples": 32, "warmup_samples": 4, "validation_interval": 0, "figures": False, "threads": 1}
        return load_settings(overrides=small | {"tensorboard": True, "output": str(tmp_path / "run")} | changes)

    assert launch(settings(checkpoint_interval=12)) == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000008")
    (folder,) = {path.parent for path in (tmp_path / "run" / "tensorboard").iterdir()}
    assert launch(settings(checkpoint_interval=12, resume="auto")) == 0
    assert [step for step, _ in points(folder.parent)] == list(range(4, 33, 4))
    assert launch(settings(samples=48, resume="auto", allow=("samples",))) == 0
    assert [step for step, _ in points(folder.parent)] == list(range(4, 49, 4))
