"""Regularizers that act on network."""
