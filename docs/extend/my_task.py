"""One number per case, the sum of what a model says at the nodes: ``kind: total``, ``task: {number: mass}``."""

from dataclasses import dataclass

from torch_geometric.data import Batch
from torch_geometric.nn import global_add_pool

from meshops.tasks import GraphSamples, Report, Spec, Task, means, register_task


@dataclass(frozen=True)
class TotalSpec(Spec):
    number: str = "mass"  # an attribute of the graphs, [1]

    def model_arguments(self):
        return {"in_channels": 0, "out_channels": 1, "pos_dim": 2}  # by the names of the models' arguments


@register_task("total")
class Total(Task):
    Settings, batch = TotalSpec, staticmethod(GraphSamples.batch)  # the ``task:`` block is all there is to know

    @classmethod
    def samples(cls, data, settings, context):
        return GraphSamples(data, settings, held_out=context.held_out)

    @classmethod
    def empty(cls, model, spec):
        return cls(model, TotalSpec.from_dict(spec))

    def loss(self, batch):
        total = global_add_pool(self.model(self.model.unpack(batch)), batch.batch)
        return {"loss": (total[:, 0] - batch[self.spec.number]).square().mean()}

    def judge(self, samples, case):
        return {"error": self.loss(Batch.from_data_list([case]))["loss"].item() ** 0.5}

    def evaluate(self, data, *, context=None, **asked):
        rows = {f"case {i}": self.judge(None, case) for i, case in enumerate(data)}
        return Report(self.kind, "absolute error", means(rows), rows, columns={"error": self.spec.number})
