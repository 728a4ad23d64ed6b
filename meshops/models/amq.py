"""AMQ-style adaptive mesh quantisation (after van den Dool, Zhdanov, Asano, Welling; TMLR, 2511.18474).

A small auxiliary network predicts where the loss of the main network is high; nodes, edges and clusters there get more
bits, the others fewer, at a cost that is fixed in advance. Both networks learn together.

The body of the paper was not available: what is certain is the abstract (fixed mesh, bits of node, edge and cluster
features, lightweight auxiliary model of high-loss regions, backbones MP-PDE and GraphViT). Quantisers, targets, budget
rule and schedule are ours, and none of its tables is claimed to be reproduced; see models/amq/README.md.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from meshops.errors import InputError, listing, some, warn
from meshops.models.mp_pde import MPPDE
from meshops.models.registry import create_model, register_model
from meshops.nn.bit_budget import bit_operations, counted_mean, fixed_operations, mesh_bits, unit_cost
from meshops.nn.bit_gain import cannot_pay, quantised_gain
from meshops.nn.costs import RowCosts, row_costs
from meshops.nn.mesh_model import Criterion, MeshInputs, MeshModel
from meshops.nn.quantized import MeshBits, Ranges, WeightMode, assigned, name_layers, quantize, start_quantisers
from meshops.ops.quantize import check_bits
from meshops.ops.segment import segment_mean, segment_spread

Target = Literal["difference", "base", "step"]
Assignment = Literal["auxiliary", "gradient", "random", "uniform", "oracle"]
Oracle = Literal["loss", "change"]
BACKBONES = ("mppde", "graphvit", "meshgraphnet")
AUXILIARY_BITS = 8
AUXILIARY_WIDTHS = (32, 24, 16, 12, 8, 6, 4)
AUXILIARY_SHARE = 0.03
AUXILIARY_RATE = 5.0  # its learning rate over that of the backbone
TEACH_EVERY = 4
SETTLED = 100  # training steps after which it is worth while to look at the noise of a network
EDGES = 6  # per node of a triangle mesh
FLOOR = 1e-8  # of squared normalised errors, under the logarithm


@register_model
class AMQ(MeshModel):
    """A backbone whose nodes, edges and clusters have bits of their own at a fixed cost.

    Args:
        in_channels: Channels of a node.
        out_channels: Channels predicted.
        pos_dim: Space dimensions.
        backbone: ``"mppde"``, ``"graphvit"`` or ``"meshgraphnet"``.
        arguments: Further arguments of the backbone.
        bits: Bit-widths rows may have. The default, one for all, is what came out best (models/amq/README.md).
        budget: Uniform bits that would cost as much, the auxiliary network included; need not be whole.
        budgets: Drawn from in training, so that one network serves several budgets; empty: always ``budget``.
        ladders: For a budget, the bits to choose from at that budget: ``{5: (4, 8)}``; others choose from ``bits``.
        assignment: Who gets more bits; None: ``"uniform"`` where every budget is one of ``bits``, else ``"auxiliary"``.
            ``"auxiliary"`` (predicted loss), ``"gradient"`` (slope of the inputs),
            ``"random"``, ``"uniform"`` (all the same; ``budget`` must be one of ``bits``) or ``"oracle"`` (what more
            bits mend, in training and evaluations that give ``scores`` only: no method, but what a perfect predictor
            would know).
        oracle: What the oracle knows: ``"loss"``: the true loss at the lowest less that at the highest bits of the
            budget (it sees the truth it is judged by); ``"change"``: the change of the output between them.
        weights, weight_bits, ranges: See :class:`~meshops.nn.QuantLinear`; the cost of a row grows with the square of
            its bits with ``weights="matched"``, with its bits with ``"shared"``.
        auxiliary_channels: Width of the auxiliary network; default: the largest that costs at most 3 % of the budget.
        count_auxiliary: Its cost is part of the budget; False: for studies, as if it were free.
        warmup: First training steps in float32; the quantisers start from the weights at their end.
        explore: Training steps with random assignments after those, where the auxiliary network assigns.
        exploration: Share of random assignments later on, there too: bits lower the loss that is to be predicted, so
            some samples must show what the loss is elsewhere.
        target: What the auxiliary network predicts of a node, as a logarithm: ``"difference"``: how much the output
            changes from the lowest to the highest bits of the budget, which is what bits can mend (two passes every
            fourth step); ``"base"``: the squared error at the lowest of these bits (one pass every fourth step);
            ``"step"``: the squared error of the step itself. What it learns is the difference of a node from the mean
            of its graph; where there are several budgets it is told which.
        average: Decay of the averaged copy of the auxiliary network that assigns.

    Raises:
        InputError: Unknown backbone or assignment, bits out of range, or a uniform budget that is not one of the bits.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        backbone: str = "mppde",
        arguments: dict[str, Any] | None = None,
        bits: tuple[int, ...] = (5,),
        budget: float = 5.0,
        budgets: tuple[float, ...] = (),
        ladders: dict[float, tuple[int, ...]] | None = None,
        assignment: Assignment | None = None,
        oracle: Oracle = "loss",
        weights: WeightMode = "matched",
        weight_bits: int = 8,
        ranges: Ranges = "row",
        auxiliary_channels: int | None = None,
        count_auxiliary: bool = True,
        warmup: int = 0,
        explore: int = 0,
        exploration: float = 0.1,
        target: Target = "difference",
        average: float = 0.99,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES or target not in get_args(Target) or oracle not in get_args(Oracle):
            raise InputError(
                f"backbone must be one of {listing(BACKBONES)}, target one of {listing(get_args(Target))}, oracle one "
                f"of {listing(get_args(Oracle))}; got '{backbone}', '{target}', '{oracle}'"
            )
        sizes: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels, "pos_dim": pos_dim}
        plain = create_model(backbone, **(sizes | (arguments or {})))
        self.main: Any = quantize(plain, bits, weights=weights, weight_bits=weight_bits, ranges=ranges)
        self.bits, self.budgets = tuple(sorted(int(b) for b in bits)), tuple(budgets)
        self.ladders = {float(key): tuple(value) for key, value in (ladders or {}).items()}
        self.weight_bits = None if weights == "matched" else weight_bits
        self.count_auxiliary = count_auxiliary
        self.out_channels = out_channels
        self.warmup, self.explore, self.exploration, self.average = warmup, explore, exploration, average
        self.target, self.oracle = target, oracle
        if assignment is None:
            assignment = "uniform" if {float(budget), *self.budgets} <= {*map(float, self.bits)} else "auxiliary"
        self.trained_with = assignment
        self.auxiliary_share = 0.0
        self.set_budget(budget, assignment)
        self.auxiliary: nn.Module | None = None
        self.assigner: nn.Module | None = None
        if assignment == "auxiliary":
            least = min(budget, *budgets) if budgets else budget
            self.auxiliary = self._small_network(in_channels, pos_dim, least, auxiliary_channels)
            self.auxiliary.lr_factor = AUXILIARY_RATE  # type: ignore[assignment]
            self.assigner = deepcopy(self.auxiliary).requires_grad_(False)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.register_buffer("target_deviation", torch.zeros(()))  # running, of the logarithms within a graph
        name_layers(self)

    step: Tensor
    target_deviation: Tensor
    assignment: str

    def _small_network(self, in_channels: int, pos_dim: int, budget: float, width: int | None) -> nn.Module:
        """The auxiliary network, as wide as 3 % of the cost of the budget allow on a mesh of triangles."""
        fixed = row_costs(self.main)
        whole = fixed.fixed[0] + EDGES * fixed.fixed[1]
        whole += (fixed.node + fixed.member + EDGES * fixed.edge) * float(unit_cost(budget, self.weight_bits))
        for channels in (width,) if width else AUXILIARY_WIDTHS:
            more = 3 if self.budgets else 2  # told: fineness, degree, the budget where there are several
            plain = MPPDE(in_channels + more, 1, pos_dim=pos_dim, channels=channels, depth=2, variables=more)
            made = quantize(plain, AUXILIARY_BITS)
            node, edge, _ = all_fixed(made).fixed
            self.auxiliary_share = (node + EDGES * edge) / whole
            if self.auxiliary_share <= AUXILIARY_SHARE:
                return made
        return made

    def set_budget(self, budget: float, assignment: str | None = None) -> None:
        """Change what the next predictions may cost, and who gets the bits.

        Raises:
            InputError: The budget is outside the bits, or the assignment cannot be used with this network.
        """
        chosen = assignment or self.assignment
        if chosen not in get_args(Assignment):
            raise InputError(f"assignment must be one of {listing(get_args(Assignment))}, got '{chosen}'")
        for width in self.bits:
            check_bits(width)
        if chosen == "auxiliary" and self.trained_with != "auxiliary":
            raise InputError("this network has no auxiliary predictor; train with assignment='auxiliary'")
        for value in (budget, *self.budgets):
            if chosen == "uniform" and value not in self.bits:
                raise InputError(f"uniform bits must be one of {some(self.bits)}, got {value:g}")
            if not self.bits[0] <= value <= self.bits[-1]:
                raise InputError(
                    f"a budget of {value:g} uniform bits is outside the bits of the rows, {some(self.bits)}; "
                    "below the lowest nothing fits, above the highest nothing is left to spend"
                )
        self.budget, self.assignment = float(budget), chosen

    def unpack(self, graph: Any) -> MeshInputs:
        """As the backbone's."""
        inputs: MeshInputs = self.main.unpack(graph)
        return inputs

    def forward(self, inputs: MeshInputs) -> Tensor:
        """``[n, out_channels]`` with bits assigned within the budget; ``inputs`` as unpacked.

        At bits of one's own: ``with assigned(model.main, bits): model.main(inputs)``.
        """
        return run_at(self.main, inputs, self.assign(inputs))

    @torch.no_grad()
    def assign(self, inputs: MeshInputs, scores: Tensor | None = None, budget: float | None = None) -> MeshBits:
        """Bits of nodes, edges and clusters.

        Args:
            inputs: From :meth:`unpack`.
            scores: ``[n]`` who gets more; None: by the assignment.
            budget: Uniform bits of the same cost; None: that of the network.

        Raises:
            InputError: The oracle without scores, or a budget that the lowest bits already exceed.
        """
        wanted = self.budget if budget is None else budget
        if self.assignment == "uniform" and scores is None:
            return MeshBits.uniform(int(wanted), **inputs.counts(), device=inputs.pos.device)
        found = self.scores(inputs, wanted) if scores is None else scores
        spent = self.auxiliary_operations(inputs) if self.assignment == "auxiliary" and self.count_auxiliary else None
        return mesh_bits(found, inputs, row_costs(self.main), widths=self.ladder(wanted), budget=wanted, spent=spent)

    def ladder(self, budget: float) -> tuple[int, ...]:
        """Bits that rows may have at a budget."""
        return self.ladders.get(float(budget), self.bits)

    def scores(self, inputs: MeshInputs, budget: float | None = None) -> Tensor:
        """``[n]`` who gets more bits: predicted logarithm (from the mean), slope of the inputs, or random numbers."""
        if self.assignment == "auxiliary":
            wanted = self.budget if budget is None else budget
            return self._predict_loss(self.assigner, inputs, wanted) * self.target_deviation.clamp(min=1e-3)
        if self.assignment == "gradient":
            return input_slope(inputs)
        if self.assignment == "oracle":
            raise InputError("the oracle needs the true loss: give scores=, or use assignment='auxiliary'")
        return torch.rand(len(inputs.pos), device=inputs.pos.device)

    def _predict_loss(self, network: Any, inputs: MeshInputs, budget: float) -> Tensor:
        size = (inputs.pos[inputs.sender] - inputs.pos[inputs.receiver]).norm(dim=1, keepdim=True)
        degree = inputs.ptr.diff().unsqueeze(1)
        local = segment_mean(size, inputs.ptr).clamp(min=1e-6).log()
        told = [local, degree.to(size.dtype).log1p()]
        if self.budgets:
            told.append(torch.full_like(local, budget / AUXILIARY_BITS))
        seen = inputs._replace(x=torch.cat([inputs.x, *told], 1))
        return run_at(network, seen, AUXILIARY_BITS)[:, 0]

    def learn(self, inputs: MeshInputs, truth: Tensor, criterion: Criterion) -> dict[str, Tensor]:
        """One training step: assign, predict, and teach the auxiliary network the loss of every node that counts.

        Warns once where the bits cannot pay, see :mod:`meshops.nn.bit_gain`.

        Args:
            inputs: From :meth:`unpack`.
            truth: ``[n, c]`` normalised.
            criterion: Loss and parts of a prediction.
        """
        step = int(self.step)
        self.step += 1
        if step == 0 and self.auxiliary_share > AUXILIARY_SHARE and self.count_auxiliary:
            warn(
                f"the auxiliary network takes {self.auxiliary_share:.1%} of the smallest budget (aim: at most "
                f"{AUXILIARY_SHARE:.0%}); use a wider backbone"
            )
        if step == self.warmup:
            start_quantisers(self.main)
        if step == max(self.warmup, SETTLED) and self.assignment != "uniform":
            self._look_at_the_noise(inputs)
        budget = self._some_budget()
        prediction = run_at(self.main, inputs, self._training_bits(inputs, truth, step, budget))
        parts = criterion(prediction)
        if self.auxiliary is not None and (self.target == "step" or step % TEACH_EVERY == 0):
            error = (prediction.detach() - truth).square().mean(1) if self.target == "step" else None
            parts["auxiliary"] = self.teach(inputs, truth, error, budget)
            parts["loss"] = parts["loss"] + parts["auxiliary"]
        return parts

    def teach(
        self, inputs: MeshInputs, truth: Tensor, error: Tensor | None = None, budget: float | None = None
    ) -> Tensor:
        """Loss of the auxiliary network alone; also of use before the joint training, on a network that is trained.

        Args:
            inputs: From :meth:`unpack`.
            truth: ``[n, c]`` normalised.
            error: ``[n]`` what it is to predict; None: by ``target``.
            budget: That the network assigns for; None: drawn.
        """
        wanted = self._some_budget() if budget is None else budget
        if error is None and self.target == "difference":
            error = self.change(inputs, wanted)
        elif error is None:
            error = self._error_at(inputs, truth, min(self.ladder(wanted)))
        return self._auxiliary_loss(inputs, error, wanted)

    def _some_budget(self) -> float:
        return self.budgets[int(torch.randint(len(self.budgets), ()))] if self.budgets else self.budget

    def _training_bits(self, inputs: MeshInputs, truth: Tensor, step: int, budget: float) -> MeshBits | None:
        if step < self.warmup:
            return None
        if self.assignment == "oracle":
            return self.assign(inputs, self.oracle_scores(inputs, truth, budget), budget)
        random = self.assignment == "auxiliary" and (
            step < self.warmup + self.explore or float(torch.rand(())) < self.exploration
        )
        return self.assign(inputs, torch.rand(len(inputs.pos), device=inputs.pos.device) if random else None, budget)

    @torch.no_grad()
    def _error_at(self, inputs: MeshInputs, truth: Tensor, width: int) -> Tensor:
        """``[n]`` squared error with all rows at these bits."""
        error: Tensor = (run_at(self.main, inputs, width) - truth).square().mean(1)
        return error

    @torch.no_grad()
    def change(self, inputs: MeshInputs, budget: float | None = None) -> Tensor:
        """``[n]`` squared change of the output from the lowest to the highest bits of a budget: what bits can mend."""
        ladder = self.ladder(self.budget if budget is None else budget)
        low, high = (run_at(self.main, inputs, width) for width in (min(ladder), max(ladder)))
        change: Tensor = (low - high).square().mean(1)
        return change

    def oracle_scores(self, inputs: MeshInputs, truth: Tensor, budget: float | None = None) -> Tensor:
        """``[n]`` logarithm of what the highest bits of a budget mend (``oracle``), with a sign where they harm."""
        ladder = self.ladder(self.budget if budget is None else budget)
        if self.oracle == "change":
            return torch.log(self.change(inputs, budget) + FLOOR)
        low, high = (self._error_at(inputs, truth, width) for width in (min(ladder), max(ladder)))
        return (low - high).sign() * ((low - high).abs() / FLOOR).log1p()

    def _look_at_the_noise(self, inputs: MeshInputs) -> None:
        """Warn of budgets whose nodes at high bits hold too little of the noise of this batch."""
        for budget in self.budgets or (self.budget,):
            ladder = self.ladder(budget)
            if len(ladder) == 2 and ladder[0] <= budget <= ladder[1]:
                low, high = sorted(ladder)
                gain = quantised_gain(self.main, inputs, low, high, budget, exact=high)
                if not gain.pays:
                    warn(cannot_pay(gain))

    def _auxiliary_loss(self, inputs: MeshInputs, error: Tensor, budget: float) -> Tensor:
        target, counted, ptr = torch.log(error + FLOOR), inputs.counted, inputs.graph_ptr
        wanted = target - segment_spread(counted_mean(target, counted, ptr).unsqueeze(1), ptr)[:, 0]
        predicted = self._predict_loss(self.auxiliary, inputs, budget)
        if counted is not None:
            wanted, predicted = wanted[counted], predicted[counted]
        with torch.no_grad():
            deviation = wanted.square().mean().sqrt().clamp(min=1e-3)
            keep = 0.0 if float(self.target_deviation) == 0 else 0.99
            self.target_deviation.mul_(keep).add_(deviation, alpha=1 - keep)
            self._average()
        return huber_loss(predicted, wanted / self.target_deviation)

    def _average(self) -> None:
        """The assigner follows the auxiliary network; its mean of few steps would be its random start."""
        keep = min(self.average, 1 - 1 / (1 + float(self.step)))
        pairs = zip(self.assigner.parameters(), self.auxiliary.parameters(), strict=True)  # type: ignore[union-attr]
        for average, current in pairs:
            average.mul_(keep).add_(current.detach(), alpha=1 - keep)

    def bit_operations(self, inputs: MeshInputs, bits: MeshBits) -> Tensor:
        """``[b]`` bit operations of each graph, the auxiliary network included."""
        return bit_operations(bits, inputs, row_costs(self.main)) + self.auxiliary_operations(inputs)

    def auxiliary_operations(self, inputs: MeshInputs) -> Tensor:
        """``[b]`` bit operations of the auxiliary network; 0 where it is not used."""
        if self.assignment != "auxiliary":
            return torch.zeros(len(inputs.graph_ptr) - 1, dtype=torch.float64, device=inputs.pos.device)
        return fixed_operations(inputs, all_fixed(self.assigner))

    def other_macs(self, inputs: MeshInputs) -> dict[str, float]:
        """As the backbone's."""
        out: dict[str, float] = self.main.other_macs(inputs)
        return out

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if f"{prefix}target_stats" in state_dict:
            raise InputError(
                "this state of an AMQ network is of a version of meshops whose auxiliary network was not told its "
                "budget; train again"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[no-untyped-call]


def run_at(network: nn.Module, inputs: MeshInputs, bits: MeshBits | int | None) -> Tensor:
    """Output of a quantised network at these bits; None: in float32."""
    with assigned(network, bits):
        out: Tensor = network(inputs)
    return out


def all_fixed(network: Any) -> RowCosts:
    """Cost of an auxiliary network, all of it at its own bits."""
    costs: RowCosts = row_costs(network)
    square = AUXILIARY_BITS**2
    node, edge, _ = costs.fixed
    return RowCosts(0, 0, 0, 0, (node + costs.node * square, edge + costs.edge * square, 0.0))


def input_slope(inputs: MeshInputs) -> Tensor:
    """``[n]`` mean difference of the inputs to the neighbours over the distance; without inputs: over fineness alone.

    A graph without fields has no slope; there the mesh speaks: modellers refine where the solution is steep.
    """
    distance = (inputs.pos[inputs.sender] - inputs.pos[inputs.receiver]).norm(dim=1, keepdim=True).clamp(min=1e-9)
    if inputs.x.shape[1] == 0:
        return segment_mean(1 / distance, inputs.ptr)[:, 0]
    change = (inputs.x[inputs.sender] - inputs.x[inputs.receiver]).abs().sum(1, keepdim=True)
    return segment_mean(change / distance, inputs.ptr)[:, 0]
