"""Opening a run: from settings to its objects, or to where a checkpoint left off."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from adabatch.checkpoints import CheckpointSaver, choose_checkpoint
from adabatch.data import Corpus, keep_tokenizer, open_corpus
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
