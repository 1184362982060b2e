"""Checkpoints: written whole or not at all, checked before they are read, loaded without running code."""
