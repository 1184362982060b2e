"""Batch-size and learning-rate schedules: second moments along a run, what a schedule can save, what it costs."""
