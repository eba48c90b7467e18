"""Regularizers that act on training."""
