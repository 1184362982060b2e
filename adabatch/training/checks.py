"""What a start refuses before any rank works, in this order; numbers out of range are refused before, as read.

1. Ranks: whether the mesh can be made of them.
2. Trackers that are not installed, validation without samples, names that ``--allow`` does not know, settings that
   do not go with the optimizer, and a replay of the run itself.
3. The batch-size schedule, what moves with the batch, and the split of the first batch.
4. Device, model, corpus, and whether the model's sizes can be divided among tensor-parallel ranks.

What is found on the way (a replayed run is read, the corpus prepared) goes to the ranks as a :class:`Start`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from os.path import join, realpath
from pathlib import Path
from typing import TYPE_CHECKING

from adabatch.checkpoints.compatibility import RECORDS
from adabatch.checkpoints.folders import find_checkpoint
from adabatch.data.corpus import check_sources, prepared_vocabulary
from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.data.progress import prepare_sets, prepare_with_progress
from adabatch.distributed.parallel import choose_device
from adabatch.distributed.rank_map import RankMap
from adabatch.distributed.tensor_parallel import check_tensor_parallel
from adabatch.model.document_mask import check_document_mask
from adabatch.model.language_model import model_config
from adabatch.model.weights import weight_files
from adabatch.reporting.metrics import METRICS, read_metrics
from adabatch.reporting.trackers import require_trackers
from adabatch.schedules import BatchSizeSchedule
from adabatch.schedules.coupling import Coupling
from adabatch.settings import ParallelSettings, Settings, options
from adabatch.training.building import build_coupling, build_lengths, build_micro_batching, build_schedule
from adabatch.training.checkpointing import checkpoints_folder
from adabatch.training.optimizer_checks import check_optimizer
from adabatch.training.trained_model import holds_checkpoints

if TYPE_CHECKING:  # it takes seconds to import
    from transformers import PreTrainedConfig

__all__ = ["Prepared", "Start", "check_model", "check_settings", "check_start", "prepare_for_run", "resumes"]


Prepared = tuple[Path, tuple[Path, ...]]
"""The folder of a prepared corpus, and those of its validation sets but the first."""


@dataclass(frozen=True)
class Start:
    """What a start has read, so that its ranks need not read it again.

    Attributes:
        schedule: at its first batch, not yet rounded.
        coupling: what moves with the batch, at its beginning.
        prepared: the folders of the prepared corpus; None: one rank of each node prepares it.
        refused_ranks: numbers of ranks that could not be started.
        paused_at: when the last step before other ranks began ended, on the clock of :func:`time.monotonic`.
        allocated: ranks that a scheduler has given, of those of ``--ranks-at``; 0: all can be started here.
    """

    schedule: BatchSizeSchedule
    coupling: Coupling
    prepared: Prepared | None = None
    refused_ranks: tuple[int, ...] = ()
    paused_at: float | None = None
    allocated: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Start:
        """From settings; another run whose batches and learning rates are replayed is read once.

        Raises:
            ValueError: for parameters outside their range, or another run that cannot be replayed.
        """
        read_records = cache(read_metrics)
        schedule = build_schedule(settings, read_records)
        return cls(schedule, build_coupling(settings, schedule.batch_size, read_records))


def check_start(
    settings: Settings, corpus: Path | None = None, resumed: bool = False, allocated: int = 0
) -> Start:
    """All checks of a start on this machine; the corpus is prepared unless it is.

    Args:
        settings: as the user gave them.
        corpus: the folder of the prepared corpus, if that is known.
        resumed: the run resumes from a checkpoint.
        allocated: ranks that a scheduler has given; 0: all can be started here.

    Raises:
        ValueError: what was given, what is allowed and what to do.
    """
    start = check_settings(settings, settings.parallel.ranks, resumed)
    choose_device(settings.parallel, _ranks_here(settings.parallel, allocated) - 1)
    check_model(settings, None)  # before preparing a large corpus
    source = Path(settings.model.init_from)
    if settings.model.init_from and not resumed and not holds_checkpoints(source):
        weight_files(source)
    prepared = prepare_for_run(settings, corpus)
    check_sources(settings.data, prepared[0], settings.run.samples)
    check_model(settings, prepared_vocabulary(settings.data, *prepared))
    return replace(start, prepared=prepared, allocated=allocated)


def _ranks_here(settings: ParallelSettings, allocated: int) -> int:
    """The most ranks that this machine is to have.

    Raises:
        ValueError: for ranks of a scheduler that are none of those of ``--ranks-at``.
    """
    ranks = RankMap.of(settings, settings.ranks)
    if allocated and allocated not in ranks.numbers:
        known = ", ".join(map(str, ranks.numbers))
        raise ValueError(
            f"--ranks-allocated {allocated} is none of the numbers of ranks that the run can have ({known}): ask "
            "the scheduler for one of these, or give others with --ranks and --ranks-at"
        )
    return allocated or ranks.most


def check_settings(settings: Settings, world_size: int, resumed: bool = False) -> Start:
    """Everything that can be refused without a model, a corpus or a rank.

    Args:
        settings: as the user gave them.
        world_size: ranks.
        resumed: the run resumes from a checkpoint; its first batch has been made.

    Returns:
        The schedule at its first batch, not yet rounded to what the ranks can make, and what moves with it.

    Raises:
        ValueError: what was given, what is allowed and what to do.
    """
    ranks = RankMap.of(settings.parallel, world_size)
    for number in ranks.numbers:
        _check_mesh(settings.parallel, number)
    _check_choices(settings)
    check_optimizer(settings)
    _check_replayed(settings)
    start = Start.of(settings)
    _check_batches(settings, start.schedule, ranks, resumed)
    return start


def check_model(settings: Settings, vocabulary: int | None) -> PreTrainedConfig:
    """The configuration of the model with this vocabulary (None: its own).

    Raises:
        ValueError: if it cannot be built, or keep documents apart, or tensor-parallel ranks cannot share it.
    """
    parallel, length = settings.parallel, settings.data.sequence_length
    config = model_config(settings.model.model, vocabulary, length)
    if settings.data.document_mask:
        check_document_mask(config)
    for stage in {length, *build_lengths(settings).lengths}:
        check_tensor_parallel(config, parallel.tensor_parallel, stage, parallel.sequence_parallel)
    return config


def resumes(settings: Settings) -> bool:
    """Whether a run with these settings would resume from a checkpoint."""
    return find_checkpoint(settings.run.resume, checkpoints_folder(settings.run.output)) is not None


def prepare_for_run(settings: Settings, corpus: Path | None = None) -> Prepared:
    """Prepare a run's corpus unless it is prepared, with the tokenizer of the run if it resumes; its folders.

    Args:
        settings: of the run.
        corpus: the folder of the prepared corpus, if that is known.
    """
    saved = None if settings.run.resume == "never" else Path(settings.run.output) / TOKENIZER_FILE
    corpus = corpus or prepare_with_progress(settings.data, saved)
    return corpus, prepare_sets(settings.data, corpus)


def _check_mesh(settings: ParallelSettings, world_size: int) -> None:
    """Raise ValueError for ranks that cannot be laid out as asked."""
    if world_size < 1:
        raise ValueError(f"at least 1 rank is needed, but {world_size} were asked for (--ranks)")
    if settings.parallel == "single" and world_size > 1:
        raise ValueError(f"--parallel single runs 1 rank, but {world_size} were asked for: take ddp or fsdp")
    replicas, shared = settings.replicas, settings.tensor_parallel
    if settings.parallel == "hsdp" and (replicas < 1 or world_size % replicas):
        raise ValueError(
            f"{world_size} ranks cannot make {replicas} replicas of equal size: take a divisor (--replicas)"
        )
    if shared < 1 or world_size % shared:
        raise ValueError(
            f"{world_size} ranks cannot make teams of {shared} tensor-parallel ranks: take a divisor "
            "(--tensor-parallel)"
        )
    if shared > 1 and settings.parallel != "fsdp":
        raise ValueError(
            f"--tensor-parallel {shared} goes with --parallel fsdp (a mesh of shards x tensor-parallel ranks), "
            f"not with {settings.parallel}"
        )
    if settings.sequence_parallel and shared == 1:
        raise ValueError("--sequence-parallel is for tensor parallelism: add --tensor-parallel 2 or more")


def _check_choices(settings: Settings) -> None:
    """Raise ValueError for a tracker that is not installed, validation without samples, a best checkpoint without
    validation, and for ``--allow`` with a name that is not a setting's.
    """
    known = {item.name for _, item, _ in options()}
    require_trackers(settings.run)
    validates = settings.run.validation_interval or settings.run.validate_at_start
    if validates and settings.run.validation_samples < 1:
        raise ValueError(
            f"validation needs at least 1 sample, but --validation-samples is {settings.run.validation_samples}; "
            "--validation-interval 0 turns it off, and --no-validate-at-start"
        )
    if settings.run.keep_best and not (settings.run.validation_interval and settings.data.validates):
        missing = "--validation-interval" if settings.data.validates else "--validation-fraction"
        raise ValueError(f"--keep-best goes by validation losses, and {missing} is 0: raise it, or leave it out")
    for name in settings.run.allow:
        if name not in known and name != RECORDS:
            raise ValueError(f"--allow {name} names no setting: take names such as {', '.join(sorted(known)[:3])}")


def _check_replayed(settings: Settings) -> None:
    """Raise ValueError for a replay of the run itself, whose records are overwritten or continued."""
    own = realpath(settings.run.output)
    replayed = {"replay-run": settings.schedule.replay_run, "lr-replay": settings.optimizer.lr_replay}
    for option, value in replayed.items():
        if value and realpath(value) in (own, join(own, METRICS)):
            raise ValueError(
                f"--{option} {value} is this run's own folder: name another run, or another --output for this one"
            )


def _who_measures(settings: Settings) -> str:
    """What asks for several groups, in words."""
    given = settings.schedule
    if given.noise_limit:
        return f"a noise limit by the {given.noise_limit_scale} scale"
    return "goodput" if "goodput" in (given.schedule, given.batch_floor) else "the norm test"


def _check_batches(settings: Settings, schedule: BatchSizeSchedule, rank_map: RankMap, resumed: bool) -> None:
    """Raise ValueError for a first batch that cannot be split or tested, or that is scaled by twice.

    Also for ranks from a batch on that is never reached.
    """
    ranks = rank_map.most // settings.parallel.tensor_parallel
    batches = build_micro_batching(settings.schedule, schedule.batch_size, ranks, resumed)
    groups = batches.world_size * batches.accumulation
    if groups < schedule.groups_needed:
        raise ValueError(
            f"{_who_measures(settings)} needs at least {schedule.groups_needed} groups (ranks x micro-batches), "
            f"but the first batch of {schedule.batch_size} in micro-batches of {settings.schedule.micro_batch} on "
            f"{ranks} rank{'s' * (ranks > 1)} makes {groups}: add --ranks, lower --micro-batch or raise "
            "--initial-batch"
        )
    if not resumed:
        schedule.require_growth(groups)
    largest, threshold = batches.round_up(schedule.maximum), rank_map.sizes[-1][0]
    if threshold > largest:
        raise ValueError(
            f"--ranks-at gives {rank_map.most} ranks to batches from {threshold} on, but none is larger than "
            f"{largest}: lower it, or raise --max-batch"
        )
    scaling = settings.optimizer.lr_scaling
    if schedule.learning_rate_scaling and scaling != "none":
        raise ValueError(
            f"--schedule {settings.schedule.schedule} scales the learning rate with the batch itself "
            f"({schedule.learning_rate_scaling}): leave out --lr-scaling {scaling}"
        )
