import pytest
import torch
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.models.gino import GINO


def graph(n: int, seed: int) -> MeshGraph:
    torch.manual_seed(seed)
    return MeshGraph(pos=torch.rand(n, 2) * 2 - 1, x=torch.randn(n, 3))


def model() -> GINO:
    torch.manual_seed(0)
    return GINO(3, 2, pos_dim=2, channels=8, cells=8, depth=2)


def test_shapes_batches_and_order() -> None:
    gino, one, two = model().eval(), graph(50, 1), graph(30, 2)
    alone = [gino(gino.unpack(g)) for g in (one, two)]
    assert alone[0].shape == (50, 2)
    together = gino(gino.unpack(Batch.from_data_list([one, two])))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    order = torch.randperm(50)
    shuffled = gino(gino.unpack(MeshGraph(pos=one.pos[order], x=one.x[order])))
    torch.testing.assert_close(shuffled, alone[0][order], rtol=1e-4, atol=1e-5)


def test_every_weight_learns_and_geometry_alone_is_enough() -> None:
    gino, one = model(), graph(50, 1)
    gino(gino.unpack(one)).square().mean().backward()
    assert not [name for name, p in gino.named_parameters() if p.grad is None]
    bare = GINO(0, 1, pos_dim=3, channels=4, cells=4, depth=1)
    assert bare(bare.unpack(MeshGraph(pos=torch.rand(20, 3)))).shape == (20, 1)


def test_error_messages() -> None:
    with pytest.raises(InputError, match="body must be 'unet' or 'fno', got 'vit'"):
        GINO(1, 1, body="vit")  # type: ignore[arg-type]
    gino = model()
    with pytest.raises(InputError, match="lie outside of the box"):
        gino(gino.unpack(MeshGraph(pos=torch.full((5, 2), 3.0), x=torch.zeros(5, 3))))
