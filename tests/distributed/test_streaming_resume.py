"""A run on a stream or a mixture, saved by some ranks and resumed by others: the same samples and losses."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import Settings, load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

PHASES = ((4, 8), (2, 16), (1, 10**6))
"""Ranks, and the step that they train up to."""

MIXTURE = {"repeat_sources": True, "document_mask": True, "micro_batch": 2, "samples": 240}

KINDS = {"stream": {}, "mixture": MIXTURE | {"streaming": False}, "mixed streams": MIXTURE | {"stream_shards": 6}}
"""Of these six shards four ranks cannot have equal parts."""


def settings_of(folder: str, output: str, ranks: int, kind: str) -> Settings:
    changes = KINDS[kind]
    if kind != "stream":
        changes = changes | {"data": [f"{folder}/texts:0.7", f"{folder}/others:0.3"]}
    return load_settings(
        "demo",
        overrides={
            "data": [f"{folder}/texts"],
            "streaming": True,
            "shuffle_buffer": 64,
            "stream_shards": 8,
            "sequence_length": 32,
            "schedule": "linear-ramp",
            "initial_batch": 8,
            "max_batch": 24,
            "ramp_samples": 300,
            "micro_batch": 1,
            "samples": 400,
            "warmup_samples": 16,
            "validation_interval": 0,
            "checkpoint_interval": 64,
            "resume": "auto",
            "cache": f"{folder}/cache",
            "output": f"{folder}/{output}",
            "parallel": "ddp" if ranks > 1 else "single",
            **changes,
        },
    )


def train_up_to(rank: int, world_size: int, folder: str, output: str, step: int, kind: str) -> dict:
    """Train on to a step; the losses, what this rank took and the shards it opened."""
    run = open_run(settings_of(folder, output, world_size, kind), DistributedContext(rank, world_size))
    taken, take = {}, run.corpus.train.take

    def recording(positions):
        sequences = take(positions)
        taken.update(zip(positions, sequences.tolist(), strict=True))
        return sequences

    run.corpus.train.take = recording
    records = list(itertools.takewhile(lambda r: r["step"] <= step, train(run)))
    return {
        "losses": {record["samples"]: record["loss"] for record in records},
        "sources": {record["samples"]: record.get("samples_by_source") for record in records},
        "taken": taken,
        "opened": {
            (number, shard)
            for number, source in enumerate(getattr(run.corpus.train, "sources", [run.corpus.train]))
            for shard in getattr(source, "_open", ())
        },
    }


@pytest.mark.parametrize("kind", KINDS)
def test_four_ranks_then_two_then_one(tmp_path, kind):
    for folder, count in (("texts", 40), ("others", 6)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            text = "".join(f"{json.dumps({'line': j, 'file': i})}\n" for j in range(20 + i))
            (tmp_path / folder / f"{i:02}.txt").write_text(text if folder == "texts" else text.upper())
    torch.set_num_threads(1)
    whole = train_up_to(0, 1, str(tmp_path), "whole", 10**6, kind)
    taken: dict = {}
    losses: dict = {}
    for ranks, step in PHASES:
        arguments = (str(tmp_path), "resumed", step, kind)
        results = run_ranks(train_up_to, ranks, *arguments) if ranks > 1 else [train_up_to(0, 1, *arguments)]
        opened = [result["opened"] for result in results]
        shards = {"stream": 8, "mixture": 0, "mixed streams": 12}[kind]
        assert sum(map(len, opened)) == len(set().union(*opened)) == shards  # no shard on two ranks
        for result in results:
            taken |= result["taken"]
            losses |= result["losses"]
    assert set(whole["taken"]) == set(taken)
    assert whole["taken"] == taken
    if kind != "stream":
        assert [sum(counts.values()) for counts in whole["sources"].values()] == list(whole["sources"])
        for samples, counts in whole["sources"].items():
            assert abs(counts["texts"] - 0.7 * samples) < 1
            first = [row for position, row in whole["taken"].items() if position < samples]
            capitals = sum(any(65 <= token < 91 for token in row) for row in first)
            assert abs(capitals - 0.3 * samples) < 1
    assert set(losses) == set(whole["losses"])
    for samples, loss in whole["losses"].items():
        assert losses[samples] == pytest.approx(loss, rel=1e-5), samples
