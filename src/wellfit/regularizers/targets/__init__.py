"""Regularizers that act on targets."""
