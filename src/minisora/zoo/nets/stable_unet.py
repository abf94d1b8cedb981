"""The U-Net of Stable Diffusion 1.x, 2.x and XL, which reads its published weights.

Rombach et al. 2021 (arXiv:2112.10752) made 1.x and 2.x, Podell et al. 2023 (arXiv:2307.01952) XL.
They differ in widths, in where and how deeply they attend, in a projection that is linear or a
convolution, and in what XL is told besides the text: a pooled text and six sizes.

Modules and parameters are named as those of `UNet2DConditionModel` in diffusers 0.42, so a file of
weights fits as it is. Only safetensors are read: a pickle can run code as it is opened.

Here: network, its configuration, its weights. Not here: text, sampling, pixels (stable.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.zoo.nets.embed import sinusoids

_FIXED = {  # fields in which all these models agree; another value means another network
    "act_fn": "silu",
    "center_input_sample": False,
    "class_embed_type": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_cond_proj_dim": None,
    "time_embedding_type": "positional",
}
_PICKLES = {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
_NAME = "diffusion_pytorch_model"


@dataclass(frozen=True, kw_only=True)
class StableConfig:
    """Shape of the network, of each resolution from the largest to the smallest.

    attends: whether it has transformers; depth: blocks in each; heads: of their attention
    layers:  residual blocks; the way up has one more
    added:   width of what is told besides the text, 0 for nothing; sizes: of each size in it
    """

    in_channels: int = 4
    out_channels: int = 4
    widths: tuple[int, ...]
    attends: tuple[bool, ...]
    depth: tuple[int, ...]
    heads: tuple[int, ...]
    layers: int = 2
    context: int
    linear: bool = False
    groups: int = 32
    added: int = 0
    sizes: int = 256

    @property
    def embedding(self) -> int:
        return 4 * self.widths[0]


def config_of(fields: Mapping[str, Any]) -> StableConfig:
    """The configuration in diffusers' `config.json`; UsageError for what another network has."""
    for name, value in _FIXED.items():
        if fields.get(name, value) != value:
            raise UsageError(
                f"this U-Net has {name} = {fields[name]!r}, where Stable Diffusion 1.x, 2.x and XL have {value!r}. "
                "Only those are read here; open others by diffusers."
            )
    kinds, widths = fields["down_block_types"], tuple(fields["block_out_channels"])
    known = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
    ups = [kind.replace("Up", "Down") for kind in reversed(fields["up_block_types"])]
    added = fields.get("addition_embed_type")
    if not set(kinds) <= set(known) or ups != list(kinds) or added not in (None, "text_time"):
        raise UsageError(
            f"this U-Net has blocks {kinds} and added conditioning {added!r}; Stable Diffusion 1.x, 2.x and XL have "
            "CrossAttnDownBlock2D and DownBlock2D, mirrored on the way up, and 'text_time' or none."
        )
    return StableConfig(
        in_channels=fields["in_channels"],
        out_channels=fields["out_channels"],
        widths=widths,
        attends=tuple(known[kind] for kind in kinds),
        depth=_each(fields.get("transformer_layers_per_block", 1), len(widths)),
        # a misnomer in diffusers: the field counts heads
        heads=_each(fields.get("num_attention_heads") or fields["attention_head_dim"], len(widths)),
        layers=_each(fields["layers_per_block"], 1)[0],
        context=_each(fields["cross_attention_dim"], 1)[0],
        linear=fields.get("use_linear_projection", False),
        groups=fields.get("norm_num_groups", 32),
        added=fields["projection_class_embeddings_input_dim"] if added else 0,
        sizes=fields.get("addition_time_embed_dim") or 256,
    )


def _each(value: int | list[int], count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> StableUNet:
    """The U-Net of a model in diffusers' layout.

    folder: of the model, with `unet` in it, or that one itself
    """
    refuse_pickle(folder)
    folder = folder / "unet" if (folder / "unet").is_dir() else folder
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json: it is no U-Net in diffusers' layout.")
    config = config_of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    tensors = {name: value.to(dtype) for name, value in read_weights(folder).items()}
    with torch.device("meta"):  # the file's tensors become the parameters; none are made before
        unet = StableUNet(config)
    fill(unet, tensors, folder)
    return unet.eval().requires_grad_(False)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    try:
        module.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise UsageError(f"the weights in {folder} do not fit its config.json: {str(error)[:400]}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a part of a model: from one file, its half-precision variant, or shards."""
    for name in (f"{_NAME}.safetensors", f"{_NAME}.fp16.safetensors"):
        if (index := folder / f"{name}.index.json").is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return {key: value for shard in shards for key, value in _opened(folder / shard).items()}
        if (folder / name).is_file():
            return _opened(folder / name)
    for path in sorted(folder.glob("*")):
        refuse_pickle(path)
    raise UsageError(f"{folder} has no {_NAME}.safetensors.")


def _opened(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {error}") from error


def refuse_pickle(path: Path) -> None:
    """Raises UsageError for a file that is none of diffusers' safetensors."""
    if path.suffix in _PICKLES:
        raise UsageError(
            f"{path} is a pickle, which can run any code as it is opened, so it is not. Most models are published as "
            ".safetensors too: take those. If not, repack it on a machine where that code may run: "
            "diffusers.DiffusionPipeline.from_pretrained(MODEL).save_pretrained(FOLDER, safe_serialization=True), "
            "for one .ckpt file StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)."
        )
    if path.suffix == ".safetensors" and not path.name.startswith(_NAME):
        raise UsageError(
            f"{path} is one file; here a model is a folder in diffusers' layout. Repack it: "
            "diffusers.StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER), for XL "
            "StableDiffusionXLPipeline."
        )


class StableUNet(nn.Module):
    """Latents (B, H, W, C) at steps (B,), text (B, S, context) -> noise or velocity (B, H, W, C).

    pooled, sizes: of XL: the pooled text (B, width), and heights, widths and crops (B, 6)
    """

    def __init__(self, config: StableConfig) -> None:
        super().__init__()
        self.config = c = config
        self.conv_in = nn.Conv2d(c.in_channels, c.widths[0], 3, padding=1)
        self.time_embedding = _MLP(c.widths[0], c.embedding)
        self.add_embedding = _MLP(c.added, c.embedding) if c.added else None
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, width = [c.widths[0]], c.widths[0]
        last = len(c.widths) - 1
        for level, out in enumerate(c.widths):
            inputs = [width] + [out] * (c.layers - 1)
            self.down_blocks.append(_Level(c, level, inputs, down=level < last))
            skips += [out] * (c.layers + (level < last))
            width = out
        self.mid_block = _Middle(c, last)
        for level in reversed(range(len(c.widths))):
            inputs = []
            for _ in range(c.layers + 1):
                inputs.append(width + skips.pop())
                width = c.widths[level]
            self.up_blocks.append(_Level(c, level, inputs, up=level > 0))
        self.conv_norm_out = nn.GroupNorm(c.groups, width)
        self.conv_out = nn.Conv2d(width, c.out_channels, 3, padding=1)

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, pooled: Tensor | None = None, sizes: Tensor | None = None
    ) -> Tensor:
        c = self.config
        embedding = self.time_embedding(sinusoids(t, c.widths[0]).to(x.dtype))
        if self.add_embedding is not None:
            assert pooled is not None and sizes is not None, "XL is told a pooled text and sizes"
            told = sinusoids(sizes.flatten(), c.sizes).unflatten(0, sizes.shape).flatten(1)
            embedding = embedding + self.add_embedding(torch.cat([pooled, told.to(x.dtype)], 1))
        h = self.conv_in(x.permute(0, 3, 1, 2))
        skips = [h]
        for block in self.down_blocks:
            h = block(h, embedding, text, skips)
        h = self.mid_block(h, embedding, text)
        for block in self.up_blocks:
            h = block(h, embedding, text, skips)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out.permute(0, 2, 3, 1)


class _Level(nn.Module):
    """A resolution on the way down, which adds to the skips, or up, which takes from them."""

    def __init__(
        self, c: StableConfig, level: int, inputs: list[int], *, down: bool | None = None, up: bool | None = None
    ) -> None:
        super().__init__()
        out, self.rises = c.widths[level], up is not None
        self.resnets = nn.ModuleList([ResNet(width, out, c.groups, embedding=c.embedding) for width in inputs])
        if c.attends[level]:
            self.attentions = nn.ModuleList([_Transformer(c, level) for _ in inputs])
        if down:
            self.downsamplers = nn.ModuleList([Resample(out, up=False)])
        if up:
            self.upsamplers = nn.ModuleList([Resample(out, up=True)])

    def forward(self, h: Tensor, embedding: Tensor, text: Tensor, skips: list[Tensor]) -> Tensor:
        for n, resnet in enumerate(self.resnets):
            h = resnet(torch.cat([h, skips.pop()], 1) if self.rises else h, embedding)
            if hasattr(self, "attentions"):
                h = self.attentions[n](h, text)
            if not self.rises:
                skips.append(h)
        if hasattr(self, "downsamplers"):
            h = self.downsamplers[0](h)
            skips.append(h)
        return self.upsamplers[0](h) if hasattr(self, "upsamplers") else h


class _Middle(nn.Module):
    def __init__(self, c: StableConfig, level: int) -> None:
        super().__init__()
        width = c.widths[level]
        self.resnets = nn.ModuleList([ResNet(width, width, c.groups, embedding=c.embedding) for _ in range(2)])
        self.attentions = nn.ModuleList([_Transformer(c, level)])

    def forward(self, h: Tensor, embedding: Tensor, text: Tensor) -> Tensor:
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](h, embedding), text), embedding)
        return out


class ResNet(nn.Module):
    """Residual block of U-Net and autoencoder. embedding: width of what is added to it, or 0"""

    def __init__(self, width: int, out: int, groups: int, *, embedding: int = 0, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, width, eps), nn.Conv2d(width, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, out) if embedding else None
        self.norm2, self.conv2 = nn.GroupNorm(groups, out, eps), nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width, out, 1) if width != out else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            assert embedding is not None
            h = h + self.time_emb_proj(F.silu(embedding))[..., None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        skipped: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return skipped + h


class Resample(nn.Module):
    def __init__(self, width: int, *, up: bool) -> None:
        super().__init__()
        self.up, self.conv = up, nn.Conv2d(width, width, 3, stride=1 if up else 2, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(h, scale_factor=2.0) if self.up else h)
        return out


class _Transformer(nn.Module):
    """Pixels as tokens through transformer blocks, between two projections."""

    def __init__(self, c: StableConfig, level: int) -> None:
        super().__init__()
        width, self.linear = c.widths[level], c.linear
        self.norm = nn.GroupNorm(c.groups, width, 1e-6)
        self.proj_in, self.proj_out = (
            nn.Linear(width, width) if c.linear else nn.Conv2d(width, width, 1) for _ in range(2)
        )
        self.transformer_blocks = nn.ModuleList(
            [_Block(width, c.heads[level], c.context) for _ in range(c.depth[level])]
        )

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        h = self.norm(x)
        h = self.proj_in(h.flatten(2).mT) if self.linear else self.proj_in(h).flatten(2).mT
        for block in self.transformer_blocks:
            h = block(h, text)
        h = (
            self.proj_out(h).mT.unflatten(2, x.shape[2:])
            if self.linear
            else self.proj_out(h.mT.unflatten(2, x.shape[2:]))
        )
        return x + h


class _Block(nn.Module):
    """Self-attention, cross-attention to the text, gated MLP."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = _Attention(width, width, heads), _Attention(width, context, heads)
        self.ff = _GatedMLP(width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), text)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, width, bias=False) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        # fused: the scores of 4096 tokens would fill gigabytes, and nothing is trained
        out: Tensor = self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _GatedMLP(nn.Module):
    """GEGLU, Shazeer 2020 (arXiv:2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class _GEGLU(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = self.proj(x).chunk(2, -1)
        out: Tensor = h * F.gelu(gate)
        return out


class _MLP(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, out), nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out
