"""Graphs as they are, one sample each: what a task of one's own needs no samples of its own for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch_geometric.data import Batch, Data

from meshops.tasks.base import Draw, Samples, Spec, training_count


class GraphSamples(Samples):
    """PyG graphs, numbered as they come; the last are held out.

    Args:
        graphs: A list of graphs, or a data set.
        spec: What is learnt of them.
        held_out: How many are kept for validation.
        offers: What they give to a model.

    Raises:
        InputError: None is left to learn from.
    """

    def __init__(
        self, graphs: Sequence[Data], spec: Spec, *, held_out: int = 0, offers: Iterable[str] = ("points",)
    ) -> None:
        self.graphs = [graphs[i] for i in range(len(graphs))]
        self.cases = training_count(len(graphs), held_out)
        self.held_out = self.graphs[self.cases :]
        self.spec, self.offers = spec, frozenset(offers)

    def __len__(self) -> int:
        """Number of training graphs."""
        return self.cases

    def describe(self) -> str:
        """How many, for the screen."""
        return f"{self.cases} training graphs"

    def batch(self, draws: Iterable[Draw]) -> Batch:
        """The graphs that were drawn; nothing about them is random."""
        return Batch.from_data_list([self.graphs[draw.number] for draw in draws])
