"""Training runs. Import :func:`meshops.training.run.train` and :class:`meshops.training.config.RunConfig`."""
