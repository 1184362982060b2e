"""Weights of an earlier training, from a local Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

__all__ = ["check_weights", "load_weights", "weight_files"]

ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Replace a model's parameters by those in a folder, whole or in shards, each tensor read on its own.

    Args:
        model: with parameters on the CPU; theirs is the precision that stays.
        folder: with ``model.safetensors``, or with shards and their index.

    Raises:
        ValueError: for a folder without such files, a damaged one, or tensors that are not the model's: which.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    with ExitStack() as opened:
        files = {path: opened.enter_context(_opened(path)) for path in weight_files(folder)}
        found = {name: file for file in files.values() for name in file.keys()}  # noqa: SIM118
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in found.items()}
        check_weights(model, shapes, str(folder), f"take --model {folder}, whose configuration they are of")
        with torch.no_grad():
            for name, parameter in own.items():
                if name in found:  # of two names for one parameter a file has one
                    parameter.copy_(found[name].get_tensor(name))


def weight_files(folder: Path) -> Sequence[Path]:
    """The files with a folder's weights.

    Raises:
        ValueError: it has none, or its index is damaged.
    """
    if (folder / ONE_FILE).is_file():
        return [folder / ONE_FILE]
    if not (folder / INDEX).is_file():
        raise ValueError(
            f"{folder} has no weights: name a folder with {ONE_FILE}, or with shards and {INDEX} (--init-from)"
        )
    try:
        shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / Path(shard).name for shard in sorted(shards)]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{folder / INDEX} is damaged: copy the folder again (--init-from)") from None


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): copy the folder again (--init-from)") from None


def check_weights(model: PreTrainedModel, found: Mapping[str, tuple[int, ...]], place: str, advice: str) -> None:
    """Raise ValueError unless all parameters are found, in their shapes, and nothing else.

    Args:
        model: whose parameters are wanted.
        found: the shapes of the tensors, by name.
        place: where they were found.
        advice: what to do, for the message.
    """
    own: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    present = {id(own[name]) for name in found if name in own}
    buffers = {name for name, _ in model.named_buffers()}
    wrong = [f"{name} is missing" for name, tensor in own.items() if id(tensor) not in present]
    for name, shape in found.items():
        if name not in own and name not in buffers:
            wrong.append(f"{name} is not in the model")
        elif name in own and shape != tuple(own[name].shape):
            wrong.append(f"{name} is {_sizes(shape)} there and {_sizes(tuple(own[name].shape))} in the model")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"the weights in {place} do not fit the model: {'; '.join(wrong[:3])}{more}; {advice}, or other "
            "weights (--init-from)"
        )


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
