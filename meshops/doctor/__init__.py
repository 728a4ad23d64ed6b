"""What a folder of finished simulations holds and what is wrong with it: the survey and the run doctor."""

from meshops.doctor.checks import diagnose
from meshops.doctor.facts import CaseFacts, FieldFacts, facts_of
from meshops.doctor.findings import Finding, problems
from meshops.doctor.noise import NoiseFloor, label_noise
from meshops.doctor.survey import Survey, survey

__all__ = [
    "CaseFacts",
    "FieldFacts",
    "Finding",
    "NoiseFloor",
    "Survey",
    "diagnose",
    "facts_of",
    "label_noise",
    "problems",
    "survey",
]
