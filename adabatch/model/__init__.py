"""The language model that is trained, and the parts that a parameter belongs to."""
