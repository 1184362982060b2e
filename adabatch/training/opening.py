"""Opening a run: from settings to its objects, or to where a checkpoint left off."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from torch import nn

from adabatch.checkpoints.loading import choose_checkpoint
from adabatch.checkpoints.random_states import seed_of_share
from adabatch.checkpoints.saving import CheckpointSaver
from adabatch.data.corpus import Corpus, check_sources, open_corpus
from adabatch.distributed.parallel import DistributedContext, parallelize
from adabatch.distributed.rank_map import RankMap
from adabatch.distributed.watchdog import Watchdog
from adabatch.model.document_mask import check_document_mask, mask_documents
from adabatch.model.language_model import build_model, model_config
from adabatch.model.weights import load_weights
from adabatch.schedules import MicroBatching
from adabatch.settings import Settings
from adabatch.training.building import build_matrix_noise, build_micro_batching, build_statistics
from adabatch.training.checkpointing import checkpoints_folder, resume_run
from adabatch.training.checks import Prepared, Start, prepare_for_run
from adabatch.training.divergence import DivergenceGuard
from adabatch.training.memory_guard import MemoryGuard
from adabatch.training.optimizer_checks import unfitting
from adabatch.training.optimizers import build_optimizer
from adabatch.training.run import Run
from adabatch.training.step_clock import StepClock
from adabatch.training.stopping import Stopping
from adabatch.training.throughput import Throughput
from adabatch.training.trained_model import holds_checkpoints, load_weights_of_run

__all__ = ["assemble_run", "open_run"]


def _prepare_on_each_node(settings: Settings, ranks: DistributedContext) -> Prepared:
    """The folders of the corpus, prepared by one rank of each node while its other ranks wait."""
    by_rank = ranks.gather(prepare_for_run(settings) if ranks.is_local_main else None)
    prepared = by_rank[ranks.rank - int(os.environ.get("LOCAL_RANK", ranks.rank))]
    assert prepared is not None
    return prepared


def open_run(settings: Settings, ranks: DistributedContext, start: Start | None = None) -> Run:
    """Build or resume a run; all ranks call it.

    Args:
        settings: of the run.
        ranks: this process among the others.
        start: what the checks before have read; None: it is read here.

    Raises:
        ValueError: for anything that the settings get wrong.
    """
    start = start or Start.of(settings)
    prepared = start.prepared or _prepare_on_each_node(settings, ranks)
    check_sources(settings.data, prepared[0], settings.run.samples)
    corpus = open_corpus(settings.data, *prepared)
    if ranks.is_main:
        for warning in unfitting(settings, start.schedule):
            warnings.warn(warning, stacklevel=2)
    config = model_config(settings.model.model, corpus.vocabulary_size, settings.data.sequence_length)
    if settings.data.document_mask:
        check_document_mask(config)
    checkpoint = choose_checkpoint(settings.run.resume, checkpoints_folder(settings.run.output), ranks)
    bare = build_model(config, settings.data.seed)
    seed_of_share(settings.data.seed, ranks.data_parallel_rank)
    if settings.model.init_from and checkpoint is None:
        source = Path(settings.model.init_from)
        if not holds_checkpoints(source):
            load_weights(bare, source)
        elif (problem := load_weights_of_run(bare, source, corpus.tokenizer)) and ranks.is_main:
            warnings.warn(problem, stacklevel=2)
    if settings.data.document_mask:
        mask_documents(bare, corpus.tokenizer.end_of_document)
    model = parallelize(bare, settings.parallel, ranks)
    micro_batching = build_micro_batching(
        settings.schedule,
        start.schedule.batch_size,
        RankMap.of(settings.parallel, ranks.world_size).most // ranks.tensor_parallel,
        resumed=checkpoint is not None,
        present=ranks.data_parallel_size,
    )
    run = assemble_run(settings, ranks, corpus, model, start, micro_batching)
    if checkpoint is not None:
        resume_run(run, checkpoint)
    return run


def assemble_run(
    settings: Settings,
    ranks: DistributedContext,
    corpus: Corpus,
    model: nn.Module,
    start: Start,
    micro_batching: MicroBatching,
) -> Run:
    """A run at its beginning, from a wrapped model and a schedule whose batches are not yet rounded."""
    schedule = start.schedule
    schedule.round_by(micro_batching)
    return Run(
        settings=settings,
        ranks=ranks,
        corpus=corpus,
        model=model,
        optimizer=build_optimizer(model, settings.optimizer),
        coupling=start.coupling,
        micro_batching=micro_batching,
        schedule=schedule,
        statistics=build_statistics(model, settings, schedule),
        matrix_noise=build_matrix_noise(model, settings),
        guard=DivergenceGuard(settings.run.max_skipped),
        memory=MemoryGuard(),
        saver=CheckpointSaver(
            checkpoints_folder(settings.run.output),
            ranks,
            settings.run.keep,
            settings.run.async_checkpoints,
            settings.run.keep_best,
        ),
        watchdog=Watchdog(ranks, settings.parallel.timeout),
        stopping=Stopping(settings.run, ranks),
        clock=StepClock(ranks),
        throughput=Throughput.of(model, settings.hardware, ranks),
        refused_ranks=start.refused_ranks,
    )
