"""Every mistake of a loop is refused on every rank, under every wrapping and for every family of models."""

from __future__ import annotations

import functools

import pytest

from tests.support.families import FAMILIES
from tests.support.faulty_loops import WRAPPINGS, outcomes
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

SLOW = ("DDP, compiled", "hybrid sharding")
"""Compiling takes seconds for each family, and four ranks on two cores wait for one another."""


@functools.cache
def measured(name: str) -> list[dict[tuple[str, str], str]]:
    """What was raised, for each family and fault, by rank."""
    ranks = WRAPPINGS[name].ranks
    if ranks == 1:
        return [outcomes(0, 1, name, tuple(FAMILIES))]
    return run_ranks(outcomes, ranks, name, tuple(FAMILIES))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(name, fault, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, wrapping in WRAPPINGS.items()
        for fault in ("", *wrapping.faults)
    ],
)
def test_a_right_loop_is_accepted_and_a_wrong_one_refused_on_every_rank(name, fault):
    for family in FAMILIES:
        raised = [of_rank[family, fault] for of_rank in measured(name)]
        if fault:
            assert all(raised), (family, raised)
        else:
            assert not any(raised), (family, raised)
