"""Reading settings: defaults < preset < file < command line.

The sections of a settings file (TOML) are those of :mod:`adabatch.settings.sections`::

    [schedule]
    schedule = "norm-test"
    eta = 0.8

Relative paths in a file begin at the folder of that file. The resolved settings are saved with the run as
``config.toml``, in the same format (:mod:`adabatch.settings.saving`).
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from adabatch.refusals import did_you_mean
from adabatch.settings.not_offered import not_offered
from adabatch.settings.paths import absolute, with_home
from adabatch.settings.sections import SECTIONS, Settings

__all__ = [
    "RENAMED",
    "field_docs",
    "load_settings",
    "merge",
    "options",
    "overlay",
    "preset_summaries",
    "settings_in_file",
]

RENAMED: Mapping[str, str] = {
    "preset.microllama-300m": "preset.paper-microllama",
    "preset.tinyllama-1.1b": "preset.paper-tinyllama",
    "preset.openllama-3b": "preset.paper-openllama",
}
"""Old names and what they are called now: ``section.setting`` or ``preset.name``. A settings file or a checkpoint
with an old one is refused with the new one."""

COMMAND_LINE = "the command line"

LARGEST = 2**63 - 1
"""The largest integer of a setting, as in TOML."""


@functools.cache
def _hints(section: str) -> Mapping[str, Any]:
    """The type of each setting of a section."""
    return types.MappingProxyType(typing.get_type_hints(SECTIONS[section]))


@functools.cache
def options() -> tuple[tuple[str, Field[Any], Any], ...]:
    """Section, field and resolved type of every setting, in order."""
    return tuple(
        (section, item, _hints(section)[item.name]) for section, cls in SECTIONS.items() for item in fields(cls)
    )


@functools.cache
def field_docs(cls: type) -> Mapping[str, str]:
    """The docstring under each field of a dataclass, on one line.

    >>> from adabatch.settings import ModelSettings
    >>> field_docs(ModelSettings)["model"].startswith("A built-in architecture")
    True
    """
    docs = {item.name: item.metadata["doc"] for item in fields(cls) if "doc" in item.metadata}
    for body in (_class_definitions(base.__module__)[base.__name__] for base in cls.__mro__[:-1]):
        for node, after in zip(body.body, body.body[1:], strict=False):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_text:
                docs[node.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return types.MappingProxyType(docs)


@functools.cache
def _class_definitions(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module's source, which is parsed once: every command's options read it."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def preset_summaries() -> dict[str, str]:
    """Names that ``--preset`` takes, in order, each with what its file says of it first.

    >>> preset_summaries()["demo"]
    'A small Llama on the source text of the Python standard library'
    """
    files = sorted(resources.files("adabatch.settings.presets").iterdir(), key=lambda file: file.name)
    texts = {
        file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files if file.name.endswith(".toml")
    }
    comments = {name: text.splitlines()[0].removeprefix("# ") for name, text in texts.items()}
    return {name: comment.partition(":")[0].rstrip(".") for name, comment in comments.items()}


def load_settings(
    preset: str | None = None, file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Resolve defaults < preset < file < overrides.

    Args:
        preset: a built-in preset's name.
        file: a TOML file with the sections above.
        overrides: by field name, as on the command line.

    Raises:
        ValueError: for an unknown preset, section, setting or choice, or a value of the wrong type.

    >>> load_settings(overrides={"eta": 0.5}).schedule.eta
    0.5
    """
    settings = Settings()
    if preset is not None:
        if preset not in preset_summaries():
            new = RENAMED.get(f"preset.{preset}", "").removeprefix("preset.")
            instead = f"it is called {new} now" if new else f"take one of {', '.join(preset_summaries())}"
            raise ValueError(f"the preset {preset!r} is not known: {instead} (--preset)")
        text = (resources.files("adabatch.settings.presets") / f"{preset}.toml").read_text("utf-8")
        settings = merge(settings, tomllib.loads(text), f"preset {preset}")
    if file is not None:
        settings = merge(settings, _read_toml(Path(file)), str(file), Path(file).parent)
    return overlay(settings, overrides or {})


def overlay(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """The settings with some replaced, by field name.

    Raises:
        ValueError: for an unknown setting or choice, or a value of the wrong type.
    """
    by_section: dict[str, dict[str, Any]] = {}
    sections = {item.name: section for section, item, _ in options()}
    for name, value in overrides.items():
        if name not in sections:
            raise ValueError(f"the setting {name!r} is not known: {_names(name, sorted(sections))}")
        by_section.setdefault(sections[name], {})[name] = value
    return merge(settings, by_section, COMMAND_LINE)


def settings_in_file(path: Path) -> dict[str, Any]:
    """What a settings file sets, by field name, with paths absolute.

    Raises:
        ValueError: for a file that cannot be read, an unknown section or setting, or a value of the wrong type.
    """
    values = _read_toml(path)
    resolved = merge(Settings(), values, str(path), path.parent)
    return {
        name: getattr(getattr(resolved, section), name) for section, entries in values.items() for name in entries
    }


def _read_toml(path: Path) -> dict[str, Any]:
    if path.is_char_device() or path.is_block_device():  # some have no end
        raise ValueError(f"{path} is a device, not a settings file (--config)")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"the settings file {path} does not exist (--config)") from None
    except (ValueError, RecursionError) as error:  # no TOML or UTF-8, a number of thousands of digits, nesting
        raise ValueError(f"the settings file {path} is not TOML: {error}") from None
    except OSError as error:
        raise ValueError(f"the settings file {path} cannot be read: {error.strerror}") from None


def merge(settings: Settings, values: Mapping[str, Any], source: str, folder: Path | None = None) -> Settings:
    """The settings with the given sections' fields replaced.

    Args:
        settings: to start from.
        values: sections, as in a settings file.
        source: what they were read from, for the message.
        folder: where relative paths in them begin; None leaves them as they are.

    Raises:
        ValueError: for an unknown section, setting or choice, a renamed one, or a value of the wrong type.
    """
    _refuse_renamed(values, source)
    changed: dict[str, Any] = {}
    for section, entries in values.items():
        if section not in SECTIONS:
            raise ValueError(f"{source}: {_unknown_section(section, entries)}")
        if not isinstance(entries, Mapping):
            raise ValueError(f"{source}: {section} must be a section, [{section}], not a value")
        hints = _hints(section)
        for name in entries:
            if name not in hints:
                why = not_offered(name) or _where_it_is(name) or _names(name, sorted(hints))
                raise ValueError(f"{source}: [{section}] has no setting {name!r}: {why}")
        converted = {name: _convert(name, value, hints[name], source) for name, value in entries.items()}
        for name, value in converted.items():
            converted[name] = with_home(name, value) if folder is None else absolute(name, value, folder)
        changed[section] = _replaced(getattr(settings, section), converted, source)
    return replace(settings, **changed)


def _unknown_section(name: str, entries: Any) -> str:
    if not isinstance(entries, Mapping) and (where := _where_it_is(name)):
        return f"{name} stands in no section: {where}"
    return f"the section [{name}] is not known: {_names(name, list(SECTIONS))}"


def _where_it_is(name: str) -> str:
    """What to do about a setting that another section has; empty if none has it."""
    sections = (section for section, item, _ in options() if item.name == name)
    return next((f"it is a setting of [{section}], write it there" for section in sections), "")


def _names(name: str, known: Sequence[str]) -> str:
    return f"take one of {', '.join(known)}{did_you_mean(name, known)}"


def _replaced(section: Any, values: Mapping[str, Any], source: str) -> Any:
    """The section with these values; a refusal names the file that they are from."""
    try:
        return replace(section, **values)
    except ValueError as refusal:
        raise refusal if source == COMMAND_LINE else ValueError(f"{source}: {refusal}") from None


def _refuse_renamed(values: Mapping[str, Any], source: str) -> None:
    """An old name is refused with the new one, also if its section is gone."""
    sections = {section: entries for section, entries in values.items() if isinstance(entries, Mapping)}
    names = [f"{section}.{name}" for section, entries in sections.items() for name in entries]
    if old := [f"{name} is called {RENAMED[name]} now" for name in names if name in RENAMED]:
        raise ValueError(f"{source}: {', '.join(old)}: change it there")


def _convert(name: str, value: Any, hint: Any, source: str) -> Any:
    """The value in the field's type; ints are taken for floats, lists and comma-separated text for tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        several = isinstance(value, list | tuple)
        wanted = [a for a in arguments if a is not type(None) and several == (typing.get_origin(a) is Sequence)]
        return _convert(name, value, (wanted or arguments)[0], source)
    if origin is Sequence:
        return tuple(_scalar(name, item, arguments[0], source) for item in value)
    if origin is Literal:
        if value not in arguments:
            why = not_offered(name, value) or _names(str(value), list(map(str, arguments)))
            raise ValueError(f"{source}: {name} = {_shortened(value)} is not known: {why}")
        return value
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ValueError(f"{source}: {name} = {_shortened(value)} must be a list")
        return tuple(_convert(name, item, arguments[0], source) for item in items)
    return _scalar(name, value, hint, source)


def _scalar(name: str, value: Any, kind: type, source: str) -> Any:
    wrong = ValueError(f"{source}: {name} = {_shortened(value)} must be of type {kind.__name__}")
    if kind in (int, float) and isinstance(value, bool):
        raise wrong
    if not isinstance(value, kind):
        if kind not in (int, float) or not isinstance(value, str | int):
            raise wrong
        try:
            value = kind(value)
        except (ValueError, OverflowError):
            raise wrong from None
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{source}: {name} = {_shortened(value)} is too large: integers have 64 bits")
    if (
        isinstance(value, str) and value.encode(errors="ignore").decode() != value
    ):  # a file's name on Linux may be so
        raise ValueError(f"{source}: {name} = {_shortened(value)} is not UTF-8: rename what it names")
    return value


def _shortened(value: Any) -> str:
    """The value as it may stand in a message, however long it is."""
    try:
        shown = repr(value)
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 100 else f"{shown[:80]}... ({len(shown)} characters)"
