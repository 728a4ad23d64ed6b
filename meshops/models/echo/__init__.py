"""ECHO-style systems: a causal auto-encoder of trajectories on free points and a generator of its latents."""

from meshops.models.echo.autoencoder import EchoAutoencoder
from meshops.models.echo.generator import EchoGenerator

__all__ = ["EchoAutoencoder", "EchoGenerator"]
