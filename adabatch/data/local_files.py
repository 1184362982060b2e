"""The files of a corpus: the standard library's source text, that of installed packages, and folders."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from adabatch.data.file_formats import COMPRESSED, JSON, TEXT, ending, first_bad_byte, text_format
from adabatch.files import checksum

__all__ = ["FileSource", "NamedFile", "files_in", "installed_files", "stdlib_files"]

DIGEST_LIMIT = 64 * 2**20  # files up to this size are fingerprinted by content, larger ones by their times

# What distributions of Python leave out or package apart, and tables of data that are not prose or program.
NOT_EVERYWHERE = {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "venv"}
NOT_TEXT = {"encodings", "pydoc_data"}
NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
NOT_PACKAGE = {"_vendor", "__pycache__"}


class NamedFile(NamedTuple):
    """A file with the name that it has within its corpus, which does not depend on where the corpus lies."""

    name: str
    path: Path


def stdlib_files(folder: Path | None = None) -> list[NamedFile]:
    """The source files of the standard library that every installation has, sorted by name.

    Left out: tests, installed packages, modules that are not in ``sys.stdlib_module_names``, packages that
    some distributions ship apart (such as ``tkinter``), and the tables in ``encodings`` and ``pydoc_data``.

    Args:
        folder: the library's folder; None: that of the running Python.

    Raises:
        ValueError: the folder holds no source text.
    """
    root = folder or Path(sysconfig.get_paths()["stdlib"])
    wanted = set(sys.stdlib_module_names) - NOT_EVERYWHERE - NOT_TEXT
    found = []
    for top in root.iterdir():  # site-packages may be large, so only what is wanted is looked into
        if top.name.removesuffix(".py") in wanted:
            for path in [top] if top.is_file() else top.rglob("*.py"):
                parts = path.relative_to(root).parts
                if not NOT_LIBRARY.intersection(parts):
                    found.append(NamedFile("/".join(parts), path))
    if not found:
        raise ValueError(
            f"no source text of the standard library was found in {root} (some installations ship only "
            "compiled modules); name a text file or a dataset as data instead of 'stdlib'"
        )
    return sorted(found)


def installed_files(folders: Sequence[Path] | None = None) -> list[NamedFile]:
    """The Python source files of the installed packages, sorted by name.

    What is installed differs from machine to machine, and so does this corpus. Left out are packages that
    packages bring along (``_vendor``), which would often be there twice, and files that are not UTF-8.

    Args:
        folders: the folders of packages; None: those of the running Python.

    Raises:
        ValueError: no source text is installed.
    """
    paths = sysconfig.get_paths()
    roots = folders or sorted({Path(paths["purelib"]), Path(paths["platlib"])})
    found = set()
    for root in roots:
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).parts
            # Python also takes sources in other encodings, which packages name in their first lines.
            if (
                not NOT_PACKAGE.intersection(parts)
                and path.is_file()
                and first_bad_byte(path.read_bytes()) is None
            ):
                found.add(NamedFile("/".join(("site-packages", *parts)), path))
    if not found:
        raise ValueError(
            f"no source text of installed packages was found in {', '.join(map(str, roots))}; name other data "
            "than 'site-packages'"
        )
    return sorted(found)


def files_in(folder: Path) -> tuple[list[NamedFile], list[str]]:
    """The text and JSON-lines files in a folder and its subfolders, sorted by name, and what is left out.

    Left out are hidden files and folders, links to folders, files with other endings, and what is not a file.

    Raises:
        ValueError: there are none, or a subfolder cannot be read.
    """
    found, left_out = [], []
    for name, entry in _walk(folder, ""):
        if entry.name.startswith("."):
            left_out.append(f"{name} (hidden)")
        elif entry.is_dir():  # only links: other folders are looked into
            left_out.append(f"{name} (a link to a folder)")
        elif not entry.is_file():
            left_out.append(f"{name} ({'a link to nothing' if entry.is_symlink() else 'not a file'})")
        elif ending(entry.name) not in TEXT + JSON:
            left_out.append(f"{name} (its ending)")
        else:
            found.append(NamedFile(name, Path(entry.path)))
    if not found:
        raise ValueError(
            f"the folder {folder} holds no text; files ending in {', '.join(TEXT + JSON)} (and then perhaps in "
            f"{', '.join(COMPRESSED)}) are read from a folder, or Parquet files (a file with another ending can "
            "be named itself)"
        )
    return sorted(found), sorted(left_out)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All files, links and hidden folders below a folder, with their names in it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry


class FileSource:
    """Local files as a source; its kinds define how they are cut into documents.

    Args:
        kind: how the files are read; part of the fingerprint.
        files: in their order.
        validation_fraction: the part held out for validation.

    Raises:
        ValueError: a file does not hold text.
    """

    def __init__(self, kind: str, files: Sequence[NamedFile], validation_fraction: float) -> None:
        self.kind, self.files, self.fraction = kind, list(files), validation_fraction
        self.formats = {file: text_format(file.path) for file in self.files}
        """How the text of each file is encoded."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the kind of source, the part held out, and the names and contents of the files."""
        self._states = self._look()
        digest = hashlib.sha256(f"{self.kind} {self.fraction!r}".encode())
        for file, (size, changed) in zip(self.files, self._states, strict=True):
            content = f"{size} {changed}" if size > DIGEST_LIMIT else checksum(file.path)["sha256"]
            digest.update(f"\0{file.name}\0{content}".encode("utf-8", errors="surrogateescape"))
        return digest.hexdigest()

    def has_changed(self) -> bool:
        """Whether a file's size or time of change is another than when the fingerprint was taken."""
        return self._look() != self._states

    def _look(self) -> list[tuple[int, int]]:
        states = [file.path.stat() for file in self.files]
        return [(state.st_size, state.st_mtime_ns) for state in states]
