"""The Llama 2 family, and the parts that a parameter belongs to."""
