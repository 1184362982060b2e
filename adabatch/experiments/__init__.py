"""Experiments of many runs: what the comparison and the ablation share."""
