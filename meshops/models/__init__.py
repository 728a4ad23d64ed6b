"""Published systems and baselines, by name: ``create_model("mspt", in_channels=7, out_channels=4)``."""

from meshops.models.amq import AMQ
from meshops.models.amr_mesh import AMRMesh
from meshops.models.amr_transformer import AMRTransformer
from meshops.models.blend import Blend
from meshops.models.components import Components
from meshops.models.echo import EchoAutoencoder, EchoGenerator
from meshops.models.fno import fno
from meshops.models.gino import GINO
from meshops.models.graph_vit import GraphViT
from meshops.models.iap import IAP
from meshops.models.iap_mesh import IAPMesh
from meshops.models.mesh_graph_net import MeshGraphNet
from meshops.models.mp_pde import MPPDE
from meshops.models.mspt import MSPT
from meshops.models.registry import create_model, list_models, model_arguments, model_takes, register_model
from meshops.models.transformer import Transformer
from meshops.models.transolver import Transolver
from meshops.models.trees import Trees
from meshops.models.unet import UNet
from meshops.models.vit import ViT

__all__ = [
    "AMQ",
    "GINO",
    "IAP",
    "MPPDE",
    "MSPT",
    "AMRMesh",
    "AMRTransformer",
    "Blend",
    "Components",
    "EchoAutoencoder",
    "EchoGenerator",
    "GraphViT",
    "IAPMesh",
    "MeshGraphNet",
    "Transformer",
    "Transolver",
    "Trees",
    "UNet",
    "ViT",
    "create_model",
    "fno",
    "list_models",
    "model_arguments",
    "model_takes",
    "register_model",
]
