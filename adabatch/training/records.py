"""What metrics.jsonl keeps of a step; sizes and what is per sample count samples (sequences), never tokens."""

from __future__ import annotations

import math

from adabatch.data.mixture import Mixture
from adabatch.moments.coordinate_moments import CoordinateMoments
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.statistic import in_samples, norm_test_statistic
from adabatch.reporting.metrics import Record
from adabatch.schedules import Decision, MicroBatchPlan, NormTest
from adabatch.schedules.coupling import StepHyperparameters
from adabatch.statistics import ReducedStep
from adabatch.training.run import Run

__all__ = ["step_record"]


def step_record(
    run: Run,
    plan: MicroBatchPlan,
    loss: float,
    step: StepHyperparameters,
    reduced: ReducedStep,
    decision: Decision,
    seconds: float,
) -> Record:
    """What metrics.jsonl keeps of a step; the batch is the one just used."""
    flops = run.throughput.flops(plan.batch_size, step.sequence_length)
    record: Record = {
        "step": run.schedule.steps,
        "samples": run.samples,
        "tokens": run.coupling.tokens,
        "loss": loss,
        "lr": step.learning_rate,
        "batch_size": plan.batch_size,
        "ranks": run.ranks.world_size,
        "sequence_length": step.sequence_length,
        "micro_batch": plan.micro_batch,
        "accumulation": plan.accumulation,
        "micro_batch_limit": run.memory.limit,
        "grad_norm": math.sqrt(reduced.squared_norm),
        "noise_trace": None,
        "grad_sq_norm": None,
        "test_statistic": None,
        "seconds": seconds,
        "tokens_per_second": plan.batch_size * step.sequence_length / seconds,
        "flops": flops,
        "mfu": run.throughput.utilisation(flops, seconds),
        "proposal": decision.proposal,
        "decision": decision.reason,
        "decided_by": decision.decided_by,
        "batch_limited": decision.limited,
        "skipped": run.guard.skipped,
    }
    if run.coupling.second_moment.half_life:
        record["beta2"] = step.beta2
    if run.coupling.decay_scaling.exponent:
        record["weight_decay"] = step.weight_decay
    if isinstance(run.corpus.train, Mixture):
        record["samples_by_source"] = run.corpus.train.samples_by_source(run.samples)
    if decision.wanted is not None:
        record["wanted"] = decision.wanted
    moments = reduced.moments
    if moments is not None and plan.groups >= 2 and decision.reason != "skipped":
        record["noise_trace"] = moments.covariance_trace * moments.samples_per_unit
        record["grad_sq_norm"] = moments.squared_norm
        tested = decision.statistic is not None
        record["test_statistic"] = decision.statistic if tested else _statistic(run, moments)
        record |= _of_coordinates(moments, run.settings.schedule.eta) | _of_parts(moments)
    return record


def _of_parts(moments: GradientMoments) -> Record:
    """Trace and squared norm of each part of the model, to six digits, where they were measured."""
    per_unit = moments.samples_per_unit
    parts = {
        name: [float(f"{value:.6g}") for value in (part.covariance_trace * per_unit, part.squared_norm)]
        for name, part in moments.parts.items()
    }
    return {"parts": parts} if parts else {}


def _statistic(run: Run, moments: GradientMoments) -> float:
    """T of a step that was not tested, at the settings' eta."""
    for part in run.schedule.parts:
        if isinstance(part, NormTest):
            return part.statistic(moments)
    schedule = run.settings.schedule
    statistic = norm_test_statistic(moments, schedule.eta, schedule.estimator)
    return float(in_samples(statistic, moments, schedule.estimator))


def _of_coordinates(moments: GradientMoments, eta: float) -> Record:
    """What the coordinates say, where they were measured."""
    if not isinstance(moments, CoordinateMoments):
        return {}
    dimensions = moments.effective_dimensions
    return {
        "sum_of_deviations": moments.sum_of_standard_deviations * math.sqrt(moments.samples_per_unit),
        "grad_l1_norm": moments.plug_in_l1_norm,
        "grad_l1_norm_conservative": moments.conservative_l1_norm,
        "noise_dimension": dimensions.noise,
        "gradient_dimension": dimensions.gradient,
        "coordinate_share": moments.coordinate_share(eta),
    }
