"""Opening a run: from settings to its objects, or to where a checkpoint left off."""

from __future__ import annotations

import os
from pathlib import Path

import torch.distributed as dist
from torch import nn

from adabatch.checkpoints import CheckpointSaver, choose_checkpoint
from adabatch.data import Corpus, open_corpus
from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.data.progress import prepare_with_progress
from adabatch.distributed.parallel import Ranks, parallelize
from adabatch.distributed.watchdog import Watchdog
from adabatch.model.llama import build_model, model_config
from adabatch.schedules import MicroBatching
from adabatch.settings import Settings
from adabatch.training.building import (
    build_layout,
    build_learning_rate,
    build_optimizer,
    build_schedule,
    build_statistics,
)
from adabatch.training.checkpointing import checkpoints_folder, resume_run
from adabatch.training.divergence import DivergenceGuard
from adabatch.training.memory_guard import MemoryGuard
from adabatch.training.run import Run

__all__ = ["assemble_run", "open_run", "prepare_for_run"]


def prepare_for_run(settings: Settings) -> Path:
    """Prepare a run's corpus unless it is prepared, with the tokenizer of the run if it resumes; its folder."""
    saved = Path(settings.run.output) / TOKENIZER_FILE
    return prepare_with_progress(settings.data, None if settings.run.resume == "never" else saved)


def _prepare_on_each_node(settings: Settings, ranks: Ranks) -> Path:
    """The folder of the corpus, prepared by one rank of each node while its other ranks wait."""
    folder = prepare_for_run(settings) if ranks.is_local_main else None
    if ranks.world_size == 1:
        assert folder is not None
        return folder
    folders: list[Path] = [Path()] * ranks.world_size
    dist.all_gather_object(folders, folder)
    return folders[ranks.rank - int(os.environ.get("LOCAL_RANK", ranks.rank))]


def open_run(settings: Settings, ranks: Ranks, corpus_folder: Path | None = None) -> Run:
    """Build or resume a run; all ranks call it.

    Args:
        settings: of the run.
        ranks: this process among the others.
        corpus_folder: of the prepared corpus; None: one rank of each node prepares it.

    Raises:
        ValueError: for anything that the settings get wrong.
    """
    corpus = open_corpus(settings.data, corpus_folder or _prepare_on_each_node(settings, ranks))
    if ranks.is_main:
        corpus.train.check_shards(ranks.data_parallel_size)
    config = model_config(settings.model.model, corpus.vocabulary_size, settings.data.sequence_length)
    model = parallelize(build_model(config, settings.data.seed), settings.parallel, ranks)
    checkpoint = choose_checkpoint(settings.run.resume, checkpoints_folder(settings.run.output), ranks)
    layout = build_layout(settings.schedule, ranks.data_parallel_size, resumed=checkpoint is not None)
    run = assemble_run(settings, ranks, corpus, model, layout)
    if checkpoint is not None:
        resume_run(run, checkpoint)
    return run


def assemble_run(settings: Settings, ranks: Ranks, corpus: Corpus, model: nn.Module, layout: MicroBatching) -> Run:
    """A run at its beginning, from a wrapped model."""
    return Run(
        settings=settings,
        ranks=ranks,
        corpus=corpus,
        model=model,
        optimizer=build_optimizer(model, settings.optimizer),
        learning_rate=build_learning_rate(settings),
        layout=layout,
        schedule=build_schedule(settings, layout),
        statistics=build_statistics(model, settings),
        guard=DivergenceGuard(settings.run.max_skipped),
        memory=MemoryGuard(),
        saver=CheckpointSaver(
            checkpoints_folder(settings.run.output), ranks, settings.run.keep, settings.run.async_checkpoints
        ),
        watchdog=Watchdog(ranks, settings.parallel.timeout),
    )
