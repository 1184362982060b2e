"""What other trainers offer and this one does not, by the words that users try: why, and what is there instead."""

from __future__ import annotations

__all__ = ["not_offered"]

FP16 = (
    "fp16 is not offered: its gradients underflow unless the loss is scaled, and the gradient statistics would be "
    "of scaled gradients: take --precision bf16 or fp32"
)
FLOAT8 = (
    "float8 is not offered: nothing bounds what its rounding adds to the variance that a norm test measures: take "
    "--precision bf16, with --compile for speed"
)
PIPELINE = (
    "pipeline parallelism is not offered: no rank would see a micro-batch's whole gradient, whose norm the tests "
    "need: take --parallel fsdp or hsdp, with --tensor-parallel for wide matrices"
)
CONTEXT = (
    "context parallelism is not offered: no rank would see a sequence's whole gradient, whose norm tests need: "
    "for long sequences take --activation-checkpointing, or --tensor-parallel with --sequence-parallel"
)

WORDS = {
    **dict.fromkeys(("fp16", "float16", "half"), FP16),
    **dict.fromkeys(("fp8", "float8", "mxfp8", "e4m3", "e5m2"), FLOAT8),
    **dict.fromkeys(("pp", "pipeline", "pipeline-parallel", "pipeline-parallel-size"), PIPELINE),
    **dict.fromkeys(("cp", "context", "context-parallel", "context-parallel-size"), CONTEXT),
}
"""By option, setting or value, without leading dashes."""

SETTINGS = frozenset({"precision", "parallel"})
"""Those whose values are looked up too."""


def not_offered(name: str, value: object = None) -> str | None:
    """Why an option, or a value of a setting, is not there; None if that is not one of the known ones.

    Args:
        name: of the option or setting, as the user wrote it.
        value: that the setting was given; None: the name itself is looked up.

    >>> not_offered("--fp16") == not_offered("precision", "float16") == FP16
    True
    >>> not_offered("data", "half") is None
    True
    """
    word = name if value is None else str(value) if name in SETTINGS else ""
    return WORDS.get(word.lower().lstrip("-").replace("_", "-"))
