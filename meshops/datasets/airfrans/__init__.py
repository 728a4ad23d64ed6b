"""AirfRANS: aerofoils in turbulent flow."""

from meshops.datasets.airfrans.dataset import AirfRANS

__all__ = ["AirfRANS"]
