"""
A prediction and its error
==========================

A small network is trained for seconds on eight of the RANS cases that come with the package and predicts a body it
has not seen.
"""

# %%
# The report puts yardsticks beside the network that need no training. So little training is for this page only:
# ``meshops demo`` trains for minutes.

import meshops
from meshops.datasets import AhmedMini
from meshops.datasets.subset import CaseSubset

train, test = AhmedMini("train"), AhmedMini("test")
config = meshops.RunConfig(
    out="runs/gallery_prediction",
    model={"name": "mspt", "channels": 32, "depth": 2, "num_heads": 4, "num_patches": 16},
    train=meshops.TrainConfig(steps=120, batch_size=1, lr=3e-3, threads=1),
)
result = meshops.train(config, data=CaseSubset(train, range(8)), test=CaseSubset(test, [3]), overwrite=True)
print(result.report.table())

# %%
# Truth, prediction and error stand in one scene. Errors gather at edges and behind the body, where the flow
# separates.

from meshops.viz import Scene

prediction = result.surrogate.predict(test[3])
pressure, truth = prediction.fields["pMean"], prediction.case.truth["pMean"]
fields = {"pressure, predicted": pressure, "pressure, truth": truth, "error": pressure - truth}
unit = test[3].y_units[0]
scene = Scene(mesh=test.mesh(3), fields=fields, units=dict.fromkeys(fields, unit))
scene
