"""What training really runs: the scalar test, clipping, weight decay, schedules, estimated tests, violated steps."""
