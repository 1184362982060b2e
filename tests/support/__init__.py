"""What tests share: ranks, small models, runs."""
