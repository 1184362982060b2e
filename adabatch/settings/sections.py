"""The sections of a run's settings: dataclasses with a docstring under each field.

Field names are unique over all sections, so that each is also a command-line option: ``--eta 0.8``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from adabatch.settings.data import DataSettings

__all__ = [
    "SECTIONS",
    "ModelSettings",
    "OptimizerSettings",
    "ParallelSettings",
    "RunSettings",
    "ScheduleSettings",
    "Settings",
]


@dataclass(frozen=True)
class ModelSettings:
    """Which Llama is trained, from random initialisation."""

    model: str = "demo"
    """A built-in architecture (tiny, demo, llama-34m, microllama-300m, tinyllama-1.1b, openllama-3b), or the path
    of a Llama configuration file (config.json)."""


@dataclass(frozen=True)
class ParallelSettings:
    """Where and how the model is computed."""

    parallel: Literal["single", "ddp", "fsdp", "hsdp"] = "single"
    """How ranks share the work: single process, DistributedDataParallel, FSDP2 (fully_shard), or hybrid sharding
    (replicas, each sharded by FSDP2)."""
    replicas: int = 2
    """hsdp: replicas of the model; each is sharded over ranks / replicas."""
    tensor_parallel: int = 1
    """fsdp: neighbouring ranks that share each matrix and work on the same samples; they count as one rank for
    the batch."""
    sequence_parallel: bool = False
    """With tensor parallelism: the norms work on a share of each sequence rather than on all of it."""
    ranks: int = 1
    """Ranks to start on this machine. Under torchrun, torchrun's own number counts."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU for each rank where there is one."""
    threads: int = 0
    """CPU threads a rank; 0 shares the cores evenly. Gradients are bitwise equal only at equal numbers."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: parameters are cast for compute, and gradients are reduced in fp32."""
    reshard_after_forward: bool = True
    """FSDP2: free the whole parameters between forward and backward."""
    accumulation_sync: bool = False
    """Reduce gradients after every micro-batch (less memory under FSDP2) rather than once a step."""
    activation_checkpointing: bool = False
    """Recompute each decoder layer's activations in the backward pass."""
    compile: bool = False
    """torch.compile each decoder layer."""
    timeout: float = 600.0
    """Seconds without progress after which a run of several ranks ends, saying which rank did not arrive; more
    than the slowest micro-batch or checkpoint takes."""
    max_restarts: int = 0
    """When a rank dies, start all ranks of this machine again from the newest checkpoint, up to this often. Under
    torchrun, its own --max-restarts counts."""


@dataclass(frozen=True)
class ScheduleSettings:
    """How the batch size evolves. All sizes are in sequences, over all ranks."""

    schedule: Literal["constant", "stagewise", "linear-ramp", "seesaw", "replay", "norm-test"] = "norm-test"
    """Which batch-size schedule. seesaw: wherever the cosine would halve the learning rate, divide it by the
    square root of 2 and double the batch; at the largest batch, halve it. replay: another run's batch sizes."""
    initial_batch: int = 4
    """First batch (the only one, for a constant schedule)."""
    max_batch: int = 128
    """Largest batch."""
    micro_batch: int = 1
    """Sequences in a rank's micro-batch at the start: ranks x micro-batch must divide the initial batch."""
    max_micro_batch: int = 32
    """The micro-batch grows up to here before accumulation does."""
    test: Literal["scalar", "l1", "coordinate"] = "scalar"
    """norm-test: which test. scalar compares l2 norms and costs next to nothing; l1 sums the coordinates' standard
    deviations; coordinate asks that a share of the coordinates meet it. The last two keep and communicate squares
    of all gradients on test steps (--test-interval)."""
    eta: float = 0.8
    """norm-test: relative error of the gradient asked for; smaller asks for larger batches."""
    estimator: Literal["paper", "unbiased", "debiased"] = "unbiased"
    """norm-test, scalar: which variance and squared norm are compared."""
    l1_denominator: Literal["plug-in", "conservative"] = "plug-in"
    """norm-test, l1: the batch gradient's own l1 norm, or an estimate from below by two halves of the batch."""
    coordinate_quantile: float = 0.5
    """norm-test, coordinate: the share of coordinates that must meet the test."""
    coordinate_stride: int = 16
    """Whatever looks at the coordinates: take one in so many of them in each large parameter, in blocks of 16
    neighbours; memory and traffic fall with it, and sums are estimates to 1% or so. 1 takes all."""
    test_interval: int = 1
    """norm-test: test every this many steps."""
    ema: float = 0.0
    """norm-test: decay of the averages of numerator and denominator; 0 uses each step's own."""
    max_growth: float = 8.0
    """norm-test: a test may ask for at most this many times the current batch; 0 does not limit."""
    stage_batches: tuple[int, ...] = (32, 64, 128)
    """stagewise: a batch size for each stage."""
    stage_fractions: tuple[float, ...] = (0.025, 0.025, 0.95)
    """stagewise: the stages' fractions of the samples."""
    ramp_samples: int = 8192
    """linear-ramp: samples until the largest batch."""
    seesaw_factor: float = 2.0
    """seesaw: by how much the cosine falls and the batch grows from stage to stage."""
    replay_run: str = ""
    """replay: the folder of the other run, or its metrics.jsonl."""


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate, which follows the samples seen."""

    lr: float = 3e-3
    """Peak learning rate."""
    min_lr: float = 3e-4
    """Learning rate at the end of the cosine."""
    lr_scaling: Literal["none", "sqrt", "linear"] = "none"
    """How the learning rate follows the batch: not at all, times the square root of the batch over the reference
    batch (as is usual for Adam), or times that ratio (the rule for SGD). seesaw has its own."""
    lr_reference_batch: int = 0
    """The batch that the peak learning rate was chosen for; 0 is the first batch."""
    warmup_samples: int = 512
    """Linear warm-up from 0 over this many samples."""
    beta1: float = 0.9
    """Decay of the first moment."""
    beta2: float = 0.95
    """Decay of the second moment."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.1
    """Decoupled, on every parameter (as in the paper)."""
    clip: float = 1.0
    """Largest gradient norm; 0 does not clip."""


@dataclass(frozen=True)
class RunSettings:
    """How long, what is measured and where it is kept."""

    samples: int = 16384
    """Budget in sequences: training ends with the step that reaches it."""
    validation_interval: int = 2048
    """Validation loss every this many samples, and at the end; 0 never."""
    validation_samples: int = 256
    """Sequences of the validation loss."""
    checkpoint_interval: int = 0
    """Checkpoint every this many samples, and at the end; 0 only at the end."""
    output: str = "runs/train"
    """Folder of the run: config.toml, metrics.jsonl, checkpoints, figures."""
    resume: str = "never"
    """auto goes on from the newest intact checkpoint in the output folder, if there is one; or a path."""
    allow: tuple[str, ...] = ()
    """Settings that may differ from those of the checkpoint that is resumed, although they change the run."""
    keep: int = 3
    """Checkpoints that are kept, the newest; 0 keeps all."""
    async_checkpoints: bool = False
    """Copy the state and write it while training goes on; needs memory for the copy."""
    overwrite: bool = False
    """Delete an earlier run in the output folder."""
    max_skipped: int = 10
    """Stop after more than this many steps in a row whose loss or gradient is not finite; 0 never stops. Such a
    step is skipped: neither optimizer step nor test."""
    monitor_interval: int = 0
    """Measure the gradient statistics every this many steps even where no test runs; 0 only for tests."""
    monitor_coordinates: bool = False
    """Whatever the test: measured steps also say what the coordinates do (sum of deviations, l1 norm, effective
    dimensions, share that meets the coordinate-wise test); needs memory and traffic on those steps."""
    monitor_layers: bool = False
    """Measured steps also say the trace and the squared gradient norm of each layer and kind of parameter, and a
    heat map of them is drawn; costs nothing."""
    figures: bool = True
    """Draw figures of the run at its end (adabatch plot draws them later)."""
    tensorboard: bool = False
    """Write TensorBoard event files too."""


@dataclass(frozen=True)
class Settings:
    """Everything a run is made of; one section a field."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)


SECTIONS: dict[str, type] = {
    "model": ModelSettings,
    "data": DataSettings,
    "parallel": ParallelSettings,
    "schedule": ScheduleSettings,
    "optimizer": OptimizerSettings,
    "run": RunSettings,
}
