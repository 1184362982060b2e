"""The training loop.

batch size b_k -> the next b_k samples -> J ranks x M micro-batches -> forward, backward -> each rank's scalars
(squared norms, loss) -> one all-reduce (per mesh dimension) and one transfer to the host -> moments -> the
schedule's decision -> b_{k+1}, and with it the learning rate and all that moves with the batch; next to it the
optimizer step, metrics, checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from adabatch.data.mixture import Mixture, shuffled
from adabatch.data.order import group_positions
from adabatch.distributed.parallel import autocast, set_gradient_sync
from adabatch.model.language_model import language_model_loss
from adabatch.reporting.metrics import AT_START, Record
from adabatch.schedules import MicroBatchPlan
from adabatch.statistics.clipping import clip_gradients
from adabatch.training.admission import plan_micro_batches
from adabatch.training.checkpointing import save_run
from adabatch.training.optimizers import optimizer_step
from adabatch.training.records import step_record
from adabatch.training.run import Run
from adabatch.training.validation import validate

__all__ = ["accumulate_gradients", "next_batch", "train", "training_step"]


def train(run: Run) -> Iterator[Record]:
    """Train until the budget is spent, the run is stopped or it needs other ranks, yielding each step's record.

    The records are the same on every rank.
    """
    interval = run.settings.run
    with run.watchdog:
        at_start = validate(run) if interval.validate_at_start and not run.schedule.steps else {}
        while not run.finished():
            before = run.samples
            record = training_step(run)
            if at_start:
                record[AT_START], at_start = at_start, {}
            if _due(run, before, interval.validation_interval):
                record |= validate(run)
            yield record  # written before the checkpoint that follows it, so that a resumed run misses no record
            if run.guard.diverged:
                run.saver.wait()  # it may be the last good checkpoint
                run.guard.stop(run.schedule.steps, run.saver.folder)
            stop, by_the_clock = run.stopping.agreed, run.stopping.checkpoint_due
            due = run.finished() or _due(run, before, interval.checkpoint_interval)
            resize, loss = run.next_ranks() != run.ranks.world_size, record.get("val_loss")
            if run.is_lowest(loss) or stop or resize or by_the_clock or due:
                run.watchdog.at("saving a checkpoint")
                save_run(run, loss)
                run.stopping.saved()
            if stop or resize:
                break
        run.saver.wait()


def training_step(run: Run) -> Record:
    """One optimizer step on the batch that the schedule asks for, and the schedule's next decision."""
    start, step = time.perf_counter(), run.coupling.next_step(run.schedule)
    plan = plan_micro_batches(run, step.sequence_length)
    run.memory.begin_step(run.ranks.device)
    monitoring = _is_multiple(run.schedule.steps + 1, run.settings.run.monitor_interval)
    run.statistics.enable(run.schedule.needs_moments or monitoring)
    run.matrix_noise.enable(monitoring and plan.groups >= 2)

    loss_share = accumulate_gradients(run, plan, step.sequence_length)
    reduced = run.statistics.reduce_step(loss_share, *run.stopping.wishes(), run.clock.share())
    loss_sum, stop, save, last_seconds = reduced.sums
    loss, squared_norm = loss_sum / run.ranks.world_size, reduced.squared_norm
    run.stopping.agree(stop, save)
    run.clock.deliver(run.schedule, last_seconds)
    accepted = run.guard.accepts(loss, squared_norm)
    run.coupling.advance(step, skipped=not accepted)
    more: Record = {}
    if accepted:
        more = _nuclear_noise(run, plan)  # of the gradients before they are clipped
        clip_gradients(run.model, math.sqrt(squared_norm), run.settings.optimizer.clip)
        optimizer_step(run.optimizer, step)
        decision = run.schedule.update(reduced.moments)
    else:  # neither optimizer step nor test, but the samples count as seen
        decision = run.schedule.skip()
        if run.ranks.is_main:
            run.guard.warn(run.schedule.steps, loss, squared_norm)
    run.optimizer.zero_grad(set_to_none=True)
    run.memory.end_step(run.ranks.device)
    seconds = time.perf_counter() - start
    run.clock.stop(seconds, plan, step.sequence_length, taken=accepted)
    return step_record(run, plan, loss, step, reduced, decision, seconds) | more


def accumulate_gradients(run: Run, plan: MicroBatchPlan, length: int) -> torch.Tensor:
    """Forward and backward of every micro-batch; this rank's mean loss, a scalar on its device."""
    total = torch.zeros((), dtype=torch.float64, device=run.ranks.device)
    run.watchdog.at("reading samples")
    for index, sequences in enumerate(next_batch(run, plan, length)):
        run.watchdog.at("forward and backward")
        tokens = sequences.to(run.ranks.device, non_blocking=True)
        set_gradient_sync(run.model, run.settings.parallel.accumulation_sync or index == plan.accumulation - 1)
        with autocast(run.settings.parallel, run.ranks):
            loss = language_model_loss(run.model, tokens) / plan.accumulation
        loss.backward()
        run.statistics.end_microbatch(plan.micro_batch, loss_scale=1.0)  # bf16 needs no GradScaler
        total += loss.detach()
    return total


def next_batch(run: Run, plan: MicroBatchPlan, length: int) -> Sequence[torch.Tensor]:
    """This rank's sequences of the step, cut to their first ``length`` tokens, int64 [micro_batch, length] each.

    They are taken at once, since the micro-batches' positions interleave and a stream is read forwards.
    """
    samples, step = run.corpus.train, range(run.samples, run.samples + plan.batch_size)
    groups = group_positions(run.samples, run.ranks.data_parallel_rank, plan)
    positions = [position for group in groups for position in group]
    if isinstance(samples, Mixture):
        positions = shuffled(positions, step.start, plan.batch_size, run.settings.data.seed)
    readers = samples.readers(step, run.ranks.data_parallel_size)
    if readers is None:
        taken = samples.take(positions)[:, :length]
    else:
        taken = _exchanged(run, step, readers, length)[[position - step.start for position in positions]]
    micro_batches: Sequence[torch.Tensor] = taken.split(plan.micro_batch)
    return micro_batches


def _exchanged(run: Run, step: range, readers: npt.NDArray[np.int64], length: int) -> torch.Tensor:
    """All samples of a step, int64 [batch, length]: each rank reads its share and sends it to the others."""
    own = np.flatnonzero(readers == run.ranks.data_parallel_rank)
    taken = run.corpus.train.take([step[place] for place in own])[:, :length].to(torch.int32)
    by_rank = run.ranks.gather(taken)[:: run.ranks.tensor_parallel]  # teams of tensor-parallel ranks read alike
    order = readers.argsort(kind="stable")
    return torch.cat(by_rank)[torch.from_numpy(order.argsort())].long()


def _nuclear_noise(run: Run, plan: MicroBatchPlan) -> Record:
    """What the record has of the noise in some of Muon's matrices, where it was looked at."""
    if not run.matrix_noise.enabled:
        return {}
    return {"nuclear_noise_scale": run.matrix_noise.read(plan.groups, plan.micro_batch, plan.accumulation)}


def _due(run: Run, before: int, interval: int) -> bool:
    """Whether the step from ``before`` samples crossed a multiple of the interval, or was the last; 0 is never."""
    return interval > 0 and (run.finished() or run.samples // interval > before // interval)


def _is_multiple(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0
