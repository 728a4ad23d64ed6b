"""meshops."""
