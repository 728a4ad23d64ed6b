"""Trajectories of MeshGraphNets: flow past cylinders and aerofoils."""

from meshops.datasets.mesh_graph_nets.dataset import MeshGraphNets

__all__ = ["MeshGraphNets"]
