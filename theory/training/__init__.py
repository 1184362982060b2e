"""What training adds to Adam: clipping, weight decay, learning-rate schedules, estimated and violated tests."""
