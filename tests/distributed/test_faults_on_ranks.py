"""Every mistake of a loop is refused on every rank, under every wrapping and for every family of models."""

from __future__ import annotations

import functools
import re

import pytest

from tests.support.faulty_loops import WRAPPINGS, WRONG_WRAPS, outcomes
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

SLOW = ("DDP, compiled", "hybrid sharding", "FSDP2 x tensor parallel")
"""Compiling takes seconds for each family, and four ranks on two cores wait for one another."""

WHEN_ATTACHING = "nothing averages the gradient of"
AT_THE_END = "is not the mean of the groups' gradients|parameters have no reduced gradient"


@functools.cache
def measured(name: str) -> list[dict[tuple[str, str], str]]:
    """What was raised, for each family and fault, by rank."""
    ranks = WRAPPINGS[name].ranks
    return [outcomes(0, 1, name)] if ranks == 1 else run_ranks(outcomes, ranks, name)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(name, fault, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, wrapping in WRAPPINGS.items()
        for fault in ("", *wrapping.faults)
    ],
)
def test_a_right_loop_is_accepted_and_a_wrong_one_refused_on_every_rank(name, fault):
    refusal = WHEN_ATTACHING if fault in WRONG_WRAPS else AT_THE_END
    for family in WRAPPINGS[name].families:
        raised = [of_rank[family, fault] for of_rank in measured(name)]
        if fault:
            assert all(re.search(refusal, message) for message in raised), (family, raised)
        else:
            assert not any(raised), (family, raised)
