"""Batch-size schedules compared honestly: equal samples, paired seeds, intervals, and resumable runs.

variants (what is compared) -> runs (variant x learning rate x seed) -> runner (one process per run) ->
results (read from each run's metrics) -> paired differences, the constant schedules' frontier, simulated
wall-clock -> tables and figures.
"""
