"""Heated plates: a folder with one ``plate_<i>.npz`` per case, each under its own load."""

from pathlib import Path

import numpy as np
import torch

from meshops.aero import FlowConditions
from meshops.data import MeshGraph
from meshops.datasets import CaseDataset, register_dataset
from meshops.datasets.base import GraphCache


@register_dataset("plates", layout=("plate_*.npz",))
class Plates(CaseDataset):
    fields, units = ("temperature",), ("K",)
    flow, flow_stated, transform = FlowConditions(), False, None  # no body in a flow: no forces

    def __init__(self, root, split="train"):
        paths = sorted(Path(root).glob("plate_*.npz"))
        self.paths = {"train": paths[:-1], "test": paths[-1:], "all": paths}[split]
        self.cases, self.cache = tuple(path.stem for path in self.paths), GraphCache(True)

    def read(self, index):
        with np.load(self.paths[index]) as file:
            pos, temperature = torch.from_numpy(file["pos"]), torch.from_numpy(file["temperature"])
        return MeshGraph(pos=pos, y=temperature[:, None], y_names=self.fields, y_sizes=(1,), y_units=self.units)

    def files(self, index):
        return {"plate": self.paths[self.position(index)]}

    def conditions_of(self, index):
        return {"load": float(np.load(self.paths[index])["load"])}

    @classmethod
    def standin(cls, root, num=4):
        for i, pos in enumerate(np.random.default_rng(0).random((num, 50, 2), dtype=np.float32)):
            load = 1.0 + i
            np.savez(Path(root) / f"plate_{i}.npz", pos=pos, temperature=300 + load * pos[:, 0] * pos[:, 1], load=load)
        return Path(root)
