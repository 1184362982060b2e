"""benchmarks/soak.py tells a run that holds more and more from one that does not."""

from __future__ import annotations

import pytest

from tests.support.repository import script

flat = script("benchmarks/soak.py").flat


def notes(memory=lambda step: 480.0, files=lambda step: 21, threads=lambda step: 7):
    steps = range(50, 20_000, 100)
    return [
        {"step": s, "seconds": s / 20, "memory": memory(s), "files": files(s), "threads": threads(s)}
        for s in steps
    ]


def test_what_stays_is_flat():
    assert flat(notes())
    assert flat(notes(memory=lambda step: 480 + (step % 300) / 100))


@pytest.mark.parametrize(
    "growing",
    [
        {"memory": lambda step: 480 * (1 + step / 500_000)},
        {"files": lambda step: 21 + step // 5000},
        {"threads": lambda step: 7 + step // 10_000},
    ],
    ids=["memory", "files", "threads"],
)
def test_what_grows_is_found(growing):
    assert not flat(notes(**growing))
