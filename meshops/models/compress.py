"""Smaller, faster models: the weights as integers, the rows at a budget of bits.

A model that was trained with the model ``amq`` keeps its learned ranges and its auxiliary predictor. One of a plain
MP-PDE or GraphViT is quantised as it is (ranges from its weights and rows), which is good at 8 bits and poor below 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import nn

from meshops.errors import InputError, some
from meshops.models.registry import create_model
from meshops.nn.costs import row_layers
from meshops.nn.integer_linear import IntegerLinear, to_integers
from meshops.nn.quantized import quantize


def compressed_model(
    model: nn.Module, name: str, arguments: dict[str, Any], budget: float | None, bits: Sequence[int] | None
) -> tuple[nn.Module, str, dict[str, Any]]:
    """Copy of a model on integers, with the name and arguments that build it again.

    Args:
        model: Trained.
        name: Registered name.
        arguments: How it was made.
        budget: Uniform bits that a prediction may cost; None: as trained, or 8.
        bits: Of the rows, for models that were trained without quantisation; default: the budget for all rows (chosen
            without a predictor, mixtures are worse), of a budget that is not whole the bits below and above it.

    Raises:
        InputError: The model cannot be quantised, is on integers already, or the budget does not fit its bits.
    """
    layers = [layer for _, layer in row_layers(model)]
    if not layers:
        raise InputError(f"model '{name}' has no layers that can be quantised; train mppde, graphvit or amq")
    if any(isinstance(layer, IntegerLinear) for layer in layers):
        raise InputError("the surrogate is compressed already; compress the one it was made from")
    if name != "amq":
        model, arguments = _wrapped(model, name, arguments, budget, bits)
        name = "amq"
    elif bits is not None:
        of_model: Any = model
        trained = some(of_model.bits)
        raise InputError(f"the bits of this surrogate were fixed in training ({trained}); give only budget=")
    copied: Any = deepcopy(model)
    assignment = "gradient" if copied.assignment == "oracle" else copied.assignment
    if budget is not None:
        copied.set_budget(budget, assignment)
    copied.auxiliary = None  # its average assigns
    arguments = {**arguments, "budget": copied.budget, "assignment": copied.assignment, "budgets": []}
    return to_integers(copied).eval(), name, arguments


def empty_integers(name: str, **arguments: Any) -> nn.Module:
    """A model on integers to load weights into."""
    model: Any = create_model(name, **arguments)
    model.auxiliary = None
    return to_integers(model, empty=True).eval()


def _wrapped(
    model: nn.Module, name: str, arguments: dict[str, Any], budget: float | None, bits: Sequence[int] | None
) -> tuple[nn.Module, dict[str, Any]]:
    """A plain backbone inside of ``amq``, its ranges from its weights."""
    kept = ("in_channels", "out_channels", "pos_dim")
    sizes = {key: arguments[key] for key in kept if key in arguments}
    others = {key: value for key, value in arguments.items() if key not in kept}
    wanted = 8.0 if budget is None else float(budget)
    if not math.isfinite(wanted):
        raise InputError(f"a budget must be a number of bits, got {wanted}")
    widths = tuple(bits) if bits is not None else tuple(sorted({math.floor(wanted), math.ceil(wanted)}))
    made = {
        **sizes, "backbone": name, "arguments": others, "bits": list(widths), "budget": wanted,
        "assignment": "uniform" if wanted in widths else "gradient",
    }  # fmt: skip
    out: Any = create_model("amq", **made)
    out.main = quantize(deepcopy(model), widths)
    return out, made
