"""What a run would need, before it needs it: memory, communication and steps, without allocating the model."""
