"""The version, where the facade and what is written into checkpoints both find it."""

__version__ = "0.1.0"
