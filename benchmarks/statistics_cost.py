"""What gradient statistics cost: every kind next to the plain training step, interleaved in one run.

    python benchmarks/statistics_cost.py --output benchmarks/statistics_cost.txt      # two ranks, 20M parameters
    python benchmarks/statistics_cost.py --size tiny --rounds 2                       # does it run?
    python benchmarks/statistics_cost.py --size tiny --parallel single --rounds 30    # a small model: "own ms"
    python benchmarks/revisions.py BEFORE AFTER --only steps                         # two revisions
    python benchmarks/statistics_cost.py --size microllama-300m --device cuda         # one GPU, bf16

On the CPU: two ranks with one thread each (gloo), accumulation over two micro-batches, clipping and AdamW, a test
at every step. On a GPU: one process in bf16, eight micro-batches (the groups). The plain step, too, computes the
gradient norm for clipping.

Each kind's steps stand between plain ones (plain, kind, kind, plain; in the next round the other way round), and a
round's ratio is that of its own four steps, so that the machine's drift cancels. The table has the median over
rounds with its 95% interval (by order statistics). The scalar statistics, whose cost is small, get three times as
many rounds.

"read" reads each gradient once, with torch's sum, and does nothing else: the floor of what looks at gradients.

CPU seconds are summed over ranks; "own" are those of the calling thread inside the statistics' own calls, which
the rest of the step cannot blur (what gloo's threads do for a collective is not in them). Bytes are those that one
rank sends under ring algorithms, counted from the collectives that are issued; memory is the peak of what torch
allocates within a step (profiler). Kernel launches are counted on a GPU.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from paper_statistics import PaperStatistics
from printing import interval, print_and_write
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig

from adabatch.distributed.communication import CommunicationCounter
from adabatch.distributed.parallel import DistributedContext, autocast, parallelize, set_gradient_sync
from adabatch.model.language_model import build_model, language_model_loss, model_config, parameter_count
from adabatch.model.parts import model_part
from adabatch.schedules.coupling import StepHyperparameters
from adabatch.settings import OptimizerSettings, ParallelSettings
from adabatch.statistics import CoordinateStatistics, GradientStatistics, per_sample_moments
from adabatch.statistics.clipping import clip_gradients
from adabatch.statistics.hooks import LeafHooks, accumulating_node
from adabatch.statistics.leaves import autograd_leaves
from adabatch.statistics.norms import local
from adabatch.statistics.reductions import Workspace, reduce_scatter
from adabatch.training.optimizers import build_optimizer, optimizer_step

WORLD_SIZE = 2
HYPERPARAMETERS = StepHyperparameters(
    batch_size=1, sequence_length=1, learning_rate=1e-3, beta2=0.95, weight_decay=0.1
)
SIZES = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    "20m": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8},
}
KINDS = ("read", "scalar", "layers", "coordinate", "all-coordinates", "paper", "per-sample")
ROUNDS = {"read": 3.0, "scalar": 3.0, "per-sample": 0.2}
"""Multiples of the rounds that others get."""


@dataclass
class Setting:
    """A row's circumstances."""

    size: str
    parallel: str
    micro_batch: int
    micro_batches: int
    length: int
    device: str
    rounds: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """Per-sample gradients need a plain module."""
        return KINDS if self.parallel != "fsdp" else tuple(kind for kind in KINDS if kind != "per-sample")


@dataclass
class Costs:
    """What one kind of step took on this rank: seconds by round, next to plain steps; and of one step the rest.

    Attributes:
        cpu: CPU seconds by round, [plain, this kind].
        wall: wall seconds by round, [plain, this kind].
        own: thread seconds inside the statistics' calls, by step.
        sent: bytes.
        memory: bytes above the step's start.
        launches: of kernels.
    """

    cpu: list[tuple[float, float]] = field(default_factory=list)
    wall: list[tuple[float, float]] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    sent: float = 0.0
    memory: float = 0.0
    launches: int = 0


class OwnTime:
    """Thread seconds inside some of an object's methods, while it is entered."""

    NAMES = ("observe", "end_microbatch", "finish")

    def __init__(self, statistics: Any) -> None:
        self.statistics, self.seconds = statistics, 0.0

    def __enter__(self) -> OwnTime:
        for name in self.NAMES:
            setattr(self.statistics, name, self._timed(getattr(self.statistics, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.NAMES:
            delattr(self.statistics, name)

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            result = method(*arguments)
            self.seconds += time.thread_time() - start
            return result

        return timed


class Read:
    """Reads each gradient once where the statistics read it, and keeps nothing: their floor."""

    def __init__(self, model: nn.Module) -> None:
        leaves = list(autograd_leaves(model))
        self._hooks = LeafHooks(model, leaves, [accumulating_node(leaf.tensor) for leaf in leaves], self)

    def enable(self, enabled: bool = True) -> None:
        """See gradients, or see none."""
        self._hooks.attach() if enabled else self._hooks.remove()

    def observe(self, index: int, gradient: Tensor) -> None:
        """The hook's."""
        local(gradient).sum()

    def end_microbatch(self, samples: int) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """Nothing is known of the step."""


class Bench:
    """A model with its optimizer, and every kind of statistics for it."""

    def __init__(self, setting: Setting, ranks: DistributedContext) -> None:
        self.setting, self.ranks = setting, ranks
        precision = "bf16" if setting.device == "cuda" else "fp32"
        self.parallel = ParallelSettings(parallel=setting.parallel, precision=precision)
        model = build_model(configuration(setting.size, setting.length), seed=0)
        self.vocabulary, self.parameters = model.config.vocab_size, parameter_count(model)
        self.model = parallelize(model, self.parallel, ranks)
        self.optimizer = build_optimizer(self.model, OptimizerSettings())
        self.plain = GradientStatistics(self.model)
        self.plain.enable(False)
        self.statistics: dict[str, Any] = {"plain": None}
        makers: dict[str, Callable[[], Any]] = {
            "read": lambda: Read(self.model),
            "scalar": lambda: GradientStatistics(self.model),
            "layers": lambda: GradientStatistics(self.model, part_of=model_part),
            "coordinate": lambda: CoordinateStatistics(self.model),
            "all-coordinates": lambda: CoordinateStatistics(self.model, stride=1),
            "paper": lambda: PaperStatistics(self.model),
        }
        for kind, make in makers.items():
            self.statistics[kind] = make()
            detach(self.statistics[kind])
        if "per-sample" in setting.kinds:
            self.statistics["per-sample"] = None
        self.generator = torch.Generator().manual_seed(ranks.rank)

    def tokens(self) -> Tensor:
        """Random tokens of one step on this rank, [micro-batches, samples, length]."""
        shape = (self.setting.micro_batches, self.setting.micro_batch, self.setting.length)
        return torch.randint(self.vocabulary, shape, generator=self.generator).to(self.ranks.device)

    def step(self, kind: str, tokens: Tensor) -> None:
        """A training step with this kind of statistics."""
        statistics = self.statistics[kind]
        for index, micro_batch in enumerate(tokens):
            set_gradient_sync(self.model, index == len(tokens) - 1)
            with autocast(self.parallel, self.ranks):
                loss = language_model_loss(self.model, micro_batch) / len(tokens)
            loss.backward()
            if statistics is not None:
                statistics.end_microbatch(len(micro_batch))
        moments = statistics.finish() if statistics is not None else None
        if kind == "per-sample":
            self.per_sample(tokens)
        squared_norm = getattr(moments, "squared_norm", None)
        if squared_norm is None:
            squared_norm = self.plain.reduce_step().squared_norm
        clip_gradients(self.model, math.sqrt(squared_norm), 1.0)
        optimizer_step(self.optimizer, HYPERPARAMETERS)
        self.optimizer.zero_grad(set_to_none=True)

    def per_sample(self, tokens: Tensor) -> None:
        """The exact statistic over the step's samples."""
        model = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
        group = dist.group.WORLD if dist.is_initialized() else None
        per_sample_moments(model, language_model_loss, tokens.flatten(0, 1), chunk=2, process_group=group)

    def synchronize(self) -> None:
        """Wait for the device and the other ranks."""
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize()
        if self.ranks.world_size > 1:
            dist.barrier()

    def own(self, kind: str) -> float:
        """Thread seconds inside the statistics' calls in one step."""
        statistics, tokens = self.statistics[kind], self.tokens()
        if statistics is None:
            return math.nan
        with OwnTime(statistics) as own:  # before the hooks of PaperStatistics take their method
            statistics.enable()
            self.step(kind, tokens)
            detach(statistics)
        return own.seconds

    def timed(self, kind: str) -> tuple[float, float]:
        """CPU and wall seconds of one step; hooks are attached before and removed after."""
        tokens = self.tokens()
        if self.statistics[kind] is not None:
            self.statistics[kind].enable()
        self.synchronize()
        start = time.process_time(), time.perf_counter()
        self.step(kind, tokens)
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.process_time() - start[0], time.perf_counter() - start[1]
        detach(self.statistics[kind])
        return seconds

    def traced(self, kind: str) -> tuple[float, float, int]:
        """Bytes that this rank sends, peak memory above the step's start, and kernel launches, of one step."""
        tokens = self.tokens()
        if self.statistics[kind] is not None:
            self.statistics[kind].enable()
        with CommunicationCounter() as counter:
            self.step(kind, tokens)
        sent = sum(traffic.sent for traffic in counter.traffic.values())
        detach(self.statistics[kind], free=True)

        def enable_and_step() -> None:  # buffers count
            if self.statistics[kind] is not None:
                self.statistics[kind].enable()
            self.step(kind, tokens)

        memory, launches = traced_step(enable_and_step, self.ranks.device.type)
        detach(self.statistics[kind])
        return sent, memory, launches


def detach(statistics: Any, free: bool = False) -> None:
    """Remove the hooks, but keep the buffers that a test at every step would keep."""
    if isinstance(statistics, GradientStatistics) and not free:
        GradientStatistics.enable(statistics, False)
    elif statistics is not None:
        statistics.enable(False)


def traced_step(step: Callable[[], None], device: str) -> tuple[float, int]:
    """Peak memory in bytes above the start, and kernel launches."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
            step()
            torch.cuda.synchronize()
        launches = sum("LaunchKernel" in event.name() for event in trace.profiler.kineto_results.events())
        return torch.cuda.max_memory_allocated() - before, launches
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    events = trace.profiler.kineto_results.events()
    allocations = sorted((event for event in events if event.name() == "[memory]"), key=lambda e: e.start_ns())
    return max(itertools.accumulate((event.nbytes() for event in allocations), initial=0)), 0


def configuration(size: str, length: int) -> LlamaConfig:
    """The model of this size, for samples of this length."""
    if size not in SIZES:
        return model_config(size, None, length)
    return LlamaConfig(**SIZES[size], vocab_size=1024, use_cache=False, attn_implementation="sdpa")


def measure(setting: Setting, rank: int) -> tuple[int, dict[str, Costs], tuple[float, float]]:
    """Parameters, costs by kind, and the seconds of bare reduce-scatters of all parameters, on this rank."""
    world_size = dist.get_world_size() if dist.is_initialized() else 1
    bench = Bench(setting, DistributedContext(rank, world_size, torch.device(setting.device)))
    kinds = ("plain", *setting.kinds)
    costs = {kind: Costs() for kind in kinds}
    for kind in kinds:  # first steps lay out buckets and optimizer state
        bench.timed(kind)
    for kind in setting.kinds:
        for number in range(max(1, round(setting.rounds * ROUNDS.get(kind, 1.0)))):
            order = ("plain", kind, kind, "plain") if number % 2 else (kind, "plain", "plain", kind)
            seconds: dict[str, list[tuple[float, float]]] = {"plain": [], kind: []}
            for turn in order:
                seconds[turn].append(bench.timed(turn))
            for way, kept in enumerate((costs[kind].cpu, costs[kind].wall)):
                kept.append((mean(own[way] for own in seconds["plain"]), mean(own[way] for own in seconds[kind])))
        costs[kind].own = [bench.own(kind) for _ in range(3)]
    for kind in kinds:
        costs[kind].sent, costs[kind].memory, costs[kind].launches = bench.traced(kind)
    floor = bare_reduce_scatter(bench.parameters) if world_size > 1 else (math.nan, math.nan)
    return bench.parameters, costs, floor


def bare_reduce_scatter(size: int) -> tuple[float, float]:
    """CPU seconds of a reduce-scatter of n fp32 numbers: ours, and the backend's own."""
    ranks = dist.get_world_size()
    whole, part = torch.ones(ranks, -(-size // ranks)), torch.empty(-(-size // ranks))
    own = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    workspace = Workspace()
    ways: tuple[Callable[[], object], ...] = (
        lambda: reduce_scatter(whole, dist.group.WORLD, workspace),
        lambda: own(part, whole.view(-1)),
    )
    seconds: list[list[float]] = [[], []]
    for _ in range(5):
        for way, kept in zip(ways, seconds, strict=True):
            dist.barrier()
            start = time.process_time()
            way()
            kept.append(time.process_time() - start)
    return median(seconds[0]), median(seconds[1])


def rank_main(rank: int, folder: str, setting: Setting) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", WORLD_SIZE)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD_SIZE)
    torch.save(measure(setting, rank), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def on_ranks(setting: Setting) -> list[tuple[int, dict[str, Costs], tuple[float, float]]]:
    """What :func:`measure` found on every rank."""
    if setting.parallel == "single":
        return [measure(setting, 0)]
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(rank_main, (folder, setting), nprocs=WORLD_SIZE)
        return [torch.load(f"{folder}/{rank}.pt", weights_only=False) for rank in range(WORLD_SIZE)]


def rows(setting: Setting) -> list[str]:
    """The table's rows for one setting."""
    by_rank = on_ranks(setting)
    costs = [rank[1] for rank in by_rank]
    where = f"{setting.parallel:6} {setting.micro_batch * setting.length:6d}"
    lines = []
    plain = costs[0]["plain"]
    lines.append(f"{where} plain{'':64}{plain.sent / 1e6:18.3f}{'':13} {plain.memory / 1e6:8.1f}")
    for kind in setting.kinds:
        mine = costs[0][kind]
        rounds = range(len(mine.cpu))
        before, after = ([sum(rank[kind].cpu[n][way] for rank in costs) for n in rounds] for way in (0, 1))
        ratios = sorted(own / plain_ for plain_, own in zip(before, after, strict=True))
        walls = [[max(rank[kind].wall[n][way] for rank in costs) for n in rounds] for way in (0, 1)]
        wall = median(own / plain_ for plain_, own in zip(*walls, strict=True))
        low, high = interval(ratios)
        inside = sum(median(rank[kind].own) for rank in costs)
        lines.append(
            f"{where} {kind:16} {1e3 * median(before):7.0f} {1e3 * (median(ratios) - 1) * median(before):8.1f} "
            f"{1e3 * inside:7.1f} {median(ratios):7.3f} [{low:.3f}, {high:.3f}] {wall:6.3f} "
            f"{mine.sent / 1e6:10.3f} {(mine.sent - plain.sent) / 1e6:12.6f} {mine.memory / 1e6:8.1f} "
            f"{(mine.memory - plain.memory) / 1e6:9.3f}"
            + (f" {plain.launches:8d} {mine.launches:8d}" if setting.device == "cuda" else "")
        )
    ours, own = (1e3 * sum(rank[2][way] for rank in by_rank) for way in (0, 1))
    if math.isfinite(ours):
        lines.append(
            f"# {where}: a bare reduce-scatter of {by_rank[0][0] / 1e6:.1f}M numbers, the floor of "
            f"coordinate-wise traffic, takes {ours:.0f} ms of CPU on all ranks, by gloo's own {own:.0f} ms"
        )
    return lines


def settings(arguments: argparse.Namespace) -> list[Setting]:
    rounds = arguments.rounds
    if arguments.device == "cuda":
        return [Setting(arguments.size, "single", 4, 8, arguments.length or 1024, "cuda", rounds)]
    return [
        Setting(arguments.size, parallel, micro_batch, 2, arguments.length or 64, "cpu", rounds)
        for parallel, micro_batch in itertools.product(arguments.parallel, (1, 8))
    ]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[*SIZES, "microllama-300m", "tinyllama-1.1b"], default="20m")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--parallel", nargs="+", choices=["fsdp", "ddp", "single"], default=["fsdp", "ddp"])
    parser.add_argument("--length", type=int, help="tokens in a sample (64, on a GPU 1024)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    words = sys.argv[1:] if words is None else words
    arguments = parser.parse_args(words)
    os.environ["OMP_NUM_THREADS"] = "1"
    given = [part for part in words if part not in ("--output", str(arguments.output))]
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{os.cpu_count()} cores"
    lines = [
        " ".join(["# python benchmarks/statistics_cost.py", *given]),
        f"# torch {torch.__version__}, {machine}, {arguments.size}; medians over {arguments.rounds} rounds",
        "mode   tokens statistics       plain  +CPU ms  own ms   ratio [95% interval]   wall    sent MB     "
        "added MB  peak MB  added MB" + (" launches: plain, with" if arguments.device == "cuda" else ""),
    ]
    measured = (line for setting in settings(arguments) for line in rows(setting))
    print_and_write(itertools.chain(lines, measured), arguments.output)


if __name__ == "__main__":
    main()
