"""What the records of a run say of Theorem 3, for ``adabatch covers``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from adabatch.checkpoints.compatibility import saved_progress
from adabatch.checkpoints.folders import complete_checkpoints
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings

__all__ = ["after_the_run"]

NEEDED = ("sum_of_deviations", "grad_l1_norm_conservative", "grad_l1_norm")


def after_the_run(run: Path | None, settings: Settings, records: Sequence[Record], dimension: int) -> list[str]:
    """The certificate a posteriori, as lines: its ratio, hypothesis by hypothesis, its bound; or what it needs.

    Args:
        run: its folder; None: there is no run, and nothing to say.
        settings: of the run.
        records: of its steps.
        dimension: number of parameters.
    """
    from theory.samples.a_posteriori import RecordedRun, a_posteriori_report

    if run is None or not records:
        return []
    measured = [record for record in records if all(record.get(name) is not None for name in NEEDED)]
    if not measured:
        return [
            "a posteriori: no step has coordinate statistics from below; train with --monitor-coordinates, "
            "--monitor-interval 1, --l1-denominator conservative and --coordinate-stride 1"
        ]
    optimizer, schedule = settings.optimizer, settings.schedule
    first = records[0] if records[0].get("grad_l1_norm") is not None else {}
    described = RecordedRun(
        beta1=optimizer.beta1,
        beta2=optimizer.beta2,
        epsilon=optimizer.epsilon,
        bias_correction=optimizer.bias_correction,
        weight_decay=optimizer.weight_decay,
        clip=optimizer.clip,
        warmup=optimizer.warmup_samples,
        learning_rates=[float(record["lr"]) for record in records],
        constant_beta2=optimizer.beta2_half_life == 0,
        skipped=sum(record.get("decision") == "skipped" for record in records),
        repeated=not _seen_once(run, int(records[-1]["samples"])),
        fewest_groups=min(int(record["batch_size"]) // int(record["micro_batch"]) for record in measured),
        every_coordinate=schedule.coordinate_stride == 1,
        dimension=dimension,
        deviations=[float(r["sum_of_deviations"]) / math.sqrt(r["batch_size"]) for r in measured],
        l1_norms=[float(record["grad_l1_norm_conservative"]) for record in measured],
        first_gradient=float(first.get("grad_l1_norm", math.nan)),
        first_loss=float(records[0]["loss"]),
    )
    return a_posteriori_report(described)


def _seen_once(run: Path, samples: int) -> bool:
    """Whether the training set has at least as many samples as the run has taken; False where it is not known."""
    for path in reversed(complete_checkpoints(run / "checkpoints")):
        epoch = saved_progress(path)["corpus"].get("train", {}).get("samples")
        return isinstance(epoch, int) and samples <= epoch
    return False
