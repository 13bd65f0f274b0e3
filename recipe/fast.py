"""Where configs of SPEED=fast at 7b find the model class: the name stands in every config made so far, so it stays."""

from lesson.training.fast import FastFinetune

__all__ = ["FastFinetune"]
