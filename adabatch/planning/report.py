"""Printing a plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from rich.table import Table

from adabatch.accelerators import ACCELERATORS
from adabatch.planning.layouts import Layout, capacity, estimated_bytes, layouts
from adabatch.planning.plan import Course, Plan, make_plan, other_courses
from adabatch.planning.step_time import REACHED
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import OptimizerSettings, RunSettings, Settings, overlay, to_toml
from adabatch.terminal import console as new_console

__all__ = [
    "communication_table",
    "fitting_table",
    "memory_table",
    "overview_table",
    "schedules_table",
    "show_plan",
    "time_table",
]

PARTS = {
    "weights": "weights (fp32, this rank's shard)",
    "optimizer": "optimizer ({})",
    "gradients": "gradients",
    "activations": "activations",
    "gathered weights": "gathered weights",
    "temporary": "temporary, in the backward pass",
}


STATES = {
    "adamw": "two moments",
    "sgd": "momentum",
    "adafactor": "rows and columns of second moments",
    "muon": "momentum of matrices, two moments of the rest",
}
"""What an optimizer holds."""


def show_plan(settings: Settings, ranks: int | None = None) -> None:
    """Print the resolved settings and what the run would need; nothing is trained, downloaded or written.

    Args:
        settings: of the run.
        ranks: plan for this number of ranks rather than for the settings' own.
    """
    with warnings.catch_warnings(), _progress() as progress:
        warnings.simplefilter("ignore")  # of steps on tensors that are not there
        plan = make_plan(settings, ranks, _device_name(), progress)
    for each in (*plan.on_fewer.values(), plan):
        require_a_layout(each)
    console = new_console()
    given = settings.schedule
    if settings.run.monitor_coordinates or given.test != "scalar" or given.noise_limit_scale != "trace":
        console.print("what coordinate-wise statistics keep and communicate is not counted", style="yellow")
    following = {"ranks": plan.ranks.numbers[0], "ranks_at": settings.parallel.ranks_at}
    console.print(to_toml(overlay(plan.settings, following)), soft_wrap=True)
    tables = (overview_table, memory_table, communication_table, time_table, schedules_table, fitting_table)
    for table in tables:
        console.print(table(plan))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being planned."""
    console = new_console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("planning") as status:
        yield lambda what: status.update(f"planning: {what}")


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def require_a_layout(plan: Plan) -> None:
    """Refuse a model that fits into these GPUs in no layout.

    Raises:
        ValueError: with the least number of ranks that would do, or a GPU that would.
    """
    settings, gpu = plan.settings, plan.gpu
    if sum(plan.memory.values()) <= plan.room or plan.step.largest_micro_batch(plan.room) or plan.fitting():
        return
    given, nodes, length = settings.parallel, settings.hardware.gpus_per_node, settings.data.sequence_length

    def least(ranks: int) -> float:
        ways = layouts(plan.config, ranks, nodes)
        return min(estimated_bytes(plan.config, plan.parameters, way, length, settings) for way in ways)

    enough = next((n for n in (given.ranks * 2**k for k in range(1, 17)) if least(n) <= plan.room), None)
    larger = [other for other in ACCELERATORS.values() if least(given.ranks) <= capacity(other.memory)]
    advice = [f"--plan-ranks {enough}"] * (enough is not None) + [
        f"--gpu {larger[0].name.lower()}" for _ in larger[:1]
    ]
    raise ValueError(
        f"{settings.model.model} fits into {given.ranks} x {gpu.name} ({gpu.memory:g} GB) in no layout: one "
        f"sequence of {length} needs {least(given.ranks) / 1e9:,.0f} GB at least; "
        f"{'take ' + ' or '.join(advice) if advice else 'shorten --sequence-length'}"
    )


def overview_table(plan: Plan) -> Table:
    """Model, budget, batches and steps."""
    table = Table(title="Plan", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("parameters", f"{plan.parameters:,}")
    table.add_row("samples", _samples(plan.settings.run))
    table.add_row("tokens", f"{plan.tokens:,}")
    table.add_row("sequence length", plan.coupling.lengths.text)
    table.add_row("optimizer", plan.settings.optimizer.optimizer)
    table.add_row("learning rate", _learning_rate(plan.settings.optimizer))
    if moving := ", ".join(_moving(plan.settings.optimizer, plan.scaling)):
        table.add_row("moves with the batch", moving)
    fewest, most = plan.course.steps
    table.add_row("steps", f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}, as the gradients decide")
    table.add_row("first batch", _split(plan.course.first))
    table.add_row("largest batch", _split(plan.course.largest))
    return table


def _samples(settings: RunSettings) -> str:
    whole = f"{settings.samples:,}"
    return whole if settings.end == settings.samples else f"{settings.end:,} of {whole} (--stop-at)"


def _learning_rate(settings: OptimizerSettings) -> str:
    if settings.lr_replay:
        return f"that of {settings.lr_replay}"
    warmup = f" after a warm-up of {settings.warmup_samples:,} samples" if settings.warmup_samples else ""
    return f"{settings.lr_path} from {settings.lr:g} to {settings.min_lr:g}{warmup}"


def _moving(settings: OptimizerSettings, scaling: str) -> Iterator[str]:
    if scaling != "none":
        yield f"learning rate ({scaling})"
    if settings.beta2_half_life:
        yield f"beta2 (half-life of {settings.beta2_half_life:,.15g} samples)"
    if settings.weight_decay_scaling != "none":
        yield f"weight decay ({settings.weight_decay_scaling})"


def _split(plan: MicroBatchPlan) -> str:
    return f"{plan.batch_size:,} = {plan.world_size} ranks x {plan.accumulation} x {plan.micro_batch}"


def memory_table(plan: Plan) -> Table:
    """Memory of one rank by part, at the peak."""
    table = Table(
        title=f"Memory of a rank at its peak, micro-batch {plan.course.largest.micro_batch}",
        caption="Tensors only: add the device's own context, the communication library's buffers and what the "
        "allocator loses (1 to 2 GiB on a GPU).",
    )
    table.add_column("part")
    table.add_column("GiB", justify="right")
    for part, name in PARTS.items():
        held = STATES[plan.settings.optimizer.optimizer]
        table.add_row(name.format(held), f"{plan.memory.get(part, 0) / 2**30:,.3f}")
    table.add_section()
    table.add_row("all", f"{sum(plan.memory.values()) / 2**30:,.3f}")
    table.add_row(f"tensors may take, of {plan.gpu.name}", f"{plan.room / 2**30:,.3f}")
    table.add_row("largest micro-batch that fits", f"{plan.step.largest_micro_batch(plan.room):,}")
    return table


def communication_table(plan: Plan) -> Table:
    """What a step communicates, by collective."""
    table = Table(
        title=f"Communication of a step with a test, {plan.settings.parallel.ranks} ranks",
        caption="Payload: the whole tensors' bytes. Sent: by each rank, in a ring.",
    )
    table.add_column("batch", justify="right")
    table.add_column("collective")
    first, largest = plan.course.first, plan.course.largest
    at_first = plan.traffic(first)
    for name in ("calls", "payload MiB", "sent MiB"):
        table.add_column(name, justify="right")
    if not at_first:
        table.add_row(f"{first.batch_size:,}", "none", "", "", "")
    steps = [(first, at_first), (largest, plan.traffic(largest))]
    for batch, traffic in steps if largest != first else steps[:1]:
        for number, (kind, counted) in enumerate(sorted(traffic.items())):
            sizes = (f"{size / 2**20:,.3f}" for size in (counted.payload, counted.sent))
            table.add_row("" if number else f"{batch.batch_size:,}", kind, f"{counted.calls:,}", *sizes)
        table.add_section()
    return table


def time_table(plan: Plan) -> Table:
    """Seconds of a step, by what they are for."""
    hardware, gpu = plan.settings.hardware, plan.gpu
    table = Table(
        title=f"Time of a step on {plan.settings.parallel.ranks} x {gpu.name}",
        caption=f"A model: {hardware.utilisation:.0%} of {gpu.tflops:g} Tflop/s (--utilisation, --peak-tflops); "
        f"{gpu.link:g} GB/s in nodes of {hardware.gpus_per_node}, {gpu.network:g} between, {REACHED:.0%} reached. "
        "Communication of data parallelism is hidden behind computation as far as that lasts.",
    )
    table.add_column("batch")
    batches = [plan.course.first, plan.course.largest]
    batches = batches[: 1 + (batches[0] != batches[1])]
    for batch in batches:
        table.add_column(f"{batch.batch_size:,}", justify="right")
    steps = [plan.seconds(batch) for batch in batches]
    tokens = [batch.batch_size * plan.settings.data.sequence_length for batch in batches]
    rows: dict[str, list[str]] = {
        "operations of the model": [f"{plan.flops(batch.batch_size):.3g}" for batch in batches],
        "computation (s)": [_seconds(step.compute) for step in steps],
        "communication, data parallel (s)": [_seconds(step.communication) for step in steps],
        "communication, tensor parallel (s)": [_seconds(step.tensor_communication) for step in steps],
        "clipping and optimizer (s)": [_seconds(step.optimizer) for step in steps],
        "norm test: gradients read (s)": [_seconds(step.test) for step in steps],
        "step (s)": [_seconds(step.all) for step in steps],
        "share of the norm test": [f"{step.test / step.all:.2%}" for step in steps],
        "tokens per second": [f"{count / step.all:,.0f}" for count, step in zip(tokens, steps, strict=True)],
        "MFU": [f"{plan.mfu(batch):.1%}" for batch in batches],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells, end_section=name.startswith("norm test"))
    return table


def _seconds(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def schedules_table(plan: Plan) -> Table:
    """Steps, seconds and price of the run's schedule and of others with its settings."""
    hardware, ranks = plan.settings.hardware, plan.settings.parallel.ranks
    table = Table(title=f"The budget of {plan.tokens:,} tokens by other schedules")
    table.add_column("schedule")
    for name in ("steps", "hours", "GPU-hours") + ("price",) * (hardware.gpu_hour_price > 0):
        table.add_column(name, justify="right")
    whole = plan.settings.run.end * plan.settings.data.sequence_length
    share = plan.tokens / whole  # less than 1 with progressive lengths

    def add(name: str, course: Course, taken: Sequence[tuple[float, float]]) -> None:
        hours, rank_hours = ([share * each / 3600 for each in column] for column in zip(*taken, strict=True))
        cells = [_span(course.steps), _span(hours), _span(rank_hours)]
        if hardware.gpu_hour_price:
            cells.append(_span(each * hardware.gpu_hour_price for each in rank_hours))
        table.add_row(name, *cells)

    own = plan.settings.schedule.schedule
    for name, course in {own: plan.course, **other_courses(plan)}.items():
        seconds = [plan.seconds_of(batches) for batches in (course.fewest, course.most)]
        add(_named(name, course), course, [(each, ranks * each) for each in seconds])
        if name == own and plan.on_fewer:
            taken = [plan.seconds_following(batches) for batches in (course.fewest, course.most)]
            add(f"the same on {', '.join(map(str, plan.ranks.numbers))} ranks", course, taken)
    return table


def _named(name: str, course: Course) -> str:
    return f"{name}, as the gradients decide" if course.fewest != course.most else name


def _span(values: Iterable[float]) -> str:
    """One number, or two where they differ when they are shown."""
    shown = [f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in sorted(values)]
    return shown[0] if shown[0] == shown[1] else " to ".join(shown)


def fitting_table(plan: Plan) -> Table:
    """Layouts of the same ranks that fit into the GPUs, by estimate."""
    gpu, ranks = plan.gpu, plan.settings.parallel.ranks
    table = Table(
        title=f"Layouts that fit into {ranks} x {gpu.name} ({gpu.memory:g} GB), the usual choice first",
        caption="Estimates for a micro-batch of one sequence; --dry-run with the options plans exactly.",
    )
    for name in ("options", "GB", "largest micro-batch"):
        table.add_column(name, justify="left" if name == "options" else "right")
    found: dict[Layout, tuple[float, int]] = plan.fitting()
    for layout, (size, largest) in found.items():
        table.add_row(layout.options, f"{size / 1e9:,.1f}", f"{largest:,}")
    if not found:
        table.add_row("none", "", "")
    return table
