"""What a trained model is worth on text: its loss with an interval, and its scores in tasks of lm-eval."""
