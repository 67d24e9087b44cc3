"""The frozen reader's predictions on an instance's branches after its soft vectors, and their losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.extensible.instances import Branch, Instance, Layout
from training.extensible.llama import Llama
from training.extensible.recipe import Recipe
from training.extensible.teacher import TeacherLogs


@dataclass(frozen=True, eq=False)
class BranchLogs:
    """The reader's log-probabilities on a branch, (n, n_vocab), and the true tokens."""

    branch: Branch
    logs: Tensor

    @property
    def targets(self) -> Tensor:
        return torch.from_numpy(self.branch.tokens[self.branch.first :])

    @property
    def loss(self) -> Tensor:
        """Mean negative log-likelihood, in nats per token."""
        return functional.nll_loss(self.logs, self.targets)


def read_branches(reader: Llama, instance: Instance, soft: Tensor, closing: Tensor | None = None) -> list[BranchLogs]:
    """Reads the branches of an instance after soft vectors, (n_soft, n_embd), its own or those of another instance.

    `closing`, (n_closing, n_embd), comes between the vectors and each branch.
    """
    end = soft[:0] if closing is None else closing
    layout = Layout.of(instance, len(end))
    raw = [torch.cat([end, reader.embed(torch.from_numpy(branch.tokens))]) for branch in instance.branches]
    x = torch.cat([reader.embed(torch.from_numpy(instance.before)), soft, *raw])
    states = reader.states(x[None], layout.positions, layout.attend)[0]
    branch_cells = [
        layout.loss_cells(branch, place) for branch, place in zip(instance.branches, layout.places, strict=True)
    ]
    logs = reader.logits(states[[n for cells in branch_cells for n in cells]]).log_softmax(-1)
    return [
        BranchLogs(*pair)
        for pair in zip(instance.branches, logs.split([len(cells) for cells in branch_cells]), strict=True)
    ]


def divergence(logs: Tensor, teacher: TeacherLogs) -> Tensor:
    """Mean KL(teacher || logs) in nats per token. All tokens outside the teacher's top count as one."""
    near = logs.gather(1, teacher.tokens)
    rest = torch.log1p(-near.exp().sum(1).clamp(max=1 - 1e-6))
    share = teacher.logs.exp()
    left = (1 - share.sum(1)).clamp(min=1e-9)
    return ((share * (teacher.logs - near)).sum(1) + left * (left.log() - rest)).mean()


def parts(
    results: list[BranchLogs], teachers: list[TeacherLogs | None], wrong: list[BranchLogs] | None, recipe: Recipe
) -> dict[str, Tensor]:
    """The mean of each of an instance's losses over its branches, by name in the recipe (`weight_<name>`)."""
    losses: dict[str, list[Tensor]] = {}
    for n, (result, teacher) in enumerate(zip(results, teachers, strict=True)):
        losses.setdefault(result.branch.kind, []).append(result.loss)
        if teacher is not None:
            losses.setdefault("kl", []).append(divergence(result.logs, teacher))
        if wrong is not None and result.branch.kind != "answer":
            gap = recipe.margin + result.loss - wrong[n].loss
            losses.setdefault("contrast", []).append(functional.softplus(gap))
    return {name: torch.stack(values).mean() for name, values in losses.items()}


def total(losses: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """The weighted sum of the losses. Raises ValueError if all their weights are 0."""
    weighted = [loss * weight for name, loss in losses.items() if (weight := getattr(recipe, f"weight_{name}"))]
    if not weighted:
        raise ValueError(f"every weight is 0 of: {', '.join(losses)}")
    return torch.stack(weighted).sum()
