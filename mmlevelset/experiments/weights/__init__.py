"""Weights to use and to publish: small files without the state of a training."""
