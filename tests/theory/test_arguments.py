"""Every public function of theory on numbers: fractions count as floats do, and NaN never passes for a number."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import theory
from adabatch.moments.hypotheses import HypothesisError
from theory.problem import AdamParameters, Problem

NUMBERS = ("Value", "float", "int")
THIRD = Fraction(1, 3)
GIVEN = {
    "beta1": Fraction(1, 2),
    "beta2": Fraction(9, 10),
    "eta": Fraction(1, 10),
    "probability": Fraction(1, 400),
    "rare": Fraction(1, 400),
    "mean_step": Fraction(-1, 2),
    **dict.fromkeys(
        ("batch", "batch_size", "count", "dimension", "noise_variance", "population", "steps"), Fraction(1000)
    ),
    "initial_potential": Fraction(0),
    "moved": Fraction(1, 10),
    **dict.fromkeys(
        ("batch_gradient", "gradients", "ratios", "scales", "squared_gradients", "tokens", "weights", "end")
    ),
    **dict.fromkeys(("extra_steps", "groups", "horizon", "quiet", "step", "window"), Fraction(4)),
}
"""By parameter, where 1/3 will not do; None of vectors, which are left out."""

PROBLEM = Problem(
    smoothness=Fraction(1),
    dimension=Fraction(10),
    initial_gap=Fraction(2),
    steps=Fraction(1000),
    initial_gradient_norm=Fraction(3),
)
ADAM = AdamParameters(beta1=GIVEN["beta1"], beta2=GIVEN["beta2"], eta=GIVEN["eta"], step_size=Fraction(1, 100))


def arguments_of(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Exact ones for what it requires, None if it requires more than numbers, a problem and Adam's parameters."""
    found: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            continue
        if parameter.annotation == "int":
            found[parameter.name] = 4
        elif parameter.annotation in NUMBERS and GIVEN.get(parameter.name, THIRD) is not None:
            found[parameter.name] = GIVEN.get(parameter.name, THIRD)
        elif parameter.annotation in ("Problem", "AdamParameters"):
            found[parameter.name] = PROBLEM if parameter.annotation == "Problem" else ADAM
        else:
            return None
    return found


def functions() -> dict[str, Callable[..., Any]]:
    """All public functions that take numbers, by name."""
    found = {}
    for info in pkgutil.walk_packages(theory.__path__, "theory."):
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            function = getattr(module, name)
            own = inspect.isfunction(function) and function.__module__ == info.name
            if own and "audit.checks" not in info.name and arguments_of(function):
                found[f"{info.name.removeprefix('theory.')}.{name}"] = function
    return found


FUNCTIONS = functions()


def as_floats(value: Any) -> Any:
    if isinstance(value, Fraction):
        return float(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: as_floats(getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What it returns, as numbers, or the hypothesis that it names; no warning passes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return numbers(function(**arguments))
    except HypothesisError as error:
        return error.hypothesis


def numbers(value: Any) -> list[float]:
    """All numbers in a result."""
    if value is None or isinstance(value, str):
        return []
    if is_dataclass(value) and not isinstance(value, type):
        return [x for f in fields(value) for x in numbers(getattr(value, f.name))]
    if isinstance(value, dict):
        return [x for part in value.values() for x in numbers(part)]
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in numbers(part)]
    if np.asarray(value).dtype == bool:  # a test that is met is an answer, one that is not may be refused so
        return [1.0] * int(np.sum(value))
    return [float(x) for x in np.asarray(value, float).ravel()]


def test_there_are_many():
    assert len(FUNCTIONS) > 100


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fractions_count_as_floats(name):
    exact = arguments_of(FUNCTIONS[name])
    expected = outcome(FUNCTIONS[name], {key: as_floats(value) for key, value in exact.items()})
    assert outcome(FUNCTIONS[name], exact) == (
        expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-9, nan_ok=True)
    )


def cases() -> list[tuple[str, str]]:
    return [
        (name, key)
        for name, f in FUNCTIONS.items()
        for key, value in arguments_of(f).items()
        if isinstance(value, Fraction)
    ]


@pytest.mark.parametrize(("name", "parameter"), cases())
def test_nan_is_refused_or_returned(name, parameter):
    arguments = {key: as_floats(value) for key, value in arguments_of(FUNCTIONS[name]).items()}
    found = outcome(FUNCTIONS[name], {**arguments, parameter: math.nan})
    assert isinstance(found, str) or not found or any(map(math.isnan, found))
