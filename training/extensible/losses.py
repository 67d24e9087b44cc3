"""What the frozen reader says of an instance's branches after its soft vectors, and how far that is from the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.extensible.instances import Branch, Instance, Layout
from training.extensible.llama import Llama
from training.extensible.recipe import Recipe
from training.extensible.teacher import Told


@dataclass(frozen=True, eq=False)
class Said:
    """The reader's log-probabilities on a branch, (n, n_vocab), and the tokens that stand there."""

    branch: Branch
    logs: Tensor

    @property
    def targets(self) -> Tensor:
        return torch.from_numpy(self.branch.tokens[self.branch.first :])

    @property
    def loss(self) -> Tensor:
        """Mean negative log-likelihood, in nats a token."""
        return functional.nll_loss(self.logs, self.targets)


def read(reader: Llama, instance: Instance, soft: Tensor, closing: Tensor | None = None) -> list[Said]:
    """The branches of an instance, read after soft vectors (n_soft, n_embd), its own or another's.

    `closing`, (n_closing, n_embd), stands between the vectors and each branch.
    """
    end = soft[:0] if closing is None else closing
    layout = Layout.of(instance, len(end))
    raw = [torch.cat([end, reader.embed(torch.from_numpy(branch.tokens))]) for branch in instance.branches]
    x = torch.cat([reader.embed(torch.from_numpy(instance.before)), soft, *raw])
    states = reader.states(x[None], layout.positions, layout.attend)[0]
    asked = [layout.asked(branch, place) for branch, place in zip(instance.branches, layout.places, strict=True)]
    logs = reader.logits(states[[n for cells in asked for n in cells]]).log_softmax(-1)
    return [Said(*pair) for pair in zip(instance.branches, logs.split([len(cells) for cells in asked]), strict=True)]


def divergence(logs: Tensor, told: Told) -> Tensor:
    """Mean KL(told || logs) in nats a token, what `told` does not name counted as one token."""
    near = logs.gather(1, told.tokens)
    rest = torch.log1p(-near.exp().sum(1).clamp(max=1 - 1e-6))
    share = told.logs.exp()
    left = (1 - share.sum(1)).clamp(min=1e-9)
    return ((share * (told.logs - near)).sum(1) + left * (left.log() - rest)).mean()


def parts(said: list[Said], told: list[Told | None], wrong: list[Said] | None, recipe: Recipe) -> dict[str, Tensor]:
    """Each loss that an instance has, by its name in the recipe (`weight_<name>`), as the mean over its branches."""
    found: dict[str, list[Tensor]] = {}
    for n, (one, teacher) in enumerate(zip(said, told, strict=True)):
        found.setdefault(one.branch.kind, []).append(one.loss)
        if teacher is not None:
            found.setdefault("kl", []).append(divergence(one.logs, teacher))
        if wrong is not None and one.branch.kind != "answer":
            gap = recipe.margin + one.loss - wrong[n].loss
            found.setdefault("contrast", []).append(functional.softplus(gap))
    return {name: torch.stack(losses).mean() for name, losses in found.items()}


def total(found: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """The weighted sum. Raises ValueError where every weight of what there is is 0."""
    weighted = [loss * weight for name, loss in found.items() if (weight := getattr(recipe, f"weight_{name}"))]
    if not weighted:
        raise ValueError(f"every weight is 0 of: {', '.join(found)}")
    return torch.stack(weighted).sum()
