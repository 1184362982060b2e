"""The critical batch size by branching: what larger batches cost from a point of a run on.

run -> points to branch at, checkpoints that are missing made again -> branches (through
:mod:`adabatch.experiments.runner`) -> their losses, and from these the critical batch; their statistics -> which
of them tracks it -> tables, figure, report.json.
"""
