"""A training run: its checks, its opening, its loop, its records and checkpoints."""
