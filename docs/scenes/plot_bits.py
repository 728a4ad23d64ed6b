"""
Bits where they mend something
==============================

AMQ gives the nodes of a mesh more or fewer bits at a cost that is fixed in advance. What a node gains from more
bits is how much its output changes between few and many; a small auxiliary network learns to tell where that is.
"""

# %%
# A small MP-PDE with bits of 4 or 8 at the cost of 5 everywhere, trained for seconds on four shipped bodies.

import torch

import meshops
from meshops.aero.cases import graph_case
from meshops.datasets import AhmedMini
from meshops.datasets.subset import CaseSubset
from meshops.tasks import FieldsSettings

train, test = AhmedMini("train"), AhmedMini("test")
config = meshops.RunConfig(
    out="runs/gallery_bits",
    model={
        "name": "amq",
        "backbone": "mppde",
        "arguments": {"channels": 64, "depth": 3},
        "bits": [4, 8],
        "budget": 5,
        "assignment": "auxiliary",
        "warmup": 8,
        "explore": 8,
    },
    task=FieldsSettings(nodes=0),
    train=meshops.TrainConfig(steps=30, batch_size=1, lr=3e-3, threads=1),
)
task = meshops.train(config, data=CaseSubset(train, range(4)), overwrite=True).surrogate.task

# %%
# The map that the auxiliary network draws on a body it has not seen, and the change that an oracle would go by.
# Whether such a map pays, against 5 bits everywhere, is measured on the card of :doc:`/papers/amq`; on most data it
# does not.

from meshops.viz import Scene

case = graph_case(test[3], task.spec, flow=test.flow)
inputs = task.model.unpack(task.inputs(task.prepared(case)[0]))
with torch.no_grad():
    bits = task.model.assign(inputs).plans["node"].bits
    change = task.model.change(inputs)
print("cells of 4 bits:", int((bits == 4).sum()), "of 8 bits:", int((bits == 8).sum()))
scene = Scene(
    mesh=test.mesh(3), fields={"bits": bits.double().numpy(), "change from 4 to 8 bits": change.sqrt().numpy()}
)
scene
