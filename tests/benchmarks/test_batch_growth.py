"""docs/batch_growth.md: its numbers are those of benchmarks/batch_growth.py, and its statements hold there."""

from __future__ import annotations

import math
import re

import pytest

from adabatch.schedules.base import Decision
from adabatch.settings import load_settings
from adabatch.statistics import GradientStatistics
from adabatch.training.checks import check_settings
from tests.support.repository import ROOT, script

growth = script("benchmarks/batch_growth.py")
PAGE = (ROOT / "docs" / "batch_growth.md").read_text()
TABLE = (ROOT / "benchmarks" / "batch_growth.txt").read_text().splitlines()
LEVEL = 165 * (1 / 0.8**2 - 1)
"""Where the healthy run stops growing in expectation: 93 samples."""


@pytest.fixture(scope="module")
def loops():
    """The records of every loop."""
    return {name: growth.looped(**options) for name, options in growth.LOOPS.items()}


def published():
    """First and last batch of each run of the table."""
    rows = [line for line in TABLE if not line.startswith("#") and line != growth.HEAD]
    return {line[:31].strip(): tuple(map(int, line[31:].split()[:2])) for line in rows}


def sizes(records):
    return [record["batch_size"] for record in records]


def ratios(records):
    return [record["test_statistic"] / record["batch_size"] for record in records]


def reasons(records):
    return {record["decision"] for record in records}


def test_the_page_has_the_numbers_of_the_table():
    table, found = published(), 0
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 5 and "→" in cells[-1]:
            for name, batch in zip(
                cells[-2].split(", ")[-cells[-1].count("→") :], cells[-1].split(", "), strict=True
            ):
                key = name if name in table else cells[-2]
                assert batch == "{} → {}".format(*table[key]), line
                found += 1
    assert found >= 15
    assert f"ended at {table['healthy'][1]}" in PAGE
    assert table["healthy"] == table["loss times 1000"] == table["bf16 arithmetic"]
    assert PAGE.count("(16 → 220") == 2
    assert f"8 → {table['train: bf16'][1]} in training" in PAGE
    assert f"(8 → {table['train: no clipping'][1]} without)" in PAGE


def test_the_table_lists_every_run_once():
    assert list(published()) == [*growth.LOOPS, *growth.RUNS]


def test_the_loops_go_as_the_table_says(loops):
    """Not to the sample: a T next to an integer may round otherwise on another processor."""
    table = published()
    for name, records in loops.items():
        first, last = table[name]
        assert sizes(records)[0] == first, name
        assert sizes(records)[-1] == pytest.approx(last, rel=0.3), name
    words = {line[:31].strip(): line[44:56].strip() for line in TABLE[2:]}
    assert {name: str(growth.behaviour(records, growth.maximum(name))) for name, records in loops.items()} == {
        name: words[name] for name in loops
    }


def test_the_noise_scale_is_165():
    """tr Sigma and ||G||^2 of x y with y = x t + e, from a large sample."""
    generator = growth.torch.Generator().manual_seed(1)
    samples = growth.independent(generator, 50_000).double()
    gradients = -samples[:, :64] * samples[:, 64:]
    mean = gradients.mean(0)
    trace = float((gradients - mean).square().sum(1).mean())
    assert trace == pytest.approx(105.6, rel=0.03)
    assert trace / (float(mean.square().sum()) - trace / len(samples)) == pytest.approx(165, rel=0.05)


def test_a_healthy_run_ends_above_its_level(loops):
    assert pytest.approx(93, abs=0.5) == LEVEL
    assert LEVEL < sizes(loops["healthy"])[-1] < 4 * LEVEL
    assert reasons(loops["healthy"]) == {"grow", "passed"}
    assert 0.5 < growth.median(ratios(loops["healthy"])) < 1.5  # T lies around the batch


def test_it_never_grows(loops):
    assert reasons(loops["eta 0.99"]) == {"passed"}
    assert max(ratios(loops["eta 0.99"])) < 1
    assert pytest.approx(0.02, abs=5e-4) == 1 / 0.99**2 - 1
    assert reasons(loops["maximum 16"]) == reasons(loops["test interval 100"]) == {"not tested"}
    assert {record["test_statistic"] for record in loops["maximum 16"]} == {None}
    assert reasons(loops["the same samples on every rank"]) == {"passed"}
    assert max(ratios(loops["the same samples on every rank"])) < 1e-6  # and with it the trace
    unresolved = [record for record in loops["debiased from 4"] if record["decision"] == "unresolved"]
    assert unresolved
    assert all(math.isnan(record["test_statistic"]) for record in unresolved)
    assert "unresolved" not in reasons(loops["debiased"])  # from a larger batch


def test_it_jumps(loops):
    steps = loops["eta 0.2"]
    assert min(ratios(steps[:2])) > 2
    assert ratios(steps[:1])[0] > 10
    assert pytest.approx(24) == 1 / 0.2**2 - 1
    limited = loops["eta 0.2, growth limit 2"]
    assert sum(record["batch_limited"] for record in limited) >= 4
    assert sizes(limited)[:4] == [16, 32, 64, 128]
    assert max(ratios(loops["debiased"])) > 5 * max(ratios(loops["healthy"]))
    assert max(ratios(loops["2 groups"])) > max(ratios(loops["16 groups"]))
    # Four copies: the noise of a quarter of the samples.
    assert sizes(loops["every sample four times"])[-1] > 3 * sizes(loops["healthy"])[-1]


def test_it_grows_otherwise(loops):
    assert sum(record["batch_limited"] for record in loops["growth limit 1.05"]) > 10
    rounded = loops["multiples of 64"]
    assert (rounded[1]["proposal"], rounded[2]["batch_size"]) == (86, 128)
    assert {size % 64 for size in sizes(rounded)} == {0}
    assert pytest.approx(33, abs=0.5) == 3 / 0.3**2
    assert sizes(loops["published estimator, eta 0.3"])[-1] < LEVEL / 2  # which healthy runs pass


def test_what_changes_nothing(loops):
    decisions = [[record["proposal"] for record in loops[name]] for name in ("healthy", "loss times 1000")]
    assert decisions[0] == decisions[1]
    assert sizes(loops["bf16 arithmetic"])[-1] == pytest.approx(sizes(loops["healthy"])[-1], rel=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"eta": 1.0},
        {"estimator": "paper", "eta": 1.5},
        {"test_interval": 1000},
    ],
)
def test_what_the_trainer_refuses_at_the_start(changes):
    with pytest.raises(ValueError, match=r"passes at any batch|asks for less|no test comes before the end"):
        check_settings(load_settings(overrides={**growth.BASE, "data": "stdlib", **changes}), 1)


def test_clipping_before_finish_is_refused_with_these_words():
    model = growth.nn.Linear(65, 1)
    statistics = GradientStatistics(model)
    for _ in range(2):
        model(growth.torch.randn(4, 65)).sum().backward()
        statistics.end_microbatch(4)
    growth.torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    with pytest.raises(ValueError, match="not the mean of the groups' gradients"):
        statistics.finish()
    assert '"not the mean of the groups\' gradients"' in PAGE


def test_fields_are_those_of_decisions_and_records(tmp_path):
    """The page's first table, against a decision, and a run that the noise limit holds back."""
    (tmp_path / "text.txt").write_text(growth.text(4000))
    growth.RUNS["short"] = {"samples": 160, "warmup_samples": 8, "noise_limit": 20.0}
    try:
        (record, *later) = growth.trained("short", tmp_path / "text.txt")
    finally:
        del growth.RUNS["short"]
    section = PAGE[PAGE.index("\n## What the records show") : PAGE.index("\n## It never grows")]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    named = [name for cell, _ in rows for name in re.findall("`([^`]+)`", cell)]
    assert len(named) == 6
    assert set(named) - set(record) == {"wanted"}
    assert any(set(named) <= set(held_back) for held_back in later)
    assert {name for _, cell in rows for name in re.findall("`([^`]+)`", cell)} <= set(
        Decision.__dataclass_fields__
    )
    listed = re.search(r"`decision` .*", section).group()
    known = set(re.findall("`([^`]+)`", listed)) - {"decision", "reason"}
    assert known == {"grow", "passed", "unresolved", "not tested", "scheduled", "skipped"}
    scale = record["noise_trace"] / (record["grad_sq_norm"] - record["noise_trace"] / record["batch_size"])
    assert math.isfinite(scale)


@pytest.mark.slow
def test_training_goes_as_the_table_says(tmp_path):
    """Two of its runs: a maximum of 8 is never tested, and without it the batch grows."""
    (tmp_path / "text.txt").write_text(growth.text())
    never = growth.trained("train: maximum 8", tmp_path / "text.txt")
    assert set(sizes(never)) == {8}
    assert reasons(never) == {"not tested"}
    grown = growth.trained("train", tmp_path / "text.txt")
    assert sizes(grown)[-1] == pytest.approx(published()["train"][1], rel=0.3)
