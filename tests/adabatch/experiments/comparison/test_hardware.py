"""Simulated time by hand, and relative times on a loss surface whose times to a loss are known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.comparison.hardware import Hardware, relative_time, standard_hardware
from adabatch.experiments.comparison.plan import BUDGETS
from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.comparison.schedules import Schedule
from adabatch.settings import Settings

SAMPLES = 9600
BATCHES = (8, 16, 32, 64)
HARDWARE = standard_hardware(8)
CONSTANTS = [Schedule(f"constant-{b}", f"constant {b}", "constant", {"initial_batch": b}) for b in BATCHES]
RAMP = Schedule("ramp", "ramp", "fixed")


def loss(batch: int, samples: Any) -> Any:
    """Of a constant batch: steps and samples cost, 1 + 100 / steps + 400 / samples."""
    return 1 + (100 * batch + 400) / samples


def run(batch_sizes: list[int], final: float) -> RunResult:
    return RunResult(np.array(batch_sizes), final, None)


def constant(batch: int, budget: float, shift: float = 0.0) -> RunResult:
    """In whole steps, as a run makes them: the last batch is what is left."""
    samples = round(budget * SAMPLES)
    sizes = [batch] * (samples // batch) + [rest for rest in [samples % batch] if rest]
    return run(sizes, loss(batch, samples) + shift)


def comparison(ramp: dict[int, RunResult], shifts: dict[int, float] | None = None) -> Comparison:
    """Constant batches at all budgets, and a schedule, by seed; a seed shifts the losses of its constants."""
    shifts = shifts or dict.fromkeys(ramp, 0.0)

    def at(batch: int, budget: float) -> dict[int, RunResult]:
        return {seed: constant(batch, budget, shift) for seed, shift in shifts.items()}

    results = {each.name: at(batch, 1) for each, batch in zip(CONSTANTS, BATCHES, strict=True)}
    budgets = {
        each.name: {budget: at(batch, budget) for budget in BUDGETS}
        for each, batch in zip(CONSTANTS, BATCHES, strict=True)
    }
    schedules = [*CONSTANTS, RAMP]
    return Comparison(Settings(), schedules, CONSTANTS, {}, {}, results | {"ramp": ramp}, budgets=budgets)


def brute_force(hardware: Hardware, target: float, fewest: float = 0.5, most: float = 2) -> float:
    """The least time to a loss over all constant batches and a fine grid of their samples."""
    grid = SAMPLES * np.geomspace(fewest, most, 4001)
    return min(
        samples / batch * hardware.time([batch])
        for batch in BATCHES
        for samples in grid[loss(batch, grid) <= target][:1]
    )


def test_times_by_hand():
    """Batches 8 and 32 on hardware that saturates at 16."""
    assert Hardware("", 16).time([8, 32]) == 1.5 + 3
    assert Hardware("", 16, roofline=True).time([8, 32]) == 1 + 2


@given(st.lists(st.integers(1, 512), min_size=1, max_size=20))
def test_times_at_the_limits(batches):
    """Hardware that never saturates counts steps; a roofline that always does counts samples."""
    for roofline in (False, True):
        assert Hardware("", 1e12, roofline).time(batches) == pytest.approx(len(batches))
    assert Hardware("", 1, roofline=True).time(batches) == sum(batches)
    assert Hardware("", 1).time(batches) == sum(batches) + len(batches)


@pytest.mark.parametrize("hardware", HARDWARE, ids=lambda each: each.name)
def test_the_fastest_constant_takes_its_own_time(hardware):
    """And no other constant takes less than the least."""
    found = comparison({0: run([8], 2.0)})
    ratios = {each.name: relative_time(found, each.name, hardware) for each in CONSTANTS}
    known = [ratio for ratio in ratios.values() if ratio.bound != "at most"]
    assert min(ratio.ratio for ratio in known) == pytest.approx(1, abs=0.01)
    assert all(ratio.ratio > 0.99 for ratio in ratios.values())


def test_a_schedule_that_is_the_only_constant_has_ratio_one():
    """With a last batch that is smaller than the others, at every budget."""
    only = CONSTANTS[2]
    for budget in (1, *BUDGETS):
        full = comparison({0: constant(32, budget)})
        single = replace(full, constants=[only])
        for hardware in HARDWARE:
            found = relative_time(single, "ramp", hardware)
            assert found.ratio == pytest.approx(1, rel=1e-12)
            assert (found.bound, found.low, found.high) == ("exact", 0, math.inf)


@given(st.sampled_from(HARDWARE), st.floats(1.2, 1.6), st.lists(st.integers(4, 128), min_size=1, max_size=50))
def test_the_least_time_is_that_of_a_search_by_brute_force(hardware, target, batches):
    found = relative_time(comparison({0: run(batches, target)}), "ramp", hardware)
    assert found.ratio == pytest.approx(hardware.time(batches) / brute_force(hardware, target), rel=0.01)


@given(st.sampled_from(HARDWARE), st.floats(1.02, 4))
def test_bounds_hold_against_constants_with_any_number_of_samples(hardware, target):
    """The twin tries a hundredth to a hundred times the samples, which the comparison does not."""
    found = relative_time(comparison({0: run([16] * 300, target)}), "ramp", hardware)
    truth = hardware.time([16] * 300) / brute_force(hardware, target, 0.01, 100)
    if found.bound != "at least":
        assert found.ratio > 0.99 * truth
    if found.bound != "at most":
        assert found.ratio < 1.01 * truth


@pytest.mark.parametrize(("target", "bound"), [(1.1, "exact"), (1.07, "at least")])
def test_a_constant_that_misses_the_loss_may_be_faster(target, bound):
    """Of batches 8 and 16 only 8 reaches these losses; the run on 16 ends before it reaches the second one."""
    hardware = HARDWARE[0]
    eight, sixteen = 1200 / (target - 1) / 8 * 2, 2 * SAMPLES / 16 * 3
    assert loss(16, 2 * SAMPLES) > target
    assert (sixteen < eight) is (bound == "at least")
    two = replace(comparison({0: run([16] * 300, target)}), constants=CONSTANTS[:2])
    found = relative_time(two, "ramp", hardware)
    assert found.bound == bound
    assert found.ratio == pytest.approx(900 / eight, rel=0.01)


def test_a_constant_that_reaches_the_loss_with_the_fewest_samples_may_be_faster():
    """Here batch 8 is not the fastest of those known, but reached the loss already with half of the samples."""
    hardware, half = HARDWARE[2], loss(8, 0.5 * SAMPLES)
    assert brute_force(hardware, half) < hardware.time(constant(8, 0.5).batch_sizes)
    for target, bound in ((half, "exact"), (half + 1e-6, "at least")):
        found = replace(comparison({0: run([16] * 300, target)}), constants=CONSTANTS[:3])
        assert relative_time(found, "ramp", hardware).bound == bound


def test_shorter_sequences_take_less_time():
    """Where samples cost, half of the length is half of a sample; steps cost the same."""
    full = comparison({0: run([16] * 300, 1.1)})
    half = comparison({0: replace(run([16] * 300, 1.1), lengths=np.full(300, 0.5))})
    for hardware in HARDWARE:
        ratio = relative_time(half, "ramp", hardware).ratio / relative_time(full, "ramp", hardware).ratio
        assert ratio == pytest.approx(hardware.time([8] * 300) / hardware.time([16] * 300))


def test_the_closed_form_where_samples_cost():
    """At B_sat 8 the smallest batch is the fastest: 1200 / (loss - 1) samples in steps of time 2."""
    found = relative_time(comparison({0: run([16] * 300, 1.1)}), "ramp", HARDWARE[0])
    assert found.ratio == pytest.approx(300 * 3 / (1200 / 0.1 / 8 * 2), rel=0.003)


def test_a_loss_that_no_constant_reaches_gives_an_upper_bound():
    least = min(HARDWARE[0].time(constant(batch, 2).batch_sizes) for batch in BATCHES)
    for seeds in (1, 3):
        ramp = {seed: run([16] * 300, 1.01) for seed in range(seeds)}
        found = relative_time(comparison(ramp), "ramp", HARDWARE[0])
        assert (found.bound, found.low) == ("at most", 0)
        assert found.ratio == pytest.approx(300 * 3 / least)


def test_a_loss_that_half_of_the_samples_reach_gives_a_lower_bound():
    least = min(HARDWARE[2].time(constant(batch, 0.5).batch_sizes) for batch in BATCHES)
    found = relative_time(comparison({0: run([16] * 300, 9.0), 1: run([16] * 300, 9.0)}), "ramp", HARDWARE[2])
    assert (found.bound, found.high) == ("at least", math.inf)
    assert found.ratio == pytest.approx(HARDWARE[2].time([16] * 300) / least)
    assert found.low == pytest.approx(found.ratio)


def test_the_interval_is_of_the_logarithms():
    """One seed takes twice as long as another: their geometric mean, and factors around it."""
    ramp = {0: run([16] * 300, 1.125), 1: run([16] * 600, 1.125), 2: run([16] * 300, 1.125)}
    hardware = HARDWARE[0]
    single = relative_time(comparison({0: ramp[0]}), "ramp", hardware).ratio
    found = relative_time(comparison(ramp), "ramp", hardware)
    assert found.ratio == pytest.approx(single * 2 ** (1 / 3))
    assert found.high / found.ratio == pytest.approx(found.ratio / found.low)
    assert found.high / found.ratio == pytest.approx(math.exp(4.302653 * math.log(2) / 3), rel=1e-6)


def test_each_seed_is_held_against_its_own_constants():
    """A seed whose losses are all higher by the same takes no other time."""
    plain = relative_time(comparison({0: run([16] * 300, 1.1)}), "ramp", HARDWARE[1]).ratio
    shifts = {0: 0.0, 1: 0.5}
    ramp = {seed: run([16] * 300, 1.1 + shift) for seed, shift in shifts.items()}
    found = relative_time(comparison(ramp, shifts), "ramp", HARDWARE[1])
    assert found.ratio == pytest.approx(plain)
    unpaired = relative_time(comparison(ramp), "ramp", HARDWARE[1])
    assert unpaired.ratio != pytest.approx(plain, rel=0.1)


def test_noise_that_lets_a_longer_run_end_higher_is_passed_over():
    noisy = comparison({0: run([16] * 300, 1.1)})
    noisy.budgets["constant-8"][BUDGETS[2]] = {0: constant(8, BUDGETS[2], 0.2)}
    found = relative_time(noisy, "ramp", HARDWARE[0])
    assert found.ratio == pytest.approx(300 * 3 / (1200 / 0.1 / 8 * 2), rel=0.03)


def test_nothing_is_said_where_runs_are_missing():
    ramp = {0: run([16] * 300, 1.1)}
    assert relative_time(comparison(ramp), "unknown", HARDWARE[0]) is None
    assert relative_time(replace(comparison(ramp), budgets={}), "ramp", HARDWARE[0]) is None
    incomplete = comparison(ramp)
    incomplete.budgets["constant-8"][2.0] = {}
    assert relative_time(incomplete, "ramp", HARDWARE[0]) is None
    planned = [*CONSTANTS, Schedule("constant-128", "", "constant")]
    assert relative_time(replace(comparison(ramp), constants=planned), "ramp", HARDWARE[0]) is None


def test_a_seed_without_constants_does_not_count():
    ramp = {0: run([16] * 300, 1.1), 1: run([16] * 999, 1.1)}
    found = relative_time(comparison(ramp, {0: 0.0}), "ramp", HARDWARE[0])
    assert found.seeds == 1
    assert relative_time(comparison(ramp), "ramp", HARDWARE[0]).seeds == 2
    assert found == relative_time(comparison({0: ramp[0]}), "ramp", HARDWARE[0])


def test_bounds_on_both_sides_say_nothing():
    ramp = {0: run([16] * 300, 1.01), 1: run([16] * 300, 9.0)}
    assert relative_time(comparison(ramp), "ramp", HARDWARE[0]) is None


def test_runs_that_diverged():
    assert relative_time(comparison({0: run([16] * 300, math.inf)}), "ramp", HARDWARE[0]) is None
    found = comparison({0: run([16] * 300, 1.1)})
    found.results["constant-64"][0] = constant(64, 1, math.inf)
    found.budgets["constant-64"][2.0] = {0: constant(64, 2, math.inf)}
    whole = relative_time(comparison({0: run([16] * 300, 1.1)}), "ramp", HARDWARE[0])
    assert relative_time(found, "ramp", HARDWARE[0]).ratio == whole.ratio
    all_of_them = comparison({0: run([16] * 300, 1.1)}, {0: math.inf})
    assert relative_time(all_of_them, "ramp", HARDWARE[0]) is None
