"""torch.distributed.checkpoint on files, with its table of contents as JSON.

torch's own table of contents (``.metadata``) is a pickle, and reading a pickle can run any code. Here only tensors
are stored, which torch reads with ``weights_only``, and the table lists them as plain numbers and names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.storage import WriteResult

from adabatch.checkpoints.folders import CONTENTS, plain_name, read_json
from adabatch.files import write_json

__all__ = ["TensorReader", "TensorWriter"]


class TensorWriter(FileSystemWriter):
    """Writes tensors, one file per rank (``__RANK_0.distcp``), and the table of contents as ``tensors.json``.

    Its argument is the folder, which exists and is empty.
    """

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the table of contents; the coordinating rank calls it when all have written their tensors."""
        places = {
            (result.index.fqn, tuple(result.index.offset or ())): result.storage_data
            for by_rank in results
            for result in by_rank
        }
        contents = {}
        for name, entry in metadata.state_dict_metadata.items():
            assert isinstance(entry, TensorStorageMetadata)
            chunks = [(chunk, places[name, tuple(chunk.offsets)]) for chunk in entry.chunks]
            contents[name] = {
                "dtype": str(entry.properties.dtype).removeprefix("torch."),
                "size": list(entry.size),
                "chunks": [
                    {
                        "offsets": list(chunk.offsets),
                        "sizes": list(chunk.sizes),
                        "file": place.relative_path,
                        "position": place.offset,
                        "bytes": place.length,
                    }
                    for chunk, place in chunks
                ],
            }
        write_json(Path(self.path) / CONTENTS, contents)


class TensorReader(FileSystemReader):
    """Reads what :class:`TensorWriter` wrote into the folder that is given; nothing in the files is executed."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The table of contents.

        Raises:
            ValueError: if it is damaged, or names a file outside the folder.
        """
        contents = read_json(Path(self.path) / CONTENTS)
        tensors: dict[str, Any] = {}
        places: dict[MetadataIndex, _StorageInfo] = {}
        try:
            for name, entry in contents.items():
                dtype = getattr(torch, entry["dtype"])
                if not isinstance(dtype, torch.dtype):
                    raise TypeError(f"{entry['dtype']} is not a dtype")
                tensors[name] = TensorStorageMetadata(TensorProperties(dtype), torch.Size(entry["size"]), [])
                for chunk in entry["chunks"]:
                    offsets, sizes = torch.Size(chunk["offsets"]), torch.Size(chunk["sizes"])
                    tensors[name].chunks.append(ChunkStorageMetadata(offsets, sizes))
                    place = _StorageInfo(plain_name(chunk["file"]), int(chunk["position"]), int(chunk["bytes"]))
                    places[MetadataIndex(name, offsets)] = place
        except (AttributeError, KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{CONTENTS} is damaged ({error!r})") from None
        return Metadata(tensors, storage_data=places, storage_meta=StorageMeta(load_id=self.load_id))
