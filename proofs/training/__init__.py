"""What training really runs: proofs on clipping, weight decay, schedules, estimated tests and violated steps."""
