"""Runs that look finished, without training."""

from __future__ import annotations

import json
from collections.abc import Iterator

from adabatch.experiments.run import ExperimentRun


def batch_sizes(first: int, largest: int, samples: int) -> Iterator[int]:
    """Batches that grow from the first one by a sample each step, until all samples are seen."""
    while samples > 0:
        yield min(first, samples)
        samples -= first
        first = min(first + 1, largest)


def finish(run: ExperimentRun, loss: float | None = 1.0, share: float = 1.0) -> None:
    """Leave what a run leaves that ended with this loss, or that got to a share of its samples."""
    settings = run.settings()
    first, growing = settings.schedule.initial_batch, settings.schedule.schedule not in ("constant", "replay")
    sizes = list(batch_sizes(first, 2 * first if growing else first, settings.run.samples))
    records, samples = [], 0
    for step, size in enumerate(sizes[: max(1, round(share * len(sizes)))], start=1):
        samples += size
        records.append({"step": step, "samples": samples, "batch_size": size, "lr": 0.1})
    records[-1]["val_loss"] = loss
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
