"""What the folders of AhmedML and the cases that are shipped share: names, units, conditions, numbers of runs."""

from __future__ import annotations

from meshops.aero.conditions import FlowConditions

NAME = "AhmedML"
DEFAULT_FIELDS = {"surface": ("pMean", "wallShearStressMean"), "volume": ("pMean", "UMean")}
UNITS = {
    "pMean": "m^2/s^2",
    "wallShearStressMean": "m^2/s^2",
    "UMean": "m/s",
    "total(p)_coeffMean": "1",
    "vorticityMean": "1/s",
}
# U = 1 m/s and rho = 1: pressures are kinematic, Cp = 2 pMean. OpenFOAM's shear is minus the force on the body.
CONDITIONS = FlowConditions(
    flow=(1.0, 0.0, 0.0),
    up=(0.0, 0.0, 1.0),
    speed=1.0,
    density=1.0,
    kinematic=True,
    ground=0.0,
    symmetric=True,
    shear_sign=-1,
)


def download_advice(run: str, domain: str = "surface") -> str:
    """Say what to download for one run, and how."""
    size = "about 100 MB" if domain == "surface" else "about 5.5 GB"
    pattern = "*.vtp" if domain == "surface" else "*.vtu"
    return (
        "download it from the Hugging Face dataset neashton/ahmedml (DOI 10.57967/hf/5002, about 2 TB in all, "
        f"{size} for this run): huggingface-cli download neashton/ahmedml --repo-type dataset "
        f'--include "run_{run}/{pattern}" "run_{run}/*.stl" "run_{run}/*.csv" --local-dir ahmedml'
    )
