"""The sections of a run's settings: dataclasses with a docstring under each field.

Field names are unique over all sections, so that each is also a command-line option: ``--eta 0.8``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from adabatch.ranges import Range
from adabatch.schedules.norm_tests import LARGEST_ETA, SMALLEST_ETA
from adabatch.schedules.paths import PathOptions, path_summaries
from adabatch.schedules.registry import batch_rules
from adabatch.settings.data import DataSettings
from adabatch.settings.hardware import HardwareSettings
from adabatch.settings.section import Section

__all__ = [
    "SECTIONS",
    "ModelSettings",
    "OptimizerSettings",
    "ParallelSettings",
    "RunSettings",
    "ScheduleSettings",
    "Settings",
]


LARGEST_BATCH = 2**24
"""Sequences; a batch beyond it is a mistake: the largest that is known in training has some thousands."""

LARGEST_BUDGET = 10**12
"""Sequences of a run."""

LARGEST_RATE = 1e30
"""Of a learning rate, and of a gradient norm that clips: far beyond what trains, and far below fp32's largest."""

Batch = Annotated[int, Range(1, LARGEST_BATCH)]
Samples = Annotated[int, Range(0, LARGEST_BUDGET)]
Decay = Annotated[float, Range(0, 1, below=True)]


@dataclass(frozen=True)
class ModelSettings(Section):
    """Which model is trained, from random initialisation."""

    model: str = "demo"
    """A built-in architecture (nano, tiny, demo, mini, llama-34m, microllama-300m, tinyllama-1.1b, openllama-3b,
    llama2-7b, llama2-13b, llama2-70b, smollm2-135m, gpt2, qwen3-0.6b, gemma-2b, olmo2-1b, mistral-7b), or the path
    of the configuration file (config.json) of any causal language model that transformers knows."""
    init_from: str = ""
    """Start from the weights in this Hugging Face folder (safetensors) rather than from random ones, or from those
    of a run or a checkpoint (RUN/checkpoints/best). They must be of --model, which takes the same Hugging Face
    folder; a run that resumes goes by its checkpoint."""


@dataclass(frozen=True)
class ParallelSettings(Section):
    """Where and how the model is computed."""

    parallel: Literal["single", "ddp", "fsdp", "hsdp"] = "single"
    """How ranks share the work: single process, DistributedDataParallel, FSDP2 (fully_shard), or hybrid sharding
    (replicas, each sharded by FSDP2)."""
    replicas: Annotated[int, Range(1, 65_536)] = 2
    """hsdp: replicas of the model; each is sharded over ranks / replicas."""
    tensor_parallel: Annotated[int, Range(1, 65_536)] = 1
    """fsdp: neighbouring ranks that share each matrix and work on the same samples; they count as one rank for
    the batch."""
    sequence_parallel: bool = False
    """With tensor parallelism: the norms work on a share of each sequence rather than on all of it."""
    ranks: Annotated[int, Range(1, 65_536)] = 1
    """Ranks to start on this machine. Under torchrun, torchrun's own number counts."""
    ranks_at: str = ""
    """More ranks from larger batches on, such as 64:2,256:4: the run saves, and 2 ranks resume it when the batch
    has come to 64, 4 when it has come to 256. Each number divides the last, which can make every batch. They are
    given back when the batch falls below half of where they began. Not under torchrun."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU for each rank where there is one."""
    threads: Annotated[int, Range(0, 1024)] = 0
    """CPU threads per rank; 0: the cores are shared evenly. Gradients are bitwise equal only at equal numbers."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: parameters are cast for compute, and gradients are reduced in fp32."""
    reshard_after_forward: bool = True
    """FSDP2: free the whole parameters between forward and backward."""
    accumulation_sync: bool = False
    """Reduce gradients after every micro-batch (less memory under FSDP2) rather than once per step."""
    activation_checkpointing: bool = False
    """Recompute each decoder layer's activations in the backward pass."""
    compile: bool = False
    """torch.compile each decoder layer."""
    timeout: Annotated[float, Range(0, 1e7, above=True)] = 600.0
    """Seconds without progress after which a run of several ranks ends and reports which rank did not arrive; more
    than the slowest micro-batch or checkpoint takes."""
    max_restarts: Annotated[int, Range(0, 1_000_000)] = 0
    """When a rank dies, start all ranks of this machine again from the newest checkpoint, up to this often. Under
    torchrun, its own --max-restarts counts."""


C = TypeVar("C", bound=type)


def _with_choices(
    section: C, name: str, default: str, what: str, summaries: Mapping[str, str], options: Sequence[type] = ()
) -> C:
    """The section with registered names as choices of one field, and with the options of what they name."""
    names: Any = Literal[tuple(summaries)]
    doc = f"{what} {'. '.join(f'{choice}: {summary}' for choice, summary in summaries.items() if summary)}."
    body = {
        "__module__": section.__module__,
        "__doc__": section.__doc__,
        "__annotations__": {name: names},
        name: field(default=default, metadata={"doc": doc}),
    }
    combined: Any = dataclass(frozen=True)(type(section.__name__, (*reversed(options), section), body))
    return cast(C, combined)


def _with_batch_rules(section: C) -> C:
    """With the registered batch rules and their options."""
    rules = batch_rules()
    summaries = {name: rule.summary for name, rule in rules.items()}
    options = [rule.options for rule in rules.values() if rule.options is not None]
    section = _with_choices(section, "schedule", "norm-test", "The batch-size schedule.", summaries, options)
    what = "A second batch-size schedule, below which the first does not go."
    floors = {"none": "--schedule alone"} | dict.fromkeys(rules, "")
    return _with_choices(section, "batch_floor", "none", what, floors)


def _with_paths(section: C) -> C:
    """With the learning-rate paths and their options."""
    what = "The learning rate's path after the warm-up, in samples."
    return _with_choices(section, "lr_path", "wsd", what, path_summaries(), [PathOptions])


@_with_batch_rules
@dataclass(frozen=True)
class ScheduleSettings(Section):
    """How the batch size evolves. All sizes are in sequences, over all ranks.

    The options of each batch rule stand next to its class in :mod:`adabatch.schedules`.
    """

    schedule: str
    batch_floor: str = "none"
    initial_batch: Batch = 4
    """First batch (the only one, for a constant schedule)."""
    max_batch: Batch = 128
    """Largest batch."""
    micro_batch: Batch = 1
    """Sequences in a rank's micro-batch at the start: ranks x micro-batch must divide the initial batch."""
    max_micro_batch: Batch = 32
    """The micro-batch grows up to here before accumulation does."""
    length_stages: str = ""
    """Progressive sequence length, such as 64:0.3,128:1: 64 tokens of each sample up to 30% of the budget, then
    128. Samples stay what they are, so that order, budget and schedules do; validation takes the full length."""
    noise_limit: Annotated[float, Range(SMALLEST_ETA, LARGEST_ETA, zero="no limit")] = 0.0
    """eta of a ceiling on any growing batch rule: b <= B / eta^2, with B the noise scale of the steps before, and
    not below the first batch. Where it holds the batch back, the learning rate is multiplied by sqrt(b / wanted),
    unless it follows the batch by itself. 1 is a good first try."""
    noise_limit_scale: Literal["trace", "l1", "weighted"] = "trace"
    """Which noise scale limits the batch. trace costs next to nothing; l1 and weighted look at the coordinates.
    Only weighted protects an Adam step's descent as a whole; it needs 8 groups (ranks x micro-batches)."""

    if TYPE_CHECKING:

        def __init__(self, **values: Any) -> None: ...
        def __getattr__(self, name: str) -> Any:
            """An option of a batch rule."""


@_with_paths
@dataclass(frozen=True)
class OptimizerSettings(Section):
    """The optimizer and its learning rate, which follows the samples seen."""

    lr_path: str
    optimizer: Literal["adamw", "sgd", "adafactor", "muon"] = "adamw"
    """adamw: as in the paper. sgd: with momentum. adafactor: its second moments are a row and a column for each
    matrix. muon: a step of the decoder layers' matrices is made nearly orthogonal; AdamW takes the other
    parameters, with the same learning rate."""
    lr: Annotated[float, Range(0, LARGEST_RATE, above=True)] = 3e-3
    """Peak learning rate."""
    min_lr: Annotated[float, Range(0, LARGEST_RATE)] = 0.0
    """Learning rate at the end of the path; what inverse-sqrt approaches."""
    lr_scaling: Literal["none", "sqrt", "linear"] = "none"
    """How the learning rate follows the batch: not at all, times the square root of the batch over the reference
    batch (as is usual for Adam), or times that ratio (the rule for SGD). exchange and seesaw have their own."""
    lr_reference_batch: Annotated[int, Range(0, LARGEST_BATCH)] = 0
    """The batch that the peak learning rate was chosen for, and the weight decay where that is scaled; 0 is the
    first batch."""
    lr_replay: str = ""
    """The learning rates of another run, by the samples seen, in place of a path, its warm-up and its scaling: the
    other run's folder, or its metrics.jsonl."""
    warmup_samples: Samples = 1024
    """Linear warm-up from 0 over this many samples."""
    momentum: Decay = 0.9
    """sgd: decay of the sum of gradients that it steps along; 0: the gradient alone."""
    nesterov: bool = False
    """sgd: step along the gradient plus the momentum after it."""
    muon_momentum: Decay = 0.95
    """muon: decay of the average of gradients that is made orthogonal, with the gradient once more (Nesterov)."""
    muon_iterations: Annotated[int, Range(1, 99)] = 5
    """muon: Newton-Schulz iterations, in bf16."""
    adafactor_decay: Annotated[float, Range(0, 1, above=True)] = 0.8
    """adafactor: a, where the n-th step's second moment has the decay 1 - 1 / n^a."""
    adafactor_clip: Annotated[float, Range(1, LARGEST_RATE)] = 1.0
    """adafactor: largest root mean square of a parameter's step, before the learning rate."""
    adafactor_floor: Annotated[float, Range(0, LARGEST_RATE)] = 1e-3
    """adafactor: the learning rate is multiplied by a parameter's root mean square, or by this if that is less."""
    beta1: Decay = 0.9
    """Decay of AdamW's first moment."""
    beta2: Decay = 0.95
    """Decay of AdamW's second moment."""
    beta2_half_life: Annotated[float, Range(1, LARGEST_BUDGET, zero="beta2 in every step")] = 0.0
    """Half-life of AdamW's second moment, in samples: beta2 = 2^(-batch / half-life), so that it averages over as
    many samples while the batch grows; 0: --beta2 in every step."""
    epsilon: Annotated[float, Range(0, 1)] = 1e-8
    """Added to the root of AdamW's second moment; at 0 a coordinate that never had a gradient rests."""
    bias_correction: bool = True
    """Divide Adam's moments by what their weights add up to, as AdamW does; the theorems are for moments as they
    are."""
    weight_decay: Annotated[float, Range(0, 1000)] = 0.1
    """Decoupled, as in the paper; sgd adds weight decay x parameter to the gradient instead, before momentum."""
    weight_decay_on: Literal["all", "matrices"] = "all"
    """Which parameters decay: all of them, as in the paper, or not the norms, biases and embeddings."""
    weight_decay_scaling: Literal["none", "sqrt", "linear"] = "none"
    """How the weight decay follows the batch. Over the same samples the parameters decay alike if this and
    --lr-scaling multiply to the batch: linear with none, sqrt with sqrt, none with linear."""
    clip: Annotated[float, Range(0, LARGEST_RATE)] = 1.0
    """Largest gradient norm; 0 does not clip."""

    if TYPE_CHECKING:

        def __init__(self, **values: Any) -> None: ...
        def __getattr__(self, name: str) -> Any:
            """An option of a learning-rate path."""


@dataclass(frozen=True)
class RunSettings(Section):
    """How long, what is measured and where it is kept."""

    samples: Annotated[int, Range(1, LARGEST_BUDGET)] = 16384
    """Budget in sequences: training ends with the step that reaches it."""
    stop_at: Annotated[int, Range(1, LARGEST_BUDGET, zero="at the budget")] = 0
    """End early, with the step that reaches this many samples and with a checkpoint, while learning rates and
    schedules follow --samples; such a run may be resumed with another number."""
    validation_interval: Samples = 2048
    """Validation interval, in samples, and at the end; 0: never."""
    validation_samples: Annotated[int, Range(0, 10**9)] = 256
    """Sequences of the validation loss."""
    validate_at_start: bool = False
    """Validate before the first step too."""
    checkpoint_interval: Samples = 0
    """Checkpoint interval, in samples; 0: only at the end."""
    checkpoint_minutes: Annotated[float, Range(0.01, 1e6, zero="never")] = 15.0
    """Also save when the last checkpoint is this many minutes old, at the end of a step; 0: never."""
    time_limit: str | None = None
    """Time after which the run ends as at SIGTERM, with a checkpoint, such as 3h50m; leave the scheduler's limit
    room for a step and a checkpoint."""
    output: str = "runs/train"
    """Folder of the run: config.toml, metrics.jsonl, checkpoints, figures."""
    resume: str = "never"
    """auto resumes from the newest intact checkpoint in the output folder, if there is one; or a path."""
    allow: tuple[str, ...] = ()
    """Settings that may differ from those of the checkpoint that is resumed, although they change the run;
    records: resume although metrics.jsonl is not what the checkpoint knows."""
    keep: Annotated[int, Range(0, 1_000_000)] = 3
    """Checkpoints that are kept, the newest; 0 keeps all."""
    keep_best: bool = False
    """Also keep the checkpoint with the lowest validation loss (of the first set): each validation with a lower
    one than all before saves one. RUN/checkpoints/best names it."""
    async_checkpoints: bool = False
    """Copy the state and write it while training continues; needs memory for the copy."""
    overwrite: bool = False
    """Delete an earlier run in the output folder: its files by name, and nothing else."""
    max_skipped: Annotated[int, Range(0, 10**9)] = 10
    """Stop after more than this many steps in a row whose loss or gradient is not finite; 0 never stops. Such a
    step is skipped: neither optimizer step nor test."""
    monitor_interval: Annotated[int, Range(0, 10**9)] = 0
    """Measure the gradient statistics every this many steps even where no test runs; 0: only for tests."""
    monitor_coordinates: bool = False
    """With any test: measured steps also record what the coordinates do (sum of deviations, l1 norm, effective
    dimensions, share that meets the coordinate-wise test); needs memory and traffic on those steps."""
    monitor_layers: bool = False
    """Measured steps also record the trace and the squared gradient norm of each layer and kind of parameter, and
    a heat map of them is drawn; costs nothing."""
    monitor_matrices: Annotated[int, Range(0, 1000)] = 4
    """With --optimizer muon: every --monitor-interval steps also record the nuclear-norm noise scale of this many
    of its matrices, spread over the layers; 0: of none. It takes their eigenvalues."""
    figures: bool = True
    """Draw figures of the run at its end (adabatch plot draws losses and batch sizes at any time)."""
    tensorboard: bool = False
    """Write TensorBoard event files too."""
    wandb: bool = False
    """Record in Weights & Biases too, under the same names; its environment variables apply (WANDB_PROJECT,
    WANDB_MODE=offline). Where it cannot be reached, offline."""
    profile: Annotated[int, Range(0, 1000)] = 0
    """Trace this many steps of the main rank with torch's profiler, the first ones after those that compile and
    allocate: profile/trace.json in the run's folder, for chrome://tracing or Perfetto."""

    @property
    def end(self) -> int:
        """The samples with which training ends."""
        return min(self.stop_at or self.samples, self.samples)


@dataclass(frozen=True)
class Settings:
    """Everything that a run is made of; one section per field."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)


SECTIONS: dict[str, type] = {
    "model": ModelSettings,
    "data": DataSettings,
    "parallel": ParallelSettings,
    "schedule": ScheduleSettings,
    "optimizer": OptimizerSettings,
    "run": RunSettings,
    "hardware": HardwareSettings,
}
