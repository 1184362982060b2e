"""Which part of a model a parameter belongs to: the layer's number and the kind of work it does.

Works on the paths of any ``nn.Module``: the first number in a path is the layer's, and the kind follows from the
usual words in the names below it. A name without any of them is its own kind.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "ModelPart", "model_part"]

KINDS = {
    "norm": ("norm", "ln", "bn"),
    "attention": ("attn", "attention"),
    "mlp": ("mlp", "ffn", "feed_forward", "feedforward"),
    "embedding": ("embed", "wte", "wpe"),
    "head": ("head", "output", "classifier"),
}
"""Words in a module's name, by kind; the first kind that fits counts."""

WRAPPERS = ("module", "_orig_mod", "_checkpoint_wrapped_module")
"""What DDP, compilation and activation checkpointing put into paths."""


class ModelPart(NamedTuple):
    """A layer's number (None outside the numbered layers) and the kind of parameter.

    >>> str(ModelPart(3, "attention")), str(ModelPart(None, "head"))
    ('3.attention', 'head')
    """

    layer: int | None
    kind: str

    def __str__(self) -> str:
        """``3.attention``, or the kind alone."""
        return self.kind if self.layer is None else f"{self.layer}.{self.kind}"

    @classmethod
    def parse(cls, text: str) -> ModelPart:
        """The part that ``str`` wrote.

        >>> ModelPart.parse("3.attention")
        ModelPart(layer=3, kind='attention')
        """
        layer, _, kind = text.partition(".")
        return cls(int(layer), kind) if kind and layer.isdecimal() else cls(None, text)


def model_part(name: str) -> str:
    """The part that a parameter belongs to, from its path.

    >>> [model_part(f"model.layers.3.{name}.weight") for name in ("self_attn.q_proj", "input_layernorm")]
    ['3.attention', '3.norm']
    >>> [model_part(name) for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")]
    ['embedding', 'norm', 'head']
    >>> model_part("module.features.0.conv.bias"), model_part("scale")
    ('0.conv', 'scale')
    """
    path = [step for step in name.split(".") if step not in WRAPPERS]
    modules = path[:-1] or path
    number = next((place for place, step in enumerate(modules) if step.isdecimal()), None)
    below = modules if number is None else modules[number + 1 :]
    layer = None if number is None else int(modules[number])
    return str(ModelPart(layer, _kind(below) or (below or modules[:number] or ["layer"])[-1]))


def _kind(modules: list[str]) -> str | None:
    """The kind that the outermost name with one of the words has (an attention block's own norm is attention)."""
    kinds = ((module.lower(), kind, word) for module in modules for kind, words in KINDS.items() for word in words)
    return next((kind for module, kind, word in kinds if _has(module, word)), None)


def _has(module: str, word: str) -> bool:
    """Whether the word is in the name; words of two letters only as a word of its own (ln_1, not aln)."""
    return word in module if len(word) > 2 else word in module.rstrip("0123456789").split("_")
