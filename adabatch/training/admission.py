"""The split of a step's batch into micro-batches that fit in memory: each larger size is tried before it is used.

If a size does not fit on some rank, all ranks return to the last one that worked, with more accumulation: the
global batch stays what the schedule asked for. They agree by one all-reduce of a flag, on the steps where the
micro-batch grows and on no others.

How a size is tried must not hang the other ranks when one fails. In one process and under DDP, forward and
backward of a micro-batch communicate nothing while gradients are not synchronised, so that is what is run. Under
FSDP2 they do communicate; there, a block as large as the step's transient memory would become is allocated and
given back (on GPUs, where the allocator says what the last step took). What this misses, such as fragmentation,
ends the run with a message and an exit code of its own.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from adabatch.distributed.parallel import SHARDED, autocast, set_gradient_sync
from adabatch.model.language_model import language_model_loss
from adabatch.schedules import MicroBatchPlan
from adabatch.training.memory_guard import is_out_of_memory, reserve
from adabatch.training.run import Run

__all__ = ["plan_micro_batches"]


def plan_micro_batches(run: Run, length: int) -> MicroBatchPlan:
    """The split of the next batch, in micro-batches that fit; all ranks call it at the start of a step.

    Args:
        run: whose schedule has decided the batch.
        length: tokens of a sequence in this step; where they have grown, sizes are tried again.
    """
    memory, batch = run.memory, run.schedule.batch_size
    memory.lengthen(length)
    if run.micro_batching.micro_batch_limit != memory.limit:  # a resumed run
        run.micro_batching = replace(run.micro_batching, micro_batch_limit=memory.limit)
    plan = run.micro_batching.plan(batch)
    if memory.worked and plan.micro_batch > memory.worked:
        run.watchdog.at("trying a larger micro-batch")
        if run.ranks.sum(float(not _fits(run, plan.micro_batch, length)))[0]:
            memory.limit = memory.worked
            run.micro_batching = replace(run.micro_batching, micro_batch_limit=memory.limit)
            refused, plan = plan, run.micro_batching.plan(batch)
            _warn(run, refused, plan)
    memory.worked = max(memory.worked, plan.micro_batch)
    return plan


def _warn(run: Run, refused: MicroBatchPlan, plan: MicroBatchPlan) -> None:
    if run.ranks.is_main:
        limit, ranks = run.memory.limit, plan.world_size
        warnings.warn(
            f"a micro-batch of {refused.micro_batch} does not fit in memory: the batch of {plan.batch_size} is "
            f"now {ranks} ranks x {plan.accumulation} micro-batches of {plan.micro_batch}, and none will be "
            f"larger than {limit} (next time: --max-micro-batch {limit})",
            stacklevel=3,
        )


def _fits(run: Run, micro_batch: int, length: int) -> bool:
    """Whether this rank can take a micro-batch of this size; nothing of the trial is left behind."""
    sharded = run.settings.parallel.parallel in SHARDED
    try:
        if sharded:
            needed = run.memory.transient * micro_batch // run.memory.worked
            reserve(needed, run.ranks.device)
        else:
            _forward_and_backward(run, micro_batch, length)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        if not sharded:
            run.optimizer.zero_grad(set_to_none=True)
        if run.ranks.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _forward_and_backward(run: Run, micro_batch: int, length: int) -> None:
    """Two micro-batches of zeros, the second next to the first one's gradients, as while accumulating."""
    run.statistics.enable(False)
    model: nn.Module = run.model.module if isinstance(run.model, DistributedDataParallel) else run.model
    set_gradient_sync(run.model, False)
    tokens = torch.zeros((micro_batch, length), dtype=torch.int64, device=run.ranks.device)
    for _ in range(min(2, run.micro_batching.plan(run.schedule.batch_size).accumulation)):
        with autocast(run.settings.parallel, run.ranks):
            loss = language_model_loss(model, tokens)
        loss.backward()
