"""For any settings file: settings that survive their own file, or a ValueError that says why not."""

import dataclasses
import math
import typing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adabatch.settings import SECTIONS, Settings, load_settings, options, to_toml
from adabatch.training.checks import check_settings

FIELDS = [(section, item.name) for section, item, _ in options()]
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def load(path, content: bytes) -> Settings | None:
    """The settings of a file with this content; None if it was refused, in words."""
    path.write_bytes(content)
    try:
        return load_settings(file=path)
    except ValueError as refusal:
        says_something(refusal)
        return None


def says_something(refusal: ValueError) -> None:
    """A message of the project's own, of a length that can be read."""
    assert len(str(refusal)) > 20
    assert len(str(refusal)) < 3000


def survives(path, loaded: Settings) -> None:
    loaded = dataclasses.replace(loaded, run=dataclasses.replace(loaded.run, output=str(path.parent)))
    again = load(path, to_toml(loaded).encode("utf-8"))
    assert again is not None
    assert same(dataclasses.asdict(again), dataclasses.asdict(loaded))


def same(first, second) -> bool:
    """Equal, NaN included, with equal types."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    both_nan = isinstance(first, float) and isinstance(second, float) and math.isnan(first) and math.isnan(second)
    return type(first) is type(second) and (first == second or both_nan)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("settings") / "settings.toml"


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(st.binary(max_size=80), text.map(str.encode)))
@example(content=b"[schedule]\neta = " + b"[" * 5000)
@example(content=b"[schedule]\neta = " + b"9" * 5000)
@example(content=b"[schedule]\neta = 0x" + b"f" * 400)
@example(content=b"[run]\noutput = '\xff'")
@example(content=b"[run]\noutput = '\x00'")
@example(content=b"\xef\xbb\xbf[run]\n")
@example(content=b"schedule.eta = 0.5\nrun.samples = 3\n")
@example(content=b"[[schedule]]\neta = 0.5\n")
def test_any_bytes(file, content):
    loaded = load(file, content)
    if loaded is not None:
        survives(file, loaded)


def toml(value) -> str:
    """Any value as TOML, written by hand: what is under test does not write its own questions."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(name)} = {toml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value)


scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-3, 70),
    st.floats(),
    text,
    st.dates(),
    st.sampled_from(["1,2", "0.5,0.5", "bytes", "norm-test", "nan", "inf", "1e999", "1_000"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=2)
)


def content_of(entries) -> bytes:
    lines: dict[str, list[str]] = {}
    for (section, name), value in entries.items():
        lines.setdefault(section, []).append(f"{name} = {toml(value)}")
    return "".join(f"[{section}]\n" + "\n".join(part) + "\n" for section, part in lines.items()).encode()


@settings(max_examples=250, deadline=None)
@given(entries=st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
@example(entries={("optimizer", "lr"): 10**400})
@example(entries={("optimizer", "lr"): math.inf, ("schedule", "eta"): math.nan})
@example(entries={("schedule", "initial_batch"): "9" * 5000})
@example(entries={("schedule", "stage_batches"): "9" * 5000})
@example(entries={("data", "data"): [["nested"]]})
@example(entries={("data", "validation_data"): {}})
@example(entries={("data", "data"): []})
def test_any_values_of_known_settings(file, entries):
    loaded = load(file, content_of(entries))
    if loaded is not None:
        survives(file, loaded)


def fitting(hint) -> st.SearchStrategy:
    """Values of a setting's own type, small and large, sensible and not."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(fitting(arguments[0]), max_size=3)
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(-2, 9) | st.integers()
    if hint is float:
        return st.sampled_from([0.0, 0.5, 1.0, 2.0]) | st.floats()
    return text


HINTS = {
    (section, item.name): hint
    for section, item, hint in options()
    # Of the machine (GPUs), or of files that the test would have to leave there.
    if item.name not in ("device", "replay_run")
}


@settings(max_examples=250, deadline=None)
@given(
    entries=st.lists(st.sampled_from(sorted(HINTS)), max_size=6, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fitting(HINTS[name]) for name in names})
    ),
    ranks=st.integers(0, 4),
)
@example(entries={("schedule", "schedule"): "stagewise", ("schedule", "stage_batches"): []}, ranks=1)
@example(entries={("schedule", "micro_batch"): 0}, ranks=1)
@example(entries={("parallel", "tensor_parallel"): 0, ("parallel", "parallel"): "fsdp"}, ranks=1)
@example(entries={("parallel", "replicas"): 0, ("parallel", "parallel"): "hsdp"}, ranks=2)
@example(entries={("schedule", "schedule"): "seesaw", ("schedule", "seesaw_factor"): 1.0}, ranks=1)
@example(entries={("schedule", "schedule"): "seesaw", ("schedule", "seesaw_factor"): 1 + 1e-15}, ranks=1)
@example(entries={("optimizer", "lr"): math.nan}, ranks=1)
@example(entries={("optimizer", "warmup_samples"): 2**70, ("run", "samples"): 2**71}, ranks=1)
def test_settings_of_the_right_types_are_accepted_or_refused_before_anything_runs(file, entries, ranks):
    loaded = load(file, content_of(entries))
    if loaded is None:
        return
    survives(file, loaded)
    try:
        check_settings(loaded, ranks)
    except ValueError as refusal:
        says_something(refusal)


def test_the_name_of_a_file_that_is_no_text():
    with pytest.raises(ValueError, match=r"data = .* is not UTF-8"):
        load_settings(overrides={"data": "corpus-\udcff.txt"})


def test_every_section_and_setting_can_be_drawn():
    assert {section for section, _ in FIELDS} == set(SECTIONS)
    assert len(HINTS) >= len(FIELDS) - 2
