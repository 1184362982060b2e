"""Batch-size schedules compared honestly: equal samples, paired seeds, intervals, and resumable runs.

schedules (what is compared) -> searches (the same effort for each schedule's rate, path and warm-up) -> plan
(results over seeds, controls, other budgets) -> runner (one process per run) -> results (read from each run's
metrics) -> paired differences, the constant schedules' frontier, simulated time -> tables and figures.
"""
