"""Pictures from the published weights of Stable Diffusion 1.x, 2.x and XL.

A model is a folder in diffusers' layout, with its files in safetensors:

    text_encoder, tokenizer      CLIP, opened by transformers; XL has a second of each
    unet                         stable_unet.py
    vae                          the decoder of the first stage; its encoder is not read
    scheduler                    what noise the network was trained on, and what it predicts

Sampling is DDIM's (ddim.py), whichever sampler the model came with. Sizes are multiples of 8.

Here: text, sampling, pixels. Not here: the U-Net, and what files are refused (stable_unet.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from minisora.diffusion.guidance import extrapolated
from minisora.errors import UsageError
from minisora.zoo.nets.stable_unet import Resample, ResNet, StableUNet, fill, load, read_weights, refuse_pickle

_T = 1000
_CELL, _SIDE = 8, 64  # pixels of a latent's cell; cells of a side, where a model does not say


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a U-Net is told: tokens (B, S, context), and for XL a pooled text (B, width)."""

    tokens: Tensor
    pooled: Tensor | None = None


@torch.inference_mode()
def picture(
    folder: Path,
    prompt: str,
    *,
    size: tuple[int, int] | None = None,
    steps: int = 30,
    guidance: float = 7.5,
    seed: int = 0,
) -> Tensor:
    """One picture (H, W, 3) uint8.

    size: (height, width) in pixels; the model's own if not given
    """
    refuse_pickle(folder)
    height, width = size or (_CELL * _fields(folder / "unet" / "config.json").get("sample_size", _SIDE),) * 2
    if any(side % _CELL or side <= 0 for side in (height, width)):
        raise UsageError(
            f"a size of {width}x{height} does not split into cells of {_CELL} pixels. Use multiples of {_CELL}."
        )
    if not 1 <= steps <= _T:
        raise UsageError(f"{steps} steps are not between 1 and {_T}.")
    schedule, decoder = _schedule(folder), decoder_of(folder)
    text = text_of(folder, ["", prompt])
    z = torch.randn(1, height // _CELL, width // _CELL, 4, generator=torch.Generator().manual_seed(seed))
    z = sampled(load(folder), z, text, schedule, steps=steps, guidance=guidance)
    return ((decoder(z)[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def text_of(folder: Path, texts: Sequence[str]) -> Text:
    """Texts as the U-Net reads them, padded; XL's empty one is zeros where its files say so."""
    if not (folder / "text_encoder_2").is_dir():
        return Text(tokens=_encoded(folder, "", texts).last_hidden_state)
    first, second = (_encoded(folder, number, texts) for number in ("", "_2"))
    tokens = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    pooled = second.text_embeds
    if _fields(folder / "model_index.json").get("force_zeros_for_empty_prompt", True):
        empty = torch.tensor([not text for text in texts])
        tokens, pooled = tokens.masked_fill(empty[:, None, None], 0), pooled.masked_fill(empty[:, None], 0)
    return Text(tokens=tokens, pooled=pooled)


def _encoded(folder: Path, number: str, texts: Sequence[str]) -> Any:
    part = folder / f"text_encoder{number}"
    if not any(part.glob("*.safetensors")):
        for path in sorted(part.glob("*")):
            refuse_pickle(path)
    tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{number}", local_files_only=True)
    kind = CLIPTextModelWithProjection if number else CLIPTextModel
    encoder = kind.from_pretrained(part, use_safetensors=True, local_files_only=True, dtype=torch.float32).eval()
    length = encoder.config.max_position_embeddings
    ids = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return encoder(ids.input_ids, output_hidden_states=True)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """alpha_bar of each step in training; predicts: "epsilon", or "v_prediction" as 2.x does."""

    alpha_bar: Tensor
    predicts: str = "epsilon"


def _schedule(folder: Path) -> Schedule:
    fields = _fields(folder / "scheduler" / "scheduler_config.json")
    predicts = fields.get("prediction_type", "epsilon")
    if predicts not in ("epsilon", "v_prediction") or fields.get("beta_schedule") != "scaled_linear":
        raise UsageError(
            f"{folder} predicts {predicts!r} on a schedule {fields.get('beta_schedule')!r}; Stable Diffusion predicts "
            "'epsilon' or 'v_prediction' on 'scaled_linear'."
        )
    ends = fields["beta_start"] ** 0.5, fields["beta_end"] ** 0.5
    return Schedule(alpha_bar=(1 - torch.linspace(*ends, _T) ** 2).cumprod(0), predicts=predicts)


def sampled(unet: StableUNet, z: Tensor, text: Text, schedule: Schedule, *, steps: int, guidance: float) -> Tensor:
    """DDIM with classifier-free guidance: noise (1, H, W, C) to latents.

    text: of the empty prompt and of the prompt
    """
    sizes = torch.tensor([[8 * z.shape[1], 8 * z.shape[2], 0, 0, 8 * z.shape[1], 8 * z.shape[2]]] * 2)
    stride = _T // steps
    for n in reversed(range(steps)):
        t = n * stride + 1  # diffusers' "leading" steps with an offset of 1
        alpha, before = schedule.alpha_bar[t], schedule.alpha_bar[max(t - stride, 0)]
        out = unet(torch.cat([z, z]), torch.tensor([t, t]), text.tokens, text.pooled, sizes)
        without, with_text = out.chunk(2)
        out = extrapolated(with_text, without, guidance)
        if schedule.predicts == "epsilon":
            x_0, eps = (z - (1 - alpha).sqrt() * out) / alpha.sqrt(), out
        else:  # v = sqrt(alpha) eps - sqrt(1 - alpha) x_0, Salimans and Ho 2022 (arXiv:2202.00512)
            x_0, eps = (alpha.sqrt() * z - (1 - alpha).sqrt() * out), (alpha.sqrt() * out + (1 - alpha).sqrt() * z)
        z = before.sqrt() * x_0 + (1 - before).sqrt() * eps
    return z


def decoder_of(folder: Path) -> StableDecoder:
    """The decoder of the model's first stage."""
    part = folder / "vae"
    fields, renamed = _fields(part / "config.json"), {}
    for name, value in read_weights(part).items():
        name = name.removeprefix("decoder.")
        for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
            name = name.replace(f".{old}.", f".{new}.")  # as files of diffusers before 0.18 call them
        if not name.startswith(("encoder.", "quant_conv.")):
            renamed[name] = value.float()
    with torch.device("meta"):
        decoder = StableDecoder(
            tuple(fields["block_out_channels"]),
            layers=fields["layers_per_block"],
            channels=fields["latent_channels"],
            groups=fields["norm_num_groups"],
            scale=fields.get("scaling_factor", 0.18215),
        )
    fill(decoder, renamed, part)
    return decoder.eval().requires_grad_(False)


def _fields(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path} is missing: a model is a folder in diffusers' layout.")
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return fields


class StableDecoder(nn.Module):
    """Latents (B, H, W, C), as the U-Net has them, to pixels (B, 8 H, 8 W, 3) in -1..1."""

    def __init__(self, widths: tuple[int, ...], *, layers: int, channels: int, groups: int, scale: float) -> None:
        super().__init__()
        self.scale, width = scale, widths[-1]
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.mid_block = _Middle(width, groups)
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            self.up_blocks.append(_Level([width] + [widths[level]] * layers, widths[level], groups, up=level > 0))
            width = widths[level]
        self.conv_norm_out, self.conv_out = nn.GroupNorm(groups, width, 1e-6), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(self.post_quant_conv(z.permute(0, 3, 1, 2) / self.scale))
        h = self.mid_block(h)
        for block in self.up_blocks:
            h = block(h)
        pixels: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return pixels.permute(0, 2, 3, 1)


class _Middle(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([ResNet(width, width, groups, eps=1e-6) for _ in range(2)])
        self.attentions = nn.ModuleList([_Attention(width, groups)])

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](h)))
        return out


class _Level(nn.Module):
    def __init__(self, inputs: list[int], out: int, groups: int, *, up: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([ResNet(width, out, groups, eps=1e-6) for width in inputs])
        self.upsamplers = nn.ModuleList([Resample(out, up=True)] if up else [])

    def forward(self, h: Tensor) -> Tensor:
        for module in (*self.resnets, *self.upsamplers):
            h = module(h)
        return h


class _Attention(nn.Module):
    """Self-attention over the pixels, with one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, 1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).mT
        h = F.scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        return x + self.to_out[0](h).mT.unflatten(2, x.shape[2:])
