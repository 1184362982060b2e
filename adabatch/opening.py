"""Opening a run: from settings to its objects, or to where a checkpoint left off."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from adabatch.building import (
    build_layout,
    build_learning_rate,
    build_optimizer,
    build_schedule,
    build_statistics,
)
from adabatch.checkpoints import CheckpointSaver, choose_checkpoint
from adabatch.data import Corpus, keep_tokenizer, open_corpus
from adabatch.guards import DivergenceGuard
from adabatch.memory_guard import MemoryGuard
from adabatch.model import build_model, model_config
from adabatch.parallel import Ranks, parallelize
from adabatch.resuming import checkpoints_folder, resume_run
from adabatch.run import Run
from adabatch.schedules import MicroBatching
from adabatch.settings import Settings
from adabatch.watchdog import Watchdog

__all__ = ["assemble_run", "open_run"]


def open_run(settings: Settings, ranks: Ranks) -> Run:
    """Build or resume a run; all ranks call it.

    Raises:
        ValueError: for whatever the settings get wrong.
    """
    if ranks.is_local_main:
        if settings.run.resume != "never":
            keep_tokenizer(settings.data, Path(settings.run.output))
        open_corpus(settings.data)  # prepares what is not prepared; the node's other ranks wait
    ranks.barrier()
    corpus = open_corpus(settings.data, prepare=False)
    if ranks.is_main:
        corpus.train.check_share(ranks.data_parallel_size)
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
