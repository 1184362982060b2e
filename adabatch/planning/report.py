"""Printing a plan."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from rich.table import Table

from adabatch.planning.plan import Plan, make_plan
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import OptimizerSettings, Settings, to_toml
from adabatch.terminal import console as new_console

__all__ = ["communication_table", "memory_table", "overview_table", "show_plan"]

PARTS = {
    "weights": "weights (fp32, this rank's shard)",
    "optimizer": "optimizer (two moments)",
    "gradients": "gradients",
    "activations": "activations",
    "gathered weights": "gathered weights",
    "temporary": "temporary, in the backward pass",
}


def show_plan(settings: Settings, ranks: int | None = None) -> None:
    """Print the resolved settings and what the run would need; nothing is trained, downloaded or written.

    Args:
        settings: of the run.
        ranks: plan for this number of ranks rather than for the settings' own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps on tensors that are not there
        plan = make_plan(settings, ranks)
    console = new_console()
    given = settings.schedule
    if settings.run.monitor_coordinates or given.test != "scalar" or given.noise_limit_scale != "trace":
        console.print("what coordinate-wise statistics keep and communicate is not counted", style="yellow")
    console.print(to_toml(plan.settings), soft_wrap=True)
    for table in (overview_table(plan), memory_table(plan), communication_table(plan)):
        console.print(table)


def overview_table(plan: Plan) -> Table:
    """Model, budget, batches and steps."""
    table = Table(title="Plan", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("parameters", f"{plan.parameters:,}")
    table.add_row("samples", f"{plan.settings.run.samples:,}")
    table.add_row("tokens", f"{plan.tokens:,}")
    table.add_row("sequence length", plan.coupling.lengths.text)
    table.add_row("learning rate", _learning_rate(plan.settings.optimizer))
    if moving := ", ".join(_moving(plan.settings.optimizer, plan.scaling)):
        table.add_row("moves with the batch", moving)
    fewest, most = plan.steps
    table.add_row("steps", f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}, as the gradients decide")
    table.add_row("first batch", _split(plan.first))
    table.add_row("largest batch", _split(plan.largest))
    return table


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
        title=f"Memory of a rank at its peak, micro-batch {plan.largest.micro_batch}",
        caption="Tensors only: add the device's own context, the communication library's buffers and what the "
        "allocator loses (1 to 2 GiB on a GPU).",
    )
    table.add_column("part")
    table.add_column("GiB", justify="right")
    for part, name in PARTS.items():
        table.add_row(name, f"{plan.memory.get(part, 0) / 2**30:,.3f}")
    table.add_section()
    table.add_row("all", f"{sum(plan.memory.values()) / 2**30:,.3f}")
    return table


def communication_table(plan: Plan) -> Table:
    """What a step communicates, by collective."""
    table = Table(
        title=f"Communication of a step with a test, {plan.settings.parallel.ranks} ranks",
        caption="Payload: the whole tensors' bytes. Sent: by each rank, in a ring.",
    )
    table.add_column("batch", justify="right")
    table.add_column("collective")
    for name in ("calls", "payload MiB", "sent MiB"):
        table.add_column(name, justify="right")
    if not plan.traffic:
        table.add_row(f"{plan.first.batch_size:,}", "none", "", "", "")
    steps = [(plan.first, plan.traffic), (plan.largest, plan.traffic_at_largest)]
    for batch, traffic in steps if plan.largest != plan.first else steps[:1]:
        for number, (kind, counted) in enumerate(sorted(traffic.items())):
            sizes = (f"{size / 2**20:,.3f}" for size in (counted.payload, counted.sent))
            table.add_row("" if number else f"{batch.batch_size:,}", kind, f"{counted.calls:,}", *sizes)
        table.add_section()
    return table
