"""The training loop.

batch size b_k -> the next b_k samples -> J ranks x M micro-batches -> forward, backward -> each rank's squared
norms -> one all-reduce of two numbers -> moments -> norm test -> b_{k+1}; beside it the optimizer step, the
learning rate by samples seen, metrics, checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from adabatch.building import (
    build_layout,
    build_learning_rate,
    build_optimizer,
    build_schedule,
    build_statistics,
)
from adabatch.checkpoints import CheckpointSaver, choose_checkpoint
from adabatch.clipping import clip_gradients
from adabatch.coordinate_moments import CoordinateMoments
from adabatch.data import Corpus, group_positions, keep_tokenizer, open_corpus
from adabatch.guards import DivergenceGuard
from adabatch.learning_rate import LearningRate
from adabatch.memory_guard import MemoryGuard, admit
from adabatch.model import build_model, language_model_loss, model_config
from adabatch.parallel import Ranks, autocast, parallelize, set_gradient_sync
from adabatch.resuming import checkpoints_folder, resume_run, save_run
from adabatch.schedules import BatchPlan, BatchSizeSchedule, MicroBatching, NormTest
from adabatch.settings import Settings
from adabatch.statistics import GradientStatistics
from adabatch.validation import bits_per_byte, validation_loss
from adabatch.watchdog import Watchdog
from theory.gradient_moments import GradientMoments
from theory.norm_test import norm_test_statistic

__all__ = ["Record", "Run", "assemble_run", "open_run", "train", "training_step"]

Record = dict[str, Any]


@dataclass
class Run:
    """Everything that a step touches."""

    settings: Settings
    ranks: Ranks
    corpus: Corpus
    model: nn.Module
    optimizer: AdamW
    learning_rate: LearningRate
    layout: MicroBatching
    schedule: BatchSizeSchedule
    statistics: GradientStatistics
    guard: DivergenceGuard
    memory: MemoryGuard
    saver: CheckpointSaver
    watchdog: Watchdog
    resumed_from: Path | None = None

    @property
    def samples(self) -> int:
        """Samples seen."""
        return self.schedule.samples

    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.settings.run.samples


def train(run: Run) -> Iterator[Record]:
    """Train until the budget of samples is spent, yielding each step's record (the same on every rank)."""
    interval = run.settings.run
    with run.watchdog:
        while not run.finished():
            before = run.samples
            record = training_step(run)
            if _due(run, before, interval.validation_interval):
                record["val_loss"] = validation_loss(
                    run.model, run.corpus, run.settings, run.ranks, run.watchdog.at
                )
                record["val_bits_per_byte"] = bits_per_byte(record["val_loss"], run.corpus)
            yield record  # written before the checkpoint that follows it, so that a resumed run misses no record
            run.guard.stop_if_diverged(run.schedule.steps, run.saver.folder)
            if run.finished() or _due(run, before, interval.checkpoint_interval):
                run.watchdog.at("saving a checkpoint")
                save_run(run)
        run.saver.wait()


def training_step(run: Run) -> Record:
    """One optimizer step on the batch that the schedule asks for, and the schedule's next decision."""
    start, plan = time.perf_counter(), admit(run)
    measuring = run.schedule.needs_moments or _is_multiple(
        run.schedule.steps + 1, run.settings.run.monitor_interval
    )
    run.statistics.enable(measuring)
    rate = run.schedule.learning_rate(run.learning_rate)

    loss = accumulate_gradients(run, plan)
    moments = run.statistics.finish() if measuring else None
    squared_norm = moments.squared_norm if moments else run.statistics.gradient_squared_norm()
    if run.guard.accepts(loss, squared_norm):
        clip_gradients(run.model, math.sqrt(squared_norm), run.settings.optimizer.clip)
        optimizer_step(run.optimizer, rate)
        run.schedule.update(moments)
    else:
        moments = None  # neither optimizer step nor test, but the samples count as seen
        run.schedule.skip()
        if run.ranks.is_main:
            run.guard.warn(run.schedule.steps, loss, squared_norm)
    run.optimizer.zero_grad(set_to_none=True)
    return _record(run, plan, loss, rate, squared_norm, moments, time.perf_counter() - start)


def accumulate_gradients(run: Run, plan: BatchPlan) -> float:
    """Forward and backward of every micro-batch; the mean loss over all ranks."""
    total = torch.zeros((), dtype=torch.float64, device=run.ranks.device)
    run.watchdog.at("reading samples")
    for index, sequences in enumerate(take_step(run, plan)):
        run.watchdog.at("forward and backward")
        tokens = sequences.to(run.ranks.device, non_blocking=True)
        set_gradient_sync(run.model, run.settings.parallel.accumulation_sync or index == plan.accumulation - 1)
        with autocast(run.settings.parallel, run.ranks):
            loss = language_model_loss(run.model, tokens) / plan.accumulation
        loss.backward()
        run.statistics.end_microbatch(plan.micro_batch)
        total += loss.detach()
    return run.ranks.sum(float(total))[0] / run.ranks.world_size


def take_step(run: Run, plan: BatchPlan) -> Sequence[torch.Tensor]:
    """This rank's sequences of the step, int64 [micro_batch, L] for each micro-batch.

    They are taken at once, since the micro-batches' positions interleave and a stream is read forwards.
    """
    ranks = run.ranks
    positions = [
        position
        for index in range(plan.accumulation)
        for position in group_positions(
            run.samples,
            rank=ranks.data_parallel_rank,
            world_size=ranks.data_parallel_size,
            micro_batch_index=index,
            accumulation=plan.accumulation,
            micro_batch=plan.micro_batch,
        )
    ]
    micro_batches: Sequence[torch.Tensor] = run.corpus.train.take(positions).split(plan.micro_batch)
    return micro_batches


def optimizer_step(optimizer: AdamW, rate: float) -> None:
    """An AdamW step at this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def open_run(settings: Settings, ranks: Ranks) -> Run:
    """Build or resume a run; all ranks call it.

    Raises:
        ValueError: for whatever the settings get wrong.
    """
    if ranks.is_local_main:
        if settings.run.resume != "never":
            keep_tokenizer(settings.data, Path(settings.run.output))
        open_corpus(settings.data)  # prepares what is not prepared; the node's other ranks wait
    ranks.barrier()
    corpus = open_corpus(settings.data, prepare=False)
    if ranks.is_main:
        corpus.train.check_share(ranks.data_parallel_size)
    config = model_config(settings.model.model, corpus.vocabulary_size, settings.data.sequence_length)
    model = parallelize(build_model(config, settings.data.seed), settings.parallel, ranks)
    checkpoint = choose_checkpoint(settings.run.resume, checkpoints_folder(settings.run.output), ranks)
    layout = build_layout(settings.schedule, ranks.data_parallel_size, resumed=checkpoint is not None)
    run = assemble_run(settings, ranks, corpus, model, layout)
    if checkpoint is not None:
        resume_run(run, checkpoint)
    return run


def assemble_run(settings: Settings, ranks: Ranks, corpus: Corpus, model: nn.Module, layout: MicroBatching) -> Run:
    """A run at its beginning, from a wrapped model."""
    return Run(
        settings=settings,
        ranks=ranks,
        corpus=corpus,
        model=model,
        optimizer=build_optimizer(model, settings.optimizer),
        learning_rate=build_learning_rate(settings),
        layout=layout,
        schedule=build_schedule(settings, layout),
        statistics=build_statistics(model, settings),
        guard=DivergenceGuard(settings.run.max_skipped),
        memory=MemoryGuard(),
        saver=CheckpointSaver(
            checkpoints_folder(settings.run.output), ranks, settings.run.keep, settings.run.async_checkpoints
        ),
        watchdog=Watchdog(ranks, settings.parallel.timeout),
    )


def _record(
    run: Run,
    plan: BatchPlan,
    loss: float,
    rate: float,
    squared_norm: float,
    moments: GradientMoments | None,
    seconds: float,
) -> Record:
    """What metrics.jsonl keeps of a step; the batch is the one just used."""
    length = run.settings.data.sequence_length
    record: Record = {
        "step": run.schedule.steps,
        "samples": run.samples,
        "tokens": run.samples * length,
        "loss": loss,
        "lr": rate,
        "batch_size": plan.batch_size,
        "micro_batch": plan.micro_batch,
        "accumulation": plan.accumulation,
        "micro_batch_limit": run.memory.limit,
        "grad_norm": math.sqrt(squared_norm),
        "noise_trace": None,
        "grad_sq_norm": None,
        "test_statistic": None,
        "tokens_per_second": plan.batch_size * length / seconds,
        "batch_limited": _limited(run.schedule),
        "skipped": run.guard.skipped,
    }
    if moments is not None and plan.groups >= 2:
        record["noise_trace"] = moments.covariance_trace
        record["grad_sq_norm"] = moments.squared_norm
        record["test_statistic"] = _statistic(run, moments)
        record |= _of_coordinates(moments, run.settings.schedule.eta) | _of_parts(moments)
    return record


def _of_parts(moments: GradientMoments) -> Record:
    """Trace and squared norm of each part of the model, to six digits, where they were measured."""
    parts = {
        name: [float(f"{value:.6g}") for value in (part.covariance_trace, part.squared_norm)]
        for name, part in moments.parts.items()
    }
    return {"parts": parts} if parts else {}


def _statistic(run: Run, moments: GradientMoments) -> float:
    """What the schedule decided with if it tested, else T of this step at the settings' eta."""
    if isinstance(run.schedule, NormTest):
        test = run.schedule.last_test
        return test.statistic if test is not None else run.schedule.statistic(moments)
    schedule = run.settings.schedule
    return float(norm_test_statistic(moments, schedule.eta, schedule.estimator))


def _limited(schedule: BatchSizeSchedule) -> bool:
    """Whether the growth limit held back what this step's test asked for."""
    return isinstance(schedule, NormTest) and schedule.last_test is not None and schedule.last_test.limited


def _of_coordinates(moments: GradientMoments, eta: float) -> Record:
    """What the coordinates say, where they were measured."""
    if not isinstance(moments, CoordinateMoments):
        return {}
    dimensions = moments.effective_dimensions
    return {
        "sum_of_deviations": moments.sum_of_standard_deviations,
        "grad_l1_norm": moments.plug_in_l1_norm,
        "grad_l1_norm_conservative": moments.conservative_l1_norm,
        "noise_dimension": dimensions.noise,
        "gradient_dimension": dimensions.gradient,
        "coordinate_share": moments.coordinate_share(eta),
    }


def _due(run: Run, before: int, interval: int) -> bool:
    """Whether the step from ``before`` samples crossed a multiple of the interval, or was the last; 0 is never."""
    return interval > 0 and (run.finished() or run.samples // interval > before // interval)


def _is_multiple(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0
