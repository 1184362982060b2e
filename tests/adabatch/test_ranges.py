"""Which numbers a range allows, and that every number of the settings has one."""

from __future__ import annotations

import math
import typing
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.ranges import Range, option_of, ranges_of
from adabatch.settings import SECTIONS, Settings, load_settings, options

RANGES = {item.name: (section, ranges_of(SECTIONS[section]).get(item.name)) for section, item, _ in options()}


def kind_of(hint) -> type | None:
    """int or float, of a number or of each item of a tuple."""
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    return hint if hint in (int, float) else None


NUMBERS = {item.name: kind for _, item, hint in options() if (kind := kind_of(hint)) is not None}


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_number_of_the_settings_has_a_range_that_is_checked(name):
    section, allowed = RANGES[name]
    assert allowed is not None, f"{name} has no range: Annotated[..., Range(...)]"
    assert math.isfinite(allowed.least)
    assert math.isfinite(allowed.most)
    wrong = [allowed.most * 2 + 2, -abs(allowed.least) - 1]
    wrong += [math.nan, math.inf, -math.inf] if NUMBERS[name] is float else []
    for value in wrong:
        value = int(value) if NUMBERS[name] is int else value
        given = str(value) if name.startswith("stage_") else value
        with pytest.raises(
            ValueError, match=f"{option_of(name)} must be .*, but is|too large: integers have 64 bits"
        ):
            load_settings(overrides={name: given})
    with pytest.raises(ValueError, match=f"{option_of(name)} must be"):
        SECTIONS[section](**{name: (-1,) if name.startswith("stage_") else -1})


def test_a_refusal_names_the_file_that_holds_the_number(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("[run]\nsamples = 0\n")
    with pytest.raises(ValueError, match=r"own.toml: --samples must be from 1 to 1,000,000,000,000, but is 0$"):
        load_settings(file=file)


TEXTS = [item.name for _, item, hint in options() if hint is str or type(None) in typing.get_args(hint)]
DEFAULTS = {item.name: item.default for _, item, _ in options()}


@pytest.mark.parametrize("name", [*TEXTS, "data"])
def test_an_empty_text_is_refused_unless_it_is_the_default(name):
    if DEFAULTS[name] == "":
        assert load_settings(overrides={name: ""}) == Settings()
        return
    with pytest.raises(ValueError, match=f"{option_of(name)} is empty: give it a value"):
        load_settings(overrides={name: ""})


def test_only_these_texts_are_empty_by_default():
    assert {name for name, default in DEFAULTS.items() if default == ""} == {
        "replay_run",
        "init_from",
        "length_stages",
        "lr_replay",
        "ranks_at",
    }


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    ends=st.tuples(finite, finite), value=st.floats(), above=st.booleans(), below=st.booleans(), zero=st.booleans()
)
def test_a_range_holds_what_lies_between_its_ends(ends, value, above, below, zero):
    least, most = sorted(ends)
    allowed = Range(least, most, above=above, below=below, zero="off" if zero else "")
    if not math.isfinite(value):
        assert value not in allowed
        return
    low, high, number = Fraction(least), Fraction(most), Fraction(value)
    between = low <= number <= high and not (above and number == low) and not (below and number == high)
    assert (value in allowed) == (between or (zero and number == 0))


@given(value=st.floats() | st.integers(-10, 10))
def test_require_refuses_exactly_what_is_outside(value):
    allowed = Range(-3, 4.5)
    if value in allowed:
        allowed.require(value, "--width")
    else:
        with pytest.raises(ValueError, match=r"^--width must be from -3 to 4.5, but is "):
            allowed.require(value, "--width")
