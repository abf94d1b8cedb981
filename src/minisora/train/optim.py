"""Optimiser, learning rate and clipping.

Sources: AdamW, Loshchilov and Hutter 2017 (arXiv:1711.05101). Muon, Jordan et al. 2024, as
torch.optim.Muon has it. Warm-up, constant, cool-down (WSD): Hu et al. 2024 (arXiv:2404.06395,
section 4); its `1 - sqrt` form, and a length of a tenth to a fifth of the steps: Hägele et al. 2024
(arXiv:2405.18392, section 3). Clipping at the running mean of the gradient norm plus three standard
deviations: Open-Sora-Plan 1.5's report.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from minisora.train.config import OptimConfig
from minisora.train.parallel import whole


class Muon(torch.optim.Muon):
    """torch's Muon, extended to convolutions by viewing kernels as matrices (outputs, rest)."""

    def __init__(self, parameters: list[nn.Parameter], **options: Any) -> None:
        self.pairs = [(p, p if p.ndim == 2 else nn.Parameter(_as_matrix(p.data))) for p in parameters]
        same = all(_storage(p) == _storage(matrix) for p, matrix in self.pairs)
        assert same, "a matrix must share its kernel's storage"
        super().__init__([matrix for _, matrix in self.pairs], **options)

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures here
        for p, matrix in self.pairs:
            if matrix is not p:
                matrix.grad = None if p.grad is None else _as_matrix(p.grad)
        super().step()  # type: ignore[no-untyped-call]  # torch leaves it so

    def zero_grad(self, set_to_none: bool = True) -> None:
        for p, matrix in self.pairs:
            p.grad = matrix.grad = None


def _as_matrix(x: Tensor) -> Tensor:
    """View (O, I, kh, kw) as (O, all the rest), in memory order; a matrix stays as it is."""
    if x.ndim == 2:
        return x
    return x.flatten(1) if x.is_contiguous() else x.movedim(1, -1).flatten(1)


def _storage(p: Tensor) -> int:
    """Address of this process's shard of a parameter."""
    return (p.to_local() if isinstance(p, DTensor) else p).data_ptr()


def fill_states(optimizers: list[torch.optim.Optimizer]) -> None:
    """Allocate the optimizer states, all zero, so that a checkpoint can be read into them.

    A step with lr = 0 does so; the weights stay as they are.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
    parameters = {p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    pairs = {p for optimizer in optimizers if isinstance(optimizer, Muon) for p, _ in optimizer.pairs}
    for p in parameters | pairs:
        p.grad = torch.zeros_like(p)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for moments in optimizer.state.values():
            for value in moments.values():
                value.zero_()


def build_optimizers(model: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters; with `muon_lr`, Muon for those of `model.muon_params()`."""
    matrices: list[nn.Parameter] = model.muon_params() if config.muon_lr is not None else []  # type: ignore[operator]
    matrices = [p for p in matrices if p.requires_grad]
    taken = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=1e-8, fused=True)
    ]
    if matrices:
        options = {"weight_decay": config.weight_decay, "momentum": 0.95, "adjust_lr_fn": "original"}
        optimizers.append(Muon(matrices, lr=config.muon_lr, **options))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_lr(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every learning rate to `share` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share


def lr_scale(step: int, warmup_steps: int, cooldown: range = range(0)) -> float:
    """Share of the peak learning rate: linear warm-up, constant, then `1 - sqrt` to zero.

    cooldown: its steps; empty in the stable phase
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    return warm * (1 - math.sqrt((step - cooldown.start) / len(cooldown)) if cooldown else 1.0)


class AdaptiveClip:
    """Clip the gradient where its norm exceeds the running mean plus `sigmas` standard deviations.

    The state is two running moments of the norm; it belongs in the checkpoint.
    """

    def __init__(self, sigmas: float, decay: float = 0.98) -> None:
        self.sigmas, self.decay = sigmas, decay
        self.mean = self.square = 0.0
        self.seen = 0

    def __call__(self, parameters: list[nn.Parameter]) -> tuple[float, float]:
        """Clip in place.

        Returns the norm before clipping and the bound; does nothing if the norm is not finite.
        """
        norm = float(whole(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])))
        bound = self.bound()
        if not math.isfinite(norm):
            return norm, bound
        torch.nn.utils.clip_grads_with_norm_(parameters, bound, torch.tensor(norm))
        kept = min(norm, bound)
        self.seen += 1
        keep = min(self.decay, 1 - 1 / self.seen)
        self.mean = keep * self.mean + (1 - keep) * kept
        self.square = keep * self.square + (1 - keep) * kept**2
        return norm, bound

    def bound(self) -> float:
        if self.seen < 20:  # too few to estimate the spread
            return max(1.0, 2 * self.mean)
        deviation = math.sqrt(max(0.0, self.square - self.mean**2))
        return self.mean + max(self.sigmas * deviation, 0.1 * self.mean)

    def state_dict(self) -> dict[str, float]:
        return {"mean": self.mean, "square": self.square, "seen": self.seen}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.mean, self.square, self.seen = state["mean"], state["square"], int(state["seen"])


class EMA:
    """Exponential moving average of the weights, in float32: those published and sampled from.

    The decay rises to its final value over the first steps, so that the initial weights are
    forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().float().clone() for name, value in model.state_dict().items()}

    def whole(self) -> dict[str, Tensor]:
        """The full weights, gathered on every process; every process has to call."""
        return {name: whole(value).cpu() for name, value in self.weights.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        now = {name: value.detach().float() for name, value in model.state_dict().items()}
        for kind in (True, False):  # sharded tensors, then those that are not, such as buffers
            names = [name for name, value in self.weights.items() if isinstance(value, DTensor) is kind]
            if names:
                torch._foreach_lerp_([self.weights[n] for n in names], [now[n] for n in names], 1 - decay)
