"""The search for each schedule's learning rate, path and warm-up, and the file of what it found."""
