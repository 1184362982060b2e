"""What a batch schedule could save in a run: evidence, model, text and figure of ``adabatch worth``."""
