"""The trainer's own step on tensors without memory, in a world of any size that is not there.

The model is built on the meta device, wrapped as always, and given fake tensors; torch's fake process group
answers every collective. What the step then does (:func:`adabatch.training.loop.training_step`) is what it does in
earnest, so that the collectives and the live memory counted here are the ones to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedConfig

from adabatch.data.corpus import Corpus
from adabatch.data.samples import SampleSource
from adabatch.distributed.communication import Collective, CommunicationCounter, Traffic
from adabatch.distributed.parallel import DistributedContext, parallelize
from adabatch.distributed.watchdog import Watchdog
from adabatch.model.document_mask import mask_documents
from adabatch.model.language_model import new_model
from adabatch.model.layers import decoder_layers
from adabatch.planning.memory import GATHERED, UNDECIDED, LiveMemory
from adabatch.schedules import MicroBatching
from adabatch.settings import Settings
from adabatch.training.checks import Start
from adabatch.training.loop import training_step
from adabatch.training.opening import assemble_run
from adabatch.training.run import Run

__all__ = ["SimulatedStep", "bucket_indices", "fake_world", "simulate_steps"]


@dataclass(frozen=True)
class SimulatedStep:
    """What one step did.

    Attributes:
        traffic: by collective and its ranks.
        repeated: the part of it that a micro-batch more would add; empty where there was one only.
        peaks: bytes of each part when all together were most, on one rank, by phase of forward and backward: the
            embedding, each layer, the head, and the moment when the layers' backward pass begins (``turn``).
    """

    traffic: dict[Collective, Traffic]
    repeated: dict[Collective, Traffic]
    peaks: dict[str, dict[str, int]]


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
    settings: Settings, config: PreTrainedConfig, layouts: Sequence[MicroBatching]
) -> list[SimulatedStep]:
    """A test step of each layout, on rank 0 of a run: the first of the run, whose memory grows, and those after.

    Args:
        settings: of the run; ``compile`` is left out, which changes neither collectives nor gradients.
        config: of the model.
        layouts: J, M and m; at least two groups each if the run tests. ``max_micro_batch`` is taken for m.

    Returns:
        What each step did; the optimizer's state counts from the second step on.
    """
    length, parallel = settings.data.sequence_length, replace(settings.parallel, compile=False, device="cpu")
    ranks = DistributedContext(0, parallel.ranks, tensor_parallel=parallel.tensor_parallel)
    with fake_world(parallel.ranks):
        with torch.device("meta"):
            model = new_model(config)
        if settings.data.document_mask:
            mask_documents(model, end=0)
        replicated = parallel.parallel == "ddp"
        wrapped = parallelize(model, replace(parallel, parallel="single") if replicated else parallel, ranks)
        if replicated:
            wrapped = _ReplicatedByHand(wrapped)
        memory = _Observer(GATHERED)
        with FakeTensorMode(allow_non_fake_inputs=True), memory:
            wrapped.to_empty(device="cpu")
            model.tie_weights()  # which memory of its own for each name has undone
            if isinstance(wrapped, _ReplicatedByHand):
                wrapped.make_buckets()
            corpus = cast(Corpus, SimpleNamespace(train=_NoSamples(length), validation=None))
            planned = _of_batch(replace(settings, parallel=parallel), layouts[-1])
            run = assemble_run(planned, ranks, corpus, wrapped, Start.of(planned), layouts[-1])
            return _observe_steps(run, layouts, memory)


class _NoSamples(SampleSource):
    """Sequences of zeros."""

    length = None

    def __init__(self, sequence_length: int) -> None:
        self._sequence_length = sequence_length

    def take(self, positions: Sequence[int] | range) -> torch.Tensor:
        """See :class:`SampleSource`."""
        return torch.zeros(len(positions), self._sequence_length, dtype=torch.int64)

    def describe(self) -> dict[str, Any]:
        """See :class:`SampleSource`."""
        return {}


def _observe_steps(run: Run, layouts: Sequence[MicroBatching], memory: _Observer) -> list[SimulatedStep]:
    """Take a step of each layout, and report what these did."""
    memory.watch([*run.model.parameters(), *run.model.buffers()], "weights")
    if isinstance(run.model, _ReplicatedByHand):
        memory.watch(run.model.buckets, "gradients")
    steps = []
    with _Phases(run, memory) as phases:
        for layout in layouts:
            memory.counter, phases.micro_batches = CommunicationCounter(), 0
            _simulate_step(run, layout)
            traffic = _added(memory.counter.collectives, phases.of_optimizer)
            steps.append(SimulatedStep(traffic, phases.repeated, phases.peaks))
            states = [value for state in run.optimizer.state.values() for value in state.values()]
            memory.watch(states, "optimizer")
            memory.part = UNDECIDED
            memory.forget_peaks()
    return steps


def _added(first: dict[Collective, Traffic], second: dict[Collective, Traffic]) -> dict[Collective, Traffic]:
    return {kind: first.get(kind, Traffic()) + second.get(kind, Traffic()) for kind in {**first, **second}}


def _simulate_step(run: Run, layout: MicroBatching) -> None:
    """A test step with the given batch; the schedule's own decision is overwritten."""
    run.micro_batching = layout
    run.memory.worked = layout.max_micro_batch  # a size that is new would be tried first
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

    def __init__(self, run: Run, memory: _Observer) -> None:
        self.memory, self.micro_batches = memory, 0
        self.repeated: dict[Collective, Traffic] = {}
        self.peaks: dict[str, dict[str, int]] = {}
        self.of_optimizer: dict[Collective, Traffic] = {}
        self._in_forward, self._last = False, ""
        self.handles = [
            run.model.register_forward_pre_hook(lambda *_: self._begin_forward()),
            run.model.register_forward_hook(lambda *_: self._end_forward()),
        ]
        layers = decoder_layers(getattr(run.model, "module", run.model))
        for number, layer in enumerate(layers):
            self.handles += [
                layer.register_forward_pre_hook(partial(self._enter_layer, number), with_kwargs=True),
                layer.register_forward_hook(partial(self._leave_layer, number)),
            ]
        run.watchdog = cast(Watchdog, self)
        self._step: Callable[[], object] = run.optimizer.step
        run.optimizer.step = self._end_of_backward  # type: ignore[method-assign]

    def at(self, name: str) -> None:
        """A micro-batch begins: what the ones before it have left are gradients."""
        if self.memory.part == UNDECIDED:
            self.memory.decide("gradients")
        if name != "forward and backward":
            return
        if self.micro_batches <= 1:  # DDP's broadcast is once per step
            seen = self.memory.counter.collectives if self.micro_batches else {}
            self.repeated = {kind: counted for kind, counted in seen.items() if kind.kind != "broadcast"}
        self.micro_batches += 1

    def _begin(self, part: str) -> None:
        if self.memory.part != GATHERED:  # the first step makes what stays
            self.memory.part = part

    def _begin_forward(self) -> None:
        self._in_forward, self.memory.phase = True, "embedding"
        self._begin("activations")

    def _end_forward(self) -> None:
        self._in_forward = False
        self._begin(UNDECIDED)

    def _enter_layer(self, number: int, _: nn.Module, inputs: Any, named: Any) -> None:
        if not self._in_forward:  # computed again in the backward pass
            return
        self.memory.phase = f"forward {number}"
        if number == 0:
            self._begin_backward_at([*inputs, *named.values()], "embedding, backward")

    def _leave_layer(self, number: int, _: nn.Module, inputs: Any, output: Any) -> None:
        if self._in_forward:
            self.memory.phase = "head"
            self._begin_backward_at(tree_leaves(output), f"backward {number}")
            self._last = f"backward {number}"

    def _begin_backward_at(self, values: Sequence[Any], phase: str) -> None:
        """The phase begins when the gradient of the first of these that has one is there."""

        def begin(_: Tensor) -> None:
            if phase == self._last:
                self.memory.phase = "turn"
                self.memory.look()
            self.memory.phase = phase

        values = [value for value in values if isinstance(value, Tensor) and value.requires_grad]
        values[0].register_hook(begin)

    def _end_of_backward(self) -> None:
        """In place of the optimizer's step, which is taken once: then its state is there.

        One that communicates is taken once more, since from then on its state is gathered too.
        """
        self.memory.decide("gradients")
        self.peaks = self.memory.peaks()
        if self.memory.part != GATHERED:
            return
        counter = self.memory.counter
        for _ in range(2):
            self.memory.counter = CommunicationCounter()
            self._step()
            if not self.memory.counter.collectives:
                break
        self.of_optimizer, self.memory.counter = self.memory.counter.collectives, counter

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
        buffers = [buffer.flatten() for buffer in self.module.buffers()]
        if self._buffers_due and buffers:
            dist.broadcast(torch.cat(buffers), src=0)
        self._buffers_due = self.require_backward_grad_sync
        return self.module(*inputs, **named)

    def make_buckets(self) -> None:
        """Lay gradients out as DDP does: in reverse order, a small bucket first, then buckets of 25 MiB."""
        parameters = [p for p in self.module.parameters() if p.requires_grad][::-1]
        for indices in bucket_indices(parameters):
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


def bucket_indices(parameters: Sequence[Tensor]) -> list[list[int]]:
    """Which parameters, the last first, share each of DDP's buckets."""
    limits = [dist._DEFAULT_FIRST_BUCKET_BYTES, 25 * 2**20]
    indices: list[list[int]] = dist._compute_bucket_assignment_by_size(list(parameters), limits)[0]
    return indices


class _Observer(LiveMemory):
    """Follows memory, counts collectives, and answers what is read off a tensor that has no numbers: sums in
    fp64 are 0 (as of a gradient that vanishes, which all checks let pass), and anything else, such as the
    optimizer's count of steps, is 1.

    One mode rather than three, since between two modes torch asks each fake tensor for its device.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so takes long

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.counter = CommunicationCounter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at it."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0 if args[0].dtype == torch.float64 else 1
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if result is not NotImplemented:
            self.counter.count(func, args, result)
        return result
