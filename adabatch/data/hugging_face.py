"""Documents of Hugging Face datasets: by name, or from local Parquet files."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from adabatch.data.documents import Document, Part, Place, Source, deal, held_out
from adabatch.settings.data import DataSettings
from adabatch.settings.paths import expand_user

__all__ = ["DatasetRows", "HuggingFaceSource", "is_dataset_folder"]

BATCH = 256  # rows read at once
ROWS = 8192  # rows that are one part of a dataset whose rows can be taken by number
PARQUET = ".parquet"
DESCRIPTIONS = {"README.md", "dataset_infos.json"}


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder is read through `datasets`: it holds Parquet files or was written by ``save_to_disk``."""
    return _is_saved(folder) or next(folder.rglob("*" + PARQUET), None) is not None


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


class HuggingFaceSource(Source):
    """The rows of a dataset, in their order.

    Held out for validation is the dataset's own ``validation`` split where it has one, otherwise the rows chosen
    by a hash of their file's and their own number.

    Args:
        name: a dataset's name on the hub, a folder or a Parquet file.
        settings: the configuration, the split to train on, the column with the text, and whether a dataset of the
            hub is read as a stream instead of being downloaded (local data are never copied).
        validation_fraction: the part of the rows held out; 1: all is for validation.
    """

    def __init__(self, name: str, settings: DataSettings, validation_fraction: float) -> None:
        self.name, self.path, self.fraction = name, expand_user(name), validation_fraction
        self.config, self.split, self.field = settings.data_config, settings.split, settings.text_field
        self.streaming = settings.streaming or self.path.exists()

    @cached_property
    def _builder(self) -> Any:
        """The dataset's builder, or the dataset itself if it was written by ``save_to_disk``."""
        import datasets

        try:
            if self.path.is_file():
                files = {self.split: glob.escape(str(self.path))}
                return datasets.load_dataset_builder("parquet", data_files=files)
            if self.path.is_dir() and _is_saved(self.path):
                return datasets.load_from_disk(str(self.path))
            escaped = glob.escape(str(self.path))
            if self.path.is_dir() and self.config is None and escaped != str(self.path):  # read as a pattern else
                found = datasets.data_files.get_data_patterns(escaped)
                there = {split: [f"{escaped}/{each}" for each in patterns] for split, patterns in found.items()}
                return datasets.load_dataset_builder("parquet", data_files=there)
            name = str(self.path) if self.path.is_dir() else self.name
            return datasets.load_dataset_builder(name, self.config)
        except Exception as error:  # not found, offline, configuration missing: each its own type
            raise self._failed(error) from error

    @cached_property
    def _splits(self) -> dict[str, Any]:
        """The dataset's splits, downloaded unless streaming."""
        import datasets

        builder = self._builder
        if isinstance(builder, datasets.Dataset):
            return {self.split: builder}
        if isinstance(builder, datasets.DatasetDict):
            return dict(builder)
        try:
            if self.streaming:
                splits = builder.as_streaming_dataset()
            else:
                builder.download_and_prepare()
                splits = builder.as_dataset()
        except Exception as error:
            raise self._failed(error) from error
        return dict(splits)

    def _failed(self, error: Exception) -> ValueError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        config = f" with configuration {self.config!r}" if self.config else ""
        return ValueError(
            f"data {self.name!r}{config} is not a file or folder here, and could not be loaded as a Hugging Face "
            f"dataset ({reason}); give 'stdlib', 'site-packages', a text, JSON-lines or Parquet file, a folder of "
            "such files, or a dataset's name and configuration (which needs a network or a copy in its cache)"
        )

    def left_out(self) -> list[str]:
        """The files of a folder that are in none of its splits, but for hidden ones and descriptions."""
        builder = self._builder
        if not self.path.is_dir() or not hasattr(builder, "config"):
            return []
        read = {os.path.realpath(file) for files in (builder.config.data_files or {}).values() for file in files}
        others = (path for path in self.path.rglob("*") if path.is_file() and os.path.realpath(path) not in read)
        names = [path.relative_to(self.path) for path in others]
        shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        return sorted(str(name) for name in shown if name.name not in DESCRIPTIONS)

    def parts(self, validation: bool) -> list[DatasetRows]:
        """The files of the split (the ranges of rows of a dataset that is not a stream) in their order.

        Raises:
            ValueError: the dataset cannot be loaded, or lacks the split or the column.
        """
        if self.fraction == (0 if validation else 1):
            return []
        whole = self._whole(validation)
        files = self._files(whole.split)
        if files is not None:
            return [replace(whole, file=file) for file in range(files)]
        rows = len(self.rows(whole.split))
        return [replace(whole, start=start, stop=min(start + ROWS, rows)) for start in range(0, rows, ROWS)]

    def shard(self, index: int, count: int) -> list[DatasetRows]:
        """The files dealt to this shard (an equal range of rows, if the dataset is not a stream)."""
        whole = self._whole(validation=False)
        files = self._files(whole.split)
        if files is None:
            rows = len(self.rows(whole.split))
            return [replace(whole, start=rows * index // count, stop=rows * (index + 1) // count)]
        names = [f"{whole.split}:{file}" for file in range(files)]
        return [replace(whole, **hand._asdict()) for hand in deal(names, index, count)]

    def _whole(self, validation: bool) -> DatasetRows:
        """All rows for training or for validation."""
        split, fraction = self.split, self.fraction
        if fraction > 0 and split != "validation" and "validation" in self._splits:
            split, fraction = ("validation" if validation else split), float(validation)
        if split not in self._splits:
            raise ValueError(
                f"data {self.name!r} has no split {split!r}; its splits are {', '.join(self._splits)}"
            )
        columns = self._splits[split].column_names
        if columns is not None and self.field not in columns:
            raise ValueError(
                f"data {self.name!r} has no column {self.field!r}; its columns are {', '.join(columns)}: name "
                "the one with the text (--text-field)"
            )
        return DatasetRows(self, split, fraction, validation)

    def rows(self, split: str) -> Any:
        """The split, with the column of text alone, as Arrow tables."""
        rows = self._splits[split]
        chosen = rows if rows.column_names is None else rows.select_columns([self.field])
        return chosen.with_format("arrow")

    def _files(self, split: str) -> int | None:
        """Files of a split that is read as a stream; None if its rows can be taken by number."""
        return getattr(self._splits[split], "num_shards", None)

    @cached_property
    def fingerprint(self) -> str:
        """The dataset's version or the state of its files, the split, the column and the part held out."""
        builder = self._builder
        if hasattr(builder, "hash"):
            version = f"{self.config} {builder.hash} {builder.config_id}"
        elif hasattr(builder, "_fingerprint"):
            version = str(builder._fingerprint)
        else:
            version = " ".join(f"{split} {rows._fingerprint}" for split, rows in sorted(builder.items()))
        chosen = f"datasets {self.split} {self.field} {self.fraction!r} {version}"
        return hashlib.sha256(chosen.encode()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Without the builder, which a process that only reads has no use for."""
        return {name: value for name, value in self.__dict__.items() if name != "_builder"}


@dataclass(frozen=True)
class DatasetRows(Part):
    """Rows of a split, and of these every `modulus`-th, and of these one side. A place is a row's number.

    The rows [start, stop) of one file, or of the whole split where its rows can be taken by number.
    """

    source: HuggingFaceSource
    split: str
    fraction: float
    validation: bool
    """Which side: the rows held out, or the others."""
    file: int = 0
    start: int = 0
    stop: int | None = None
    modulus: int = 1
    residue: int = 0

    def read(self, place: Place = ()) -> Iterator[tuple[Document, Place]]:
        """The texts of the rows; empty ones are left out, nulls are missing documents.

        Rows before the place are skipped as Arrow tables, without being turned into text.

        Raises:
            ValueError: a row holds no text.
        """
        first = place[0] if place else self.start
        for begin, texts in self._tables(first):
            for shift in range((self.residue - begin) % self.modulus, len(texts), self.modulus):
                number = begin + shift
                text = texts[shift].as_py()
                if not isinstance(text, str | None):
                    raise ValueError(
                        f"data {self.source.name!r}, split {self.split}, row {number}: the column "
                        f"{self.source.field!r} holds {type(text).__name__}, not text; name a column of text "
                        "(--text-field)"
                    )
                if text == "" or held_out(f"{self.split}:{self.file}:{number}", self.fraction) != self.validation:
                    continue
                document = Document(b"", missing=True) if text is None else Document(text.encode(errors="replace"))
                yield document, (number + 1,)

    def _tables(self, first: int) -> Iterator[tuple[int, Any]]:
        """Columns of text from row `first` on, with the number of their first row."""
        rows, number = self.source.rows(self.split), 0
        if self.stop is not None:
            rows, number = rows.select(range(first, self.stop)), first
        else:
            rows = rows.shard(num_shards=rows.num_shards, index=self.file)
        for table in rows.iter(batch_size=BATCH):
            texts = table.column(self.source.field)
            skipped = min(max(first - number, 0), len(texts))
            yield number + skipped, texts[skipped:]
            number += len(texts)
