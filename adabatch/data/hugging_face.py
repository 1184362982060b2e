"""Documents of Hugging Face datasets: by name, or from local Parquet files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from adabatch.data.documents import Document, held_out

__all__ = ["HuggingFaceSource", "is_dataset_folder"]

BATCH = 256  # rows read at once
PARQUET = ".parquet"


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder is read through `datasets`: it holds Parquet files or was written by ``save_to_disk``."""
    return _is_saved(folder) or next(folder.rglob("*" + PARQUET), None) is not None


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


class HuggingFaceSource:
    """The rows of a dataset, in their order.

    Held out for validation is the dataset's own ``validation`` split where it has one, otherwise the rows chosen
    by a hash of their number.

    Args:
        name: a dataset's name on the hub, a folder or a Parquet file.
        config: the dataset's configuration.
        split: the split to train on.
        field: the column with the text.
        streaming: read a dataset of the hub as a stream instead of downloading it. Local data are never copied.
        validation_fraction: the part of the rows held out; 1: all is for validation.
    """

    def __init__(
        self, name: str, config: str | None, split: str, field: str, streaming: bool, validation_fraction: float
    ) -> None:
        self.name, self.config, self.split, self.field = name, config, split, field
        self.path = Path(name).expanduser()
        self.streaming = streaming or self.path.exists()
        self.fraction = validation_fraction

    @cached_property
    def _builder(self) -> Any:
        """The dataset's builder, or the dataset itself if it was written by ``save_to_disk``."""
        import datasets

        try:
            if self.path.is_file():
                return datasets.load_dataset_builder("parquet", data_files={self.split: str(self.path)})
            if self.path.is_dir() and _is_saved(self.path):
                return datasets.load_from_disk(str(self.path))
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
            f"data {self.name!r}{config} is no file or folder here, and could not be loaded as a Hugging Face "
            f"dataset ({reason}); give 'stdlib', a text, JSON-lines or Parquet file, a folder of such files, or a "
            "dataset's name and configuration (which needs a network or a copy in its cache)"
        )

    def documents(self, validation: bool) -> Iterator[Document]:
        """The texts of this part; empty ones are left out.

        Raises:
            ValueError: the dataset cannot be loaded, or lacks the split or the column, or a row holds no text.
        """
        if self.fraction == (0 if validation else 1):
            return iter(())
        if self.fraction > 0 and self.split != "validation" and "validation" in self._splits:
            return self._rows("validation" if validation else self.split, float(validation), validation)
        return self._rows(self.split, self.fraction, validation)

    def _rows(self, split: str, fraction: float, validation: bool) -> Iterator[Document]:
        if split not in self._splits:
            raise ValueError(
                f"data {self.name!r} has no split {split!r}; its splits are {', '.join(self._splits)}"
            )
        rows = self._splits[split]
        columns = rows.column_names
        if columns is not None and self.field not in columns:
            raise ValueError(
                f"data {self.name!r} has no column {self.field!r}; its columns are {', '.join(columns)}: set "
                "text_field to the one with the text"
            )
        if columns is not None:
            rows = rows.select_columns([self.field])
        number = 0
        for batch in rows.iter(batch_size=BATCH):
            for text in batch[self.field]:
                if not isinstance(text, str):
                    raise ValueError(
                        f"data {self.name!r}, split {split}, row {number}: the column {self.field!r} holds "
                        f"{type(text).__name__}, not text; set text_field to a column of text"
                    )
                if text and held_out(f"{split}:{number}", fraction) == validation:
                    yield Document(text.encode("utf-8", errors="replace"))
                number += 1

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
