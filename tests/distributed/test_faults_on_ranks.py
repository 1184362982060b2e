"""Every mistake of a loop is refused on every rank, under every wrapping and for every family of models."""

from __future__ import annotations

import re

import pytest

from tests.support.faulty_loops import WRAPPINGS, WRONG_WRAPS, outcomes
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

SLOW = ("DDP, compiled", "hybrid sharding", "FSDP2 x tensor parallel")
"""Compiling takes seconds for each family, and four ranks on two cores wait for one another."""

WHEN_ATTACHING = "nothing averages the gradient of"
AT_THE_END = "is not the mean of the groups' gradients|parameters have no reduced gradient"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in WRAPPINGS]
)
def test_a_right_loop_is_accepted_and_every_wrong_one_refused_on_every_rank(name):
    wrapping = WRAPPINGS[name]
    by_rank = [outcomes(0, 1, name)] if wrapping.ranks == 1 else run_ranks(outcomes, wrapping.ranks, name)
    for raised in by_rank:
        assert raised.keys() == {
            (family, fault) for family in wrapping.families for fault in ("", *wrapping.faults)
        }
        assert {family: message for (family, fault), message in raised.items() if message and not fault} == {}
        accepted = {
            (family, fault): message
            for (family, fault), message in raised.items()
            if fault and not re.search(WHEN_ATTACHING if fault in WRONG_WRAPS else AT_THE_END, message)
        }
        assert accepted == {}
