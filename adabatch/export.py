"""A run's model as a Hugging Face checkpoint: safetensors, configuration, tokenizer.

What is written loads without adabatch::

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.decode(model.generate(**tokenizer("def ", return_tensors="pt"))[0])
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from adabatch.checkpoints.folders import plain_name, read_json
from adabatch.data.tokenizer import Tokenizer
from adabatch.files import write_json
from adabatch.locks import LOCK, occupied
from adabatch.model.language_model import parameter_count
from adabatch.training.trained_model import load_trained_model

__all__ = ["Export", "byte_backend", "export_run"]

END_OF_DOCUMENT = "<|endoftext|>"
"""What the token 256 of the byte tokenizer is called."""

MANIFEST = "adabatch-export.json"
"""The file that lists what an export wrote: all that ``--overwrite`` may delete."""

UNFINISHED = ".adabatch-export-"
"""What the name of the folder begins with in which an export is made."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        folder: where.
        checkpoint: from which checkpoint.
        step: the optimizer step it was saved after.
        parameters: of the model, tied ones once.
    """

    folder: Path
    checkpoint: Path
    step: int
    parameters: int


def export_run(run: Path, folder: Path, overwrite: bool = False) -> Export:
    """Write a run's model and tokenizer so that ``transformers`` loads them.

    The checkpoint may have been saved by any number of ranks. The logits are those of the trained model; padding
    values of the vocabulary, which are not tokens, are never generated.

    Args:
        run: the folder of a run, whose newest intact checkpoint is taken, or of one checkpoint.
        folder: to write to; it is made.
        overwrite: replace the files of an earlier export there, and no others.

    Raises:
        ValueError: if there is no intact checkpoint, the tokenizer of the run is gone, or the folder holds
            something, is in use, or cannot be written.
    """
    with _target(folder, overwrite) as written:
        return _export(run, folder, written)


def _export(run: Path, folder: Path, earlier: Collection[str]) -> Export:
    """The export, its files first in a folder of their own; those of an earlier one go when all are there."""
    trained = load_trained_model(run)
    model, tokenizer = trained.model, trained.tokenizer
    _prepare_for_use(model, tokenizer)
    with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as temporary:
        whole = Path(temporary)
        model.save_pretrained(whole)
        _for_transformers(tokenizer, model.config).save_pretrained(whole)
        _put_in_place(whole, folder, earlier)
    return Export(folder, trained.checkpoint, trained.step, parameter_count(model))


@contextmanager
def _target(folder: Path, overwrite: bool) -> Iterator[Collection[str]]:
    """Work in the folder exclusively; the names that an earlier export wrote there.

    Raises:
        ValueError: it is in use, cannot be written, or holds something that is not to be replaced.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file: name a folder (--to)")
        with occupied(folder):
            for left in folder.glob(f"{UNFINISHED}*"):  # by a process that was killed
                shutil.rmtree(left)
            yield _names_to_replace(folder, overwrite)
    except OSError as error:
        place, reason = error.filename or folder, error.strerror or error
        raise ValueError(
            f"{place} cannot be read or written ({reason}); the export was to go to {folder}"
        ) from None


def _names_to_replace(folder: Path, overwrite: bool) -> Collection[str]:
    """Refuse to write over anything but, if asked to, an earlier export."""
    if not (folder / MANIFEST).is_file():
        if any(path.name != LOCK for path in folder.iterdir()):
            raise ValueError(f"{folder} holds something else than an export: name another folder (--to)")
        return ()
    if not overwrite:
        raise ValueError(f"{folder} holds an earlier export: name another folder (--to), or --overwrite it")
    try:
        return [plain_name(name) for name in read_json(folder / MANIFEST)["files"]]
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{folder / MANIFEST} is damaged: name another folder (--to)") from None


def _put_in_place(whole: Path, folder: Path, earlier: Collection[str]) -> None:
    """Move the files of an export into its folder, and delete those of the earlier one.

    The list of files is always at least what lies there, so that a kill leaves what ``--overwrite`` replaces.

    Raises:
        ValueError: a file of somebody else's has a name that the export needs.
    """
    names = sorted(path.name for path in whole.iterdir())
    foreign = [name for name in names if name not in earlier and os.path.lexists(folder / name)]
    if foreign:
        raise ValueError(
            f"{folder} holds {foreign[0]}, which is not of the earlier export and would be replaced: move it, or "
            "name another folder (--to)"
        )
    write_json(folder / MANIFEST, {"files": sorted({*names, *earlier})})
    readable = (folder / MANIFEST).stat().st_mode  # as the umask says; some libraries write for the owner alone
    for name in earlier:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (whole / name).chmod(readable & 0o777)
        os.replace(whole / name, folder / name)
    write_json(folder / MANIFEST, {"files": names})


def _prepare_for_use(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """What generation needs to know: where a text begins and ends, and which values are not tokens."""
    end = tokenizer.end_of_document
    model.config.use_cache = True
    model.config.bos_token_id = model.config.eos_token_id = end
    padding = list(range(tokenizer.size, model.config.vocab_size))
    model.generation_config = GenerationConfig(
        bos_token_id=end, eos_token_id=end, pad_token_id=end, suppress_tokens=padding or None
    )


def _for_transformers(tokenizer: Tokenizer, config: PreTrainedConfig) -> PreTrainedTokenizerFast:
    """The tokenizer as training used it: with nothing added, and special tokens in a text read as text."""
    definition = tokenizer.definition()
    if definition is not None:
        backend = Backend.from_str(definition)
        backend.post_processor = None  # it would add a beginning of text that training never saw
    elif tokenizer.name == "bytes":
        backend = byte_backend()
    else:
        raise ValueError(
            f"the tokenizer {tokenizer.name} is written in Python and has no tokenizers file: it cannot be "
            "exported"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=backend.id_to_token(tokenizer.end_of_document),
        model_max_length=config.max_position_embeddings,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )


def byte_backend() -> Backend:
    """:class:`~adabatch.data.ByteTokenizer` as a tokenizer of the ``tokenizers`` library: token b is the byte b.

    >>> backend = byte_backend()
    >>> backend.encode("né").ids, backend.decode([110, 195, 169])
    ([110, 195, 169], 'né')
    >>> backend.token_to_id(END_OF_DOCUMENT)
    256
    """
    # Printable bytes stand for themselves; the others are written by the characters from 256 on, in order.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    substitutes = (character for character in alphabet if ord(character) > 255)
    vocabulary = {chr(byte) if chr(byte) in alphabet else next(substitutes): byte for byte in range(256)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END_OF_DOCUMENT])
    return backend
