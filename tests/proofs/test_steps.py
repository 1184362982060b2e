"""The steps of proofs accept what is true and reject what is not."""

import pytest
import sympy

from proofs.steps import (
    Evidence,
    Method,
    Proof,
    all_of,
    by_lemma,
    checked,
    identity,
    nonnegative,
    prose,
    run,
    steps_of,
)

x, y = sympy.symbols("x y", positive=True)


def proof(*steps):
    return Proof("T", "test", "x", tuple(steps))


@pytest.mark.parametrize(
    ("left", "right", "holds"),
    [
        ((x + y) ** 2, x**2 + 2 * x * y + y**2, True),
        ((x + y) ** 2, x**2 + 2.02 * x * y + y**2, False),
        (1 / (1 - 1 / sympy.sqrt(2)), 2 + sympy.sqrt(2), True),
        (sympy.sqrt(4 * x**2), 2 * x, True),
        (sympy.sqrt(x**2 + y**2), x + y, False),
    ],
)
def test_identity(left, right, holds):
    assert run(proof(identity("s", left, right))).holds is holds


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        (1 / (1 + x) - 1 / (2 + x), True),
        (1 / (2 + x) - 1 / (1 + x), False),
        (x**2 - x + 1, False),  # true, but these coefficients do not show it
        ((x - y) ** 2, False),
        (x / (x - 1), False),
        ((-x - 1) / (-x - 2), True),
    ],
)
def test_nonnegative(expression, holds):
    assert run(proof(nonnegative("s", expression, [x, y]))).holds is holds


def test_nonnegative_on_an_interval():
    a = sympy.Symbol("a", positive=True)
    inside = {x: 1 - 1 / (1 + a)}
    assert run(proof(nonnegative("1 - x^2 >= 0 on [0, 1]", 1 - x**2, [a], inside))).holds
    assert not run(proof(nonnegative("0.9 - x^2 >= 0 on [0, 1]", sympy.Rational(9, 10) - x**2, [a], inside))).holds


def test_a_proof_of_prose_alone_does_not_hold():
    assert not run(proof(prose("by symmetry"))).holds


def test_one_failing_step_fails_the_proof_and_is_named():
    result = run(proof(identity("good", x, x), identity("bad", x, y), prose("words")))
    assert not result.holds
    assert [failure.step.statement for failure in result.failures] == ["bad"]
    assert result.seconds >= 0


def test_by_lemma_checks_the_lemma_and_its_hypotheses():
    true, false = proof(identity("x = x", x, x)), proof(identity("x = y", x, y))
    assert run(proof(by_lemma("s", true, [identity("h", y, y)]))).holds
    assert not run(proof(by_lemma("s", false))).holds
    assert not run(proof(by_lemma("s", true, [identity("h", x, y)]))).holds


def test_checked():
    step = checked("s", lambda: Evidence(False, "no"))
    assert step.method is Method.CHECK
    assert run(proof(step)).failures[0].evidence.detail == "no"


def test_a_step_is_the_value_of_its_yield():
    """In a derivation, and in one that is a part of it next to a step that has been made."""
    made = identity("made", x, x)

    def part():
        first = yield identity("first", x, x)
        yield prose(f"after {first.statement}")

    def whole():
        listed = yield from all_of(part(), made)
        yield prose(f"{len(listed)} before, the last {listed[-1].statement}")

    assert [step.statement for step in steps_of(whole())] == [
        "first",
        "after first",
        "made",
        "3 before, the last made",
    ]
