"""Consistency distillation: LoRA adapters with which a teacher samples in few steps, unguided.

    f(x_t, t) = x_t - t v(x_t, t)                  where the trajectory through x_t ends; at t = 0
                                                   the point itself
    loss      = d(f(x_t, t), stopped f(x_s, s))    x_s: the guided teacher's Euler steps from x_t
                                                   to s, the next time

Source: Song et al. 2023 (Consistency Models, arXiv:2303.01469), Algorithm 2; guidance inside the
teacher's step and adapters, Luo et al. 2023 (LCM, arXiv:2310.04378, section 4; LCM-LoRA,
arXiv:2311.05556); targets of the student itself and not of its average, and the pseudo-Huber
distance, Song and Dhariwal 2023 (arXiv:2310.14189, section 3), as Lu and Song 2024
(arXiv:2410.11081) have the former too.

Teacher and student are one network in memory, without its adapters and with them. The teacher sees
the conditioning tokens as in sampling: clean together with the text, and pure noise with the null
text (generate/window.py).

Here: the loss. Not here: its recipe (recipes/student.py), sampling by a student
(diffusion/samplers.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack
from minisora.diffusion.guidance import extrapolated, in_interval
from minisora.diffusion.loss import mean_loss
from minisora.diffusion.path import interpolate, x0_from_velocity
from minisora.diffusion.times import shift_for_tokens, shift_times
from minisora.dit.lora import without_adapters
from minisora.dit.model import DiT
from minisora.generate.window import Settings

HUBER = 0.00054  # below this distance per channel the loss is quadratic; Song and Dhariwal 2023, section 3.3


@dataclass(frozen=True, eq=False, kw_only=True)
class StudentLoss:
    """Consistency loss of a pack.

    null_text: (S, Dt)
    teacher:   guidance settings of the teacher
    times:     number of times from noise to data, evenly spaced before the shift, as in sampling;
        the offset is random, so that the student learns every t: a token conditioned on in part has
        times of its own
    euler:     Euler steps of the teacher from one time to the next
    shift, shift_tokens: as in `Sampling`
    """

    null_text: Tensor
    teacher: Settings
    shift: float
    shift_tokens: int
    times: int = 8
    euler: int = 2

    def __call__(self, dit: DiT, batch: LatentBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """Mean distance over the generated tokens, by t as well, as in `diffusion.mean_loss`.

        All generated tokens of a clip share one newly drawn t; conditioning tokens keep their own.
        """
        clean, loss_mask = batch.clean, batch.loss_mask
        eps = torch.randn(clean.tokens.shape, generator=noise, device=clean.tokens.device)
        times, clips = self._times(clean, noise), clips_of(clean)
        state = at_times(clean, loss_mask, times[0])
        state = replace(state, tokens=interpolate(clean.tokens, eps, token_times(state)))
        with torch.no_grad():
            x = state.tokens
            with without_adapters(dit):
                for t, s in pairwise(times):
                    end = self.guided_x0(dit, replace(at_times(clean, loss_mask, t), tokens=x), loss_mask, eps)
                    x = torch.where(loss_mask[:, None], interpolate(end, x, (s / t)[clips]), x)
            target = x0_of(dit, replace(at_times(clean, loss_mask, times[-1]), tokens=x))
        error = (x0_of(dit, state) - target)[loss_mask].square().mean(-1)
        distance = (error + HUBER**2).sqrt() - HUBER
        return mean_loss(distance, token_times(state)[loss_mask])

    def guided_x0(self, dit: DiT, state: Pack, loss_mask: Tensor, eps: Tensor) -> Tensor:
        """The teacher's guided x0 estimate of the generated tokens, as in `generate/window.py`.

        eps:     (L, Ct), noise that takes the place of conditioning tokens in the unconditional
            branch
        returns  (L, Ct); meaningless where a token is conditioning
        """
        how, count = self.teacher, len(state.lengths)
        null = self.null_text.to(state.text)
        unconditional = replace(state, text=null.repeat(count, 1), text_lengths=(len(null),) * count)
        if how.history_guidance:
            unconditional = replace(
                unconditional,
                tokens=torch.where(loss_mask[:, None], state.tokens, eps),
                times=torch.cat([state.times, state.times.new_ones(1)]),
                time_index=torch.where(loss_mask, state.time_index, len(state.times)),
            )
        clips, times = clips_of(state), token_times(state)
        given = torch.zeros(count, device=loss_mask.device).index_add(0, clips, (~loss_mask).float()) > 0
        scale = torch.where(given, how.guidance_given, how.guidance)[clips]
        scale = torch.where(in_interval(times, how.guidance_interval), scale, 1.0)
        return extrapolated(x0_of(dit, state), x0_of(dit, unconditional), scale[:, None])

    def _times(self, pack: Pack, noise: torch.Generator) -> Tensor:
        """Times (1 + euler, B): a random t per clip, then the teacher's steps down to the next."""
        device = pack.tokens.device
        even = 1 - torch.rand(len(pack.lengths), 1, generator=noise, device=device)  # above 0
        share = torch.linspace(0, 1, 1 + self.euler, device=device)
        even = torch.lerp(even, (even - 1 / self.times).clamp(min=0), share)
        shifts = [shift_for_tokens(n, base_tokens=self.shift_tokens, base_shift=self.shift) for n in pack.lengths]
        return torch.stack([shift_times(times, shift) for times, shift in zip(even, shifts, strict=True)], 1)


def at_times(pack: Pack, loss_mask: Tensor, t: Tensor) -> Pack:
    """Set the t of each clip's generated tokens. t: (B,)"""
    index = torch.where(loss_mask, clips_of(pack), len(t) + pack.time_index)
    return replace(pack, times=torch.cat([t, pack.times]), time_index=index)


def token_times(pack: Pack) -> Tensor:
    """The t of each token, (L,)."""
    return pack.times[pack.time_index]


def clips_of(pack: Pack) -> Tensor:
    """The number of each token's clip, (L,)."""
    lengths = torch.tensor(pack.lengths, device=pack.tokens.device)
    return torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths, output_size=len(pack.tokens))


def x0_of(dit: DiT, state: Pack) -> Tensor:
    """The network's x0 estimate of each token, (L, Ct)."""
    return x0_from_velocity(state.tokens, dit(state), token_times(state))
