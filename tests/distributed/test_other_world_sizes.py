"""A run resumes at another number of ranks, or sharded otherwise, from the same state with the same samples."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.distributed.tensor import DTensor

from adabatch.checkpoints.folders import complete_checkpoints
from adabatch.checkpoints.tensors import named_tensors
from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import Settings, load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.run import Run
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

MODEL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 264,
}

LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "single": (1, {"parallel": "single"}),
    "ddp 2": (2, {"parallel": "ddp"}),
    "fsdp 2": (2, {"parallel": "fsdp"}),
    "tensor parallel 2": (2, {"parallel": "fsdp", "tensor_parallel": 2}),
    "ddp 4": (4, {"parallel": "ddp"}),
    "fsdp 4": (4, {"parallel": "fsdp"}),
    "hsdp 2 x 2": (4, {"parallel": "hsdp"}),
    "fsdp 2 x tensor parallel 2": (4, {"parallel": "fsdp", "tensor_parallel": 2}),
}

SAVED = ("single", "ddp 2", "fsdp 4", "fsdp 2 x tensor parallel 2")

PAIRS = [
    *((saved, resumed) for saved in ("fsdp 4", "fsdp 2 x tensor parallel 2") for resumed in LAYOUTS),
    *(("single", resumed) for resumed in ("ddp 2", "tensor parallel 2", "fsdp 4", "hsdp 2 x 2")),
    *(("ddp 2", resumed) for resumed in ("single", "fsdp 2", "ddp 4", "fsdp 2 x tensor parallel 2")),
]
"""Saved, resumed. One process and DDP write the same, whole tensors: each layout reads one of the two."""

LOSS_TOLERANCE = 1e-5
"""Relative, as for the same run under every parallelism: sums are taken in another order."""


def settings_for(folder: str, layout: str, **changes: Any) -> Settings:
    """Four groups at the start for any number of ranks, so that all make the same batches."""
    size = {"initial_batch": 8, "micro_batch": 2, "max_micro_batch": 16, "max_batch": 32, "eta": 0.3}
    length = {"samples": 80, "warmup_samples": 16, "sequence_length": 16}
    times = {"validation_interval": 0, "checkpoint_interval": 40, "keep": 0}
    base = {"model": f"{folder}/model.json", "output": f"{folder}/{layout}", **size, **length, **times}
    return load_settings(overrides=base | LAYOUTS[layout][1] | changes)


def full_state(run: Run) -> dict[str, np.ndarray]:
    """Parameters and optimizer state, whole, by name."""
    tensors = {
        f"{part} {name}": tensor
        for part, named in named_tensors(run.model, run.optimizer).items()
        for name, tensor in named.items()
    }
    whole = {n: t.full_tensor() if isinstance(t, DTensor) else t for n, t in tensors.items()}
    return {name: tensor.detach().numpy().copy() for name, tensor in whole.items()}


def records_of(run: Run) -> tuple[list[dict[str, Any]], list[int]]:
    """The run's records to its end, and the positions that this rank took."""
    taken: list[int] = []
    take = run.corpus.train.take

    def recording(positions):
        taken.extend(positions)
        return take(positions)

    run.corpus.train.take = recording  # type: ignore[method-assign]
    names = ("step", "samples", "loss", "batch_size", "lr", "skipped")
    return [{name: record[name] for name in names} for record in train(run)], taken


def whole_run(rank: int, world_size: int, folder: str, layout: str) -> Any:
    """Train from the start, saving on the way."""
    settings = settings_for(folder, layout)
    ranks = DistributedContext(rank, world_size, tensor_parallel=settings.parallel.tensor_parallel)
    records, _ = records_of(open_run(settings, ranks))
    return records


def state_of(rank: int, world_size: int, folder: str, layout: str, path: str) -> Any:
    return full_state(_resumed(rank, world_size, folder, layout, path))


def resumed_run(rank: int, world_size: int, folder: str, layout: str, path: str, changes: dict[str, Any]) -> Any:
    """State, records, positions and warnings of a run that resumes from a checkpoint."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = _resumed(rank, world_size, folder, layout, path, **changes)
    state = full_state(run)
    records, taken = records_of(run)
    said = [str(warning.message) for warning in caught]
    return {"state": state, "records": records, "taken": taken, "said": said}


def _resumed(rank: int, world_size: int, folder: str, layout: str, path: str, **changes: Any) -> Run:
    output = f"{folder}/resumed {layout} {Path(path).parent.parent.name}"
    settings = settings_for(folder, layout, resume=path, output=output, checkpoint_interval=0, **changes)
    return open_run(
        settings, DistributedContext(rank, world_size, tensor_parallel=settings.parallel.tensor_parallel)
    )


def on_ranks(function, layout: str, folder: str, *arguments: Any) -> list[Any]:
    return run_ranks(function, LAYOUTS[layout][0], folder, layout, *arguments)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each saved layout's records, first checkpoint, and its state as the layout that saved it reads it."""
    folder = str(tmp_path_factory.mktemp("saved"))
    Path(folder, "model.json").write_text(json.dumps(MODEL))
    runs = {}
    for layout in SAVED:
        records = on_ranks(whole_run, layout, folder)[0]
        path = str(complete_checkpoints(Path(folder, layout, "checkpoints"))[0])
        runs[layout] = records, path, on_ranks(state_of, layout, folder, path)[0]
    return folder, runs


@pytest.mark.parametrize(("layout", "resumed"), PAIRS)
def test_the_state_is_equal_to_the_bit_and_the_run_goes_on(saved, layout, resumed):
    folder, runs = saved
    records, path, state = runs[layout]
    by_rank = on_ranks(resumed_run, resumed, folder, path, {})
    for result in by_rank:
        assert result["state"].keys() == state.keys()
        assert all(np.array_equal(result["state"][name], state[name]) for name in state)
        assert result["records"] == by_rank[0]["records"]
        assert result["said"] == []
    rest = by_rank[0]["records"]
    expected = [record for record in records if record["step"] >= rest[0]["step"]]
    begun = expected[0]["samples"] - expected[0]["batch_size"]
    assert 40 <= begun < records[-1]["samples"]
    taken = {position for result in by_rank for position in result["taken"]}
    assert taken == set(range(begun, records[-1]["samples"]))
    for ours, theirs in zip(rest, expected, strict=True):
        assert {n: v for n, v in ours.items() if n != "loss"} == {n: v for n, v in theirs.items() if n != "loss"}
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=LOSS_TOLERANCE)
    assert len({record["batch_size"] for record in records}) > 1


def test_the_state_that_is_compared_is_not_the_initial_one(saved):
    """A negative control: another moment of the same run differs in every parameter and moment."""
    folder, runs = saved
    state = runs["single"][2]
    settings = settings_for(folder, "single", output=f"{folder}/fresh", samples=16, lr=1e-3)
    run = open_run(settings, DistributedContext())
    list(train(run))
    other = {name: tensor for name, tensor in full_state(run).items() if not name.endswith(".step")}
    assert not any(np.array_equal(tensor, state[name]) for name, tensor in other.items())


def test_the_batch_is_rounded_to_what_the_new_ranks_make_and_says_so(saved):
    """Two groups at the start make batches of 2, 4, ...; four ranks make multiples of four only."""
    folder, _ = saved
    changes = {"initial_batch": 2, "micro_batch": 1, "schedule": "linear-ramp", "ramp_samples": 600}
    settings = settings_for(folder, "single", **changes, output=f"{folder}/odd", checkpoint_interval=8)
    records, _ = records_of(open_run(settings, DistributedContext()))
    wanted = {record["step"]: after["batch_size"] for record, after in itertools.pairwise(records)}
    paths = complete_checkpoints(Path(folder, "odd", "checkpoints"))[:-1]
    path = next(path for path in paths if wanted[int(path.name.removeprefix("step-"))] % 4)
    batch = wanted[int(path.name.removeprefix("step-"))]
    by_rank = on_ranks(resumed_run, "fsdp 4", folder, str(path), changes)
    realised = batch + 4 - batch % 4
    (line,) = by_rank[0]["said"]
    assert line.startswith(f"the batch of {batch} is rounded to {realised}: 4 ranks x 1 micro-batches of")
    assert all(result["said"] == [] for result in by_rank[1:])
    assert by_rank[0]["records"][0]["batch_size"] == realised
    assert all(record["batch_size"] % 4 == 0 for record in by_rank[0]["records"])
