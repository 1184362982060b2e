"""Files that survive a crash of the machine: synced to the disk, under a temporary name until they are whole."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["checksum", "sync", "write_json"]

BLOCK = 1 << 22
"""Bytes read at a time."""


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is whole or absent, whenever the machine stops. Floats survive exactly."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def checksum(path: Path) -> dict[str, Any]:
    """A file's size and SHA-256.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     checksum(Path(file.name))["bytes"]
    0
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}
