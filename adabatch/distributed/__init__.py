"""Several ranks: rendezvous, launcher, parallelism, communication, watchdog, signals."""
