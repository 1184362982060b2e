"""From the names in the settings to the sources of documents."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from adabatch.data.documents import Source
from adabatch.data.hugging_face import PARQUET, HuggingFaceSource, is_dataset_folder
from adabatch.data.json_lines import JsonLinesSource, is_json_lines
from adabatch.data.local_files import NamedFile, files_in, installed_files, stdlib_files
from adabatch.data.text_files import TextSource
from adabatch.refusals import did_you_mean
from adabatch.settings.data import DataSettings
from adabatch.settings.paths import expand_user, names_a_file

__all__ = ["open_set", "open_sources"]

COLLECTIONS: dict[str, Callable[[], list[NamedFile]]] = {"stdlib": stdlib_files, "site-packages": installed_files}

NAMED = 5  # names in a warning


def open_sources(settings: DataSettings, *, warn: bool = False) -> list[Source]:
    """The sources of the training data and, where it is named apart, of the validation data.

    Args:
        settings: the data.
        warn: of what is left out of folders.

    Raises:
        ValueError: a name is neither a file, nor a folder with text, nor can it be a dataset's name, or a file
            does not hold text.
    """
    own = settings.first_validation
    if own is None:
        return _open(settings, settings.data, settings.validation_fraction, warn)
    return _open(settings, settings.data, 0.0, warn) + open_set(settings, own, warn=warn)


def open_set(settings: DataSettings, data: Sequence[str], *, warn: bool = False) -> list[Source]:
    """The sources of a validation set, all of which is for validation; see :func:`open_sources`."""
    return _open(settings, data, 1.0, warn)


def _open(settings: DataSettings, data: str | Sequence[str], fraction: float, warn: bool) -> list[Source]:
    """One source for all text files, one for all JSON lines, one for each dataset."""
    found = [(name, _files(name, settings.data_config, warn)) for name in DataSettings.names(data)]
    files = [file for _, local in found for file in local or ()]
    sources: list[Source] = []
    if text := [file for file in files if not is_json_lines(file)]:
        sources.append(TextSource(text, fraction))
    if lines := [file for file in files if is_json_lines(file)]:
        sources.append(JsonLinesSource(lines, settings.text_field, fraction))
    datasets = [HuggingFaceSource(name, settings, fraction) for name, local in found if local is None]
    for source in datasets if warn else ():
        _warn_of(source.left_out(), source.name)
    return sources + datasets


def _files(name: str, config: str | None, warn: bool) -> list[NamedFile] | None:
    """The local files that a name stands for; None if it is a dataset."""
    if name in COLLECTIONS:
        return COLLECTIONS[name]()
    path = expand_user(name)
    if path.is_dir():
        if config is not None or is_dataset_folder(path):
            return None
        files, left_out = files_in(path)
        if warn:
            _warn_of(left_out, str(path))
        return files
    if path.is_file():
        if path.stat().st_size == 0:
            raise ValueError(f"the file {path} is empty; name a file with text")
        return None if path.suffix.lower() == PARQUET else [NamedFile(path.name, path)]
    if path.exists():
        raise ValueError(
            f"{path} is neither a file nor a folder; name a file with text, or a folder of such files"
        )
    if names_a_file(name) or "/" not in name or path.parent.is_dir():  # the Hub names datasets owner/name
        raise ValueError(
            f"there is no file or folder {path} (in {Path.cwd()}{_nearest(path)}); data is 'stdlib', "
            "'site-packages', a text, JSON-lines or Parquet file, a folder of such files, or a Hugging Face "
            "dataset as owner/name"
        )
    return None


def _nearest(path: Path) -> str:
    """A name that may have been meant."""
    try:
        there = [name for name in os.listdir(path.parent) if not name.startswith(".")]
    except OSError:
        there = []
    return did_you_mean(path.name, [*COLLECTIONS, *there])


def _warn_of(left_out: Sequence[str], folder: str) -> None:
    if left_out:
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        warnings.warn(f"left out of {folder}: {', '.join(left_out[:NAMED])}{more}", stacklevel=2)
