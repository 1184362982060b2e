"""The trainer and its parts: gradient statistics, batch-size schedules, data, model, parallelism."""
