"""What the benchmark of trainers times: the same batches in each loop, and differences between two lengths."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import trainer_speed

    return trainer_speed


@pytest.fixture
def job(speed, tmp_path):
    (tmp_path / "corpus.txt").write_text("All that is gold does not glitter.\n" * 500)
    sizes, _ = speed.SIZES["134k"]
    job = speed.Job(sizes | speed.MODEL, str(tmp_path / "corpus.txt"), 2, 2, 32, 1)
    (tmp_path / "job.json").write_text(json.dumps(asdict(job)))
    (tmp_path / "config.json").write_text(json.dumps(job.config | {"model_type": "llama"}))
    return job


def test_every_loop_gets_the_same_micro_batches(job):
    first, again = list(job.sequences(3)), list(job.sequences(3))
    assert len(first) == 6
    assert {tuple(tokens.shape) for tokens in first} == {(2, 32)}
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not any(a.equal(b) for a, b in zip(first, job.sequences(3, rank=1), strict=True))


@pytest.mark.slow
def test_the_trainer_takes_the_steps_and_batches_of_the_job(speed, job, tmp_path):
    words = speed.contenders(job, tmp_path, "")["adabatch, norm test at every step"](3)
    cost = speed.timed(words, tmp_path)
    assert cost.cpu > 0
    assert cost.memory > 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if "batch_size" in record]
    assert [record["batch_size"] for record in steps] == [4, 4, 4]
    assert all(record["noise_trace"] > 0 and record["decision"] != "not tested" for record in steps)


def test_a_loop_that_fails_says_what_it_printed(speed, tmp_path):
    with pytest.raises(RuntimeError, match="no such loop"):
        speed.timed([sys.executable, "-c", "raise SystemExit('no such loop')"], tmp_path)
