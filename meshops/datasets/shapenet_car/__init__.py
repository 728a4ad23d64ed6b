"""ShapeNet-Car: cars in a wind tunnel, surface pressure and velocity around."""

from meshops.datasets.shapenet_car.dataset import ShapeNetCar
from meshops.datasets.shapenet_car.drag import CarDrag, car_drag

__all__ = ["CarDrag", "ShapeNetCar", "car_drag"]
