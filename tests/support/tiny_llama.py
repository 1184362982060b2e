"""A Llama of a few thousand parameters."""

from __future__ import annotations

import json
from pathlib import Path

MODEL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 264,
}


def write_tiny_model(path: Path) -> None:
    """Its configuration file."""
    path.write_text(json.dumps(MODEL))
