"""Errors of fields on meshes, of trajectories on grids, of ensembles and of distributions; and losses."""
