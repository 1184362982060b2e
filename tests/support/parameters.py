"""Bounds on plain keywords: tests vary one value at a time, whether it is the problem's or Adam's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from theory.problem import AdamParameters, Problem

__all__ = ["Given", "changed", "evaluate", "parameters"]

Given = tuple[Problem, AdamParameters]
OF_THE_PROBLEM = {field.name for field in fields(Problem)}
OF_ADAM = {field.name for field in fields(AdamParameters)}


def parameters(**values: Any) -> Given:
    """The problem and Adam with these values; eta = 0 if it is not given."""
    problem = {name: value for name, value in values.items() if name in OF_THE_PROBLEM}
    return Problem(**problem), AdamParameters(
        **{"eta": 0.0} | {name: value for name, value in values.items() if name not in problem}
    )


def changed(given: Given, **values: Any) -> Given:
    """The same with other values."""
    of_the_problem = {name: value for name, value in values.items() if name in OF_THE_PROBLEM}
    of_adam = {name: value for name, value in values.items() if name not in of_the_problem}
    return replace(given[0], **of_the_problem), replace(given[1], **of_adam)


def evaluate(function: Callable[..., Any], **values: Any) -> Any:
    """``function(problem, adam, ...)``; values that belong to neither are its own keywords."""
    own = {name: value for name, value in values.items() if name not in OF_THE_PROBLEM | OF_ADAM}
    return function(*parameters(**{name: value for name, value in values.items() if name not in own}), **own)
