"""Several ranks: rendezvous, parallelism, communication, watchdog, signals."""
