"""Options read, derived from code: through calls and methods, and never less than is read."""

import dataclasses

import pytest

from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.options import OF_THE_COMMAND, option, options_read
from simulate.experiments.settings import Level, Settings


def _inner(number: int, settings: Settings) -> object:
    return [settings.by_level(settings.steps, 2, number) for _ in range(2)]


def direct(settings: Settings) -> object:
    return settings.eta


def through_calls(settings: Settings) -> object:
    return _inner(1, settings), _inner(number=2, settings=settings), direct(settings)


def hidden(settings: Settings) -> object:
    return getattr(settings, "eta")  # noqa: B009 - what must not be overlooked


def renamed(settings: Settings) -> object:
    other = settings
    return other.eta


def handed_to_a_method(settings: Settings) -> object:
    return [].append(settings)


def test_reads_are_followed_through_calls_and_methods():
    assert options_read(direct) == {"eta"}
    assert options_read(through_calls) == {"eta", "steps", "level"}


@pytest.mark.parametrize("function", [hidden, renamed, handed_to_a_method])
def test_a_use_that_cannot_be_followed_is_an_error(function):
    with pytest.raises(TypeError, match="cannot be followed"):
        options_read(function)


def test_every_option_is_for_some_experiment_and_has_its_name_on_the_command_line(adabatch):
    names = {item.name for item in dataclasses.fields(Settings)} - OF_THE_COMMAND
    read = {name for experiment in EXPERIMENTS.values() for name in options_read(experiment.function)}
    assert read == names
    shown = adabatch.output("verify-bounds", "--help")
    for level in (Level.QUICK, Level.FULL):
        assert all(option(name, Settings(level=level)) in shown for name in names)
