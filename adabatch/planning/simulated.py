"""The trainer's own step on tensors without memory, in a world of any size that is not there.

The model is built on the meta device, wrapped as always, and given fake tensors; torch's fake process group
answers every collective. What the step then does (:func:`adabatch.training.loop.training_step`) is what it does in
earnest, so that the collectives and the live memory counted here are the ones to come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from types import SimpleNamespace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from adabatch.data.corpus import Corpus
from adabatch.distributed.communication import CommunicationCounter, Traffic
from adabatch.distributed.parallel import DistributedContext, parallelize
from adabatch.distributed.watchdog import Watchdog
from adabatch.planning.memory import GATHERED, UNDECIDED, LiveMemory
from adabatch.schedules import MicroBatching
from adabatch.settings import Settings
from adabatch.training.checks import Start
from adabatch.training.loop import training_step
from adabatch.training.opening import assemble_run
from adabatch.training.run import Run

__all__ = ["SimulatedStep", "fake_world", "observe_steps", "simulate_steps"]


@dataclass(frozen=True)
class SimulatedStep:
    """What one step did.

    Attributes:
        traffic: by collective.
        memory: bytes of each part at the peak of forward and backward, on one rank.
    """

    traffic: dict[str, Traffic]
    memory: dict[str, int]


@contextmanager
def fake_world(world_size: int) -> Iterator[None]:
    """A process group of this size in which every collective is answered at once by nobody."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def simulate_steps(
    settings: Settings, config: LlamaConfig, layouts: Sequence[MicroBatching]
) -> list[SimulatedStep]:
    """A test step of each layout, on rank 0 of a run that is under way.

    Args:
        settings: of the run; ``compile`` is left out, which changes neither collectives nor gradients.
        config: of the model.
        layouts: J, M and m; at least two groups each if the run tests. ``max_micro_batch`` is taken for m.
    """
    length, parallel = settings.data.sequence_length, replace(settings.parallel, compile=False, device="cpu")
    ranks = DistributedContext(0, parallel.ranks, tensor_parallel=parallel.tensor_parallel)
    with fake_world(parallel.ranks):
        with torch.device("meta"):
            model = LlamaForCausalLM(config)
        replicated = parallel.parallel == "ddp"
        wrapped = parallelize(model, replace(parallel, parallel="single") if replicated else parallel, ranks)
        if replicated:
            wrapped = _ReplicatedByHand(wrapped)
        with FakeTensorMode(allow_non_fake_inputs=True), _Numbers():
            wrapped.to_empty(device="cpu")
            if isinstance(wrapped, _ReplicatedByHand):
                wrapped.make_buckets()
            samples = SimpleNamespace(
                take=lambda positions: torch.zeros(len(positions), length, dtype=torch.int64)
            )
            corpus = cast(Corpus, SimpleNamespace(train=samples, validation=None))
            planned = _of_batch(replace(settings, parallel=parallel), layouts[-1])
            run = assemble_run(planned, ranks, corpus, wrapped, Start.of(planned), layouts[-1])
            return observe_steps(run, layouts)


def observe_steps(run: Run, layouts: Sequence[MicroBatching]) -> list[SimulatedStep]:
    """Take a step, then one of each layout, and report what these did. The run's tensors may be real ones."""
    memory = LiveMemory(GATHERED)
    memory.watch([*run.model.parameters(), *run.model.buffers()], "weights")
    if isinstance(run.model, _ReplicatedByHand):
        memory.watch(run.model.buckets, "gradients")
    with memory, _Phases(run, memory) as phases:
        _simulate_step(run, layouts[0])
        states = [value for state in run.optimizer.state.values() for value in state.values()]
        memory.watch(states, "optimizer")
        steps = []
        for layout in layouts:
            memory.part = UNDECIDED
            memory.forget_peak()
            with CommunicationCounter() as counter:
                _simulate_step(run, layout)
            steps.append(SimulatedStep(counter.traffic, phases.at_peak))
    return steps


def _simulate_step(run: Run, layout: MicroBatching) -> None:
    """A test step with the given batch; the schedule's own decision is overwritten."""
    run.micro_batching = layout
    run.schedule.batch_size = _batch(layout)
    run.schedule.steps = run.settings.schedule.test_interval - 1
    training_step(run)


def _batch(layout: MicroBatching) -> int:
    return layout.world_size * layout.accumulation * layout.max_micro_batch


def _of_batch(settings: Settings, layout: MicroBatching) -> Settings:
    """The settings with a schedule that starts at this layout's batch, below its maximum if it measures."""
    schedule = settings.schedule
    changed = replace(schedule, initial_batch=_batch(layout), max_batch=1000 * _batch(layout))
    return replace(settings, schedule=changed)


class _Phases:
    """Tells the memory what is being computed: it stands where the run's watchdog stood, and hooks the model."""

    def __init__(self, run: Run, memory: LiveMemory) -> None:
        self.memory = memory
        self.at_peak: dict[str, int] = {}
        self.handles = [
            run.model.register_forward_pre_hook(lambda *_: self._begin("activations")),
            run.model.register_forward_hook(lambda *_: self._begin(UNDECIDED)),
            run.optimizer.register_step_pre_hook(lambda *_: self._end_of_backward()),
        ]
        run.watchdog = cast(Watchdog, self)

    def at(self, name: str) -> None:
        """A micro-batch begins: what the ones before it have left are gradients."""
        if self.memory.part == UNDECIDED:
            self.memory.decide("gradients")

    def _begin(self, part: str) -> None:
        if self.memory.part != GATHERED:  # the first step makes what stays
            self.memory.part = part

    def _end_of_backward(self) -> None:
        self.memory.decide("gradients")
        self.at_peak = self.memory.peak_by_part()

    def __enter__(self) -> _Phases:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


class _ReplicatedByHand(DistributedDataParallel):
    """What DDP's reducer does, in Python: the reducer reads memory that fake tensors do not have."""

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self.module = module
        self.process_group = dist.distributed_c10d._get_default_group()
        self.require_backward_grad_sync = self._buffers_due = True
        self.buckets: list[Tensor] = []

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The module's own; buffers are broadcast once per step."""
        if self._buffers_due:
            dist.broadcast(torch.cat([buffer.flatten() for buffer in self.module.buffers()]), src=0)
        self._buffers_due = self.require_backward_grad_sync
        return self.module(*inputs, **named)

    def make_buckets(self) -> None:
        """Lay gradients out as DDP does: in reverse order, a small bucket first, then buckets of 25 MiB."""
        parameters = [p for p in self.module.parameters() if p.requires_grad][::-1]
        limits = [dist._DEFAULT_FIRST_BUCKET_BYTES, 25 * 2**20]
        assignment, _ = dist._compute_bucket_assignment_by_size(parameters, limits)
        for indices in assignment:
            members = [parameters[index] for index in indices]
            bucket = torch.empty(sum(p.numel() for p in members), dtype=members[0].dtype)
            self.buckets.append(bucket)
            is_last = cycle([False] * (len(members) - 1) + [True])
            for parameter in members:
                parameter.register_post_accumulate_grad_hook(partial(self._arrived, bucket, is_last))

    def _arrived(self, bucket: Tensor, is_last: Iterator[bool], parameter: Tensor) -> None:
        """All-reduce a bucket when its last gradient is there."""
        if next(is_last) and self.require_backward_grad_sync:
            dist.all_reduce(bucket)


class _Numbers(TorchDispatchMode):
    """What is read off a tensor that has no numbers: sums in fp64 are 0 (as of a gradient that vanishes, which all
    checks let pass), and anything else, such as the optimizer's count of steps, is 1.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0 if args[0].dtype == torch.float64 else 1
        return func(*args, **(kwargs or {}))
