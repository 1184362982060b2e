"""What training really runs: scalar test, clipping, weight decay, schedules, estimated tests, violated steps."""
