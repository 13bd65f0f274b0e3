"""Where configs of SPEED=fast at tiny find the model class: the name stands in every config made so far, so it stays."""

from lesson.training.dequantised import DequantisedFinetune

__all__ = ["DequantisedFinetune"]
