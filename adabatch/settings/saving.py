"""How settings are kept: in ``config.toml`` of a run's folder, and in its checkpoints.

Paths are absolute there, so that a run can be resumed from any working directory; the run's own folder is ``.`` in
its ``config.toml``, so that the folder may also be moved. ``overwrite`` is not kept there, as a start from that
file would delete the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adabatch.files import write_text
from adabatch.settings.loading import merge
from adabatch.settings.paths import absolute
from adabatch.settings.sections import Settings

__all__ = ["CONFIG", "from_saved", "to_saved", "to_toml", "write_config"]

CONFIG = "config.toml"
"""The file of the settings in a run's folder."""


def to_toml(settings: Settings) -> str:
    """The settings as a TOML file that :func:`~adabatch.settings.load_settings` reads back; None is left out.

    >>> print(to_toml(Settings()).splitlines()[0])
    [model]
    """
    import tomli_w  # here, since the commands of the theory read settings and do without the extra `train`

    sections = asdict(settings).items()
    return tomli_w.dumps({section: _without_none(values) for section, values in sections})


def write_config(settings: Settings, folder: Path) -> None:
    """Write a run's settings into its folder, whole or not at all."""
    kept = from_saved(to_saved(settings), CONFIG)
    write_text(folder / CONFIG, to_toml(replace(kept, run=replace(kept.run, output=".", overwrite=False))))


def to_saved(settings: Settings) -> dict[str, dict[str, Any]]:
    """The sections as they stand in JSON, with paths absolute.

    >>> to_saved(Settings())["data"]["data"]
    'stdlib'
    """
    here = Path.cwd()
    sections = {
        section: {name: absolute(name, value, here) for name, value in values.items()}
        for section, values in asdict(settings).items()
    }
    saved: dict[str, dict[str, Any]] = json.loads(json.dumps(sections))
    return saved


def from_saved(sections: Mapping[str, Mapping[str, Any]], source: str) -> Settings:
    """The settings that :func:`to_saved` wrote; a setting that it lacks has its default.

    Args:
        sections: as saved.
        source: what they were read from, for the message.

    Raises:
        ValueError: for a name that is not known or was renamed, or a value of the wrong type.
    """
    return merge(Settings(), {section: _without_none(values) for section, values in sections.items()}, source)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
