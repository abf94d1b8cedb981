"""Wan's released weights in our transformer: conversion of names, shapes and configs.

The two networks are equal; only their parameters are laid out differently. Ours fuses queries, keys
and values of self-attention, and keys and values of cross-attention, and embeds patches with a
matrix where Wan has a convolution. Wan's timestep is our t times 1000, a factor that
`time_features` applies.

Source: Wan (arXiv:2503.20314); names of `WanTransformer3DModel` in diffusers 0.42.

Not here: files (train/export.py writes them), Wan's VAE and its text encoder. Image-to-video
variants, which add channels and an image encoder to the same network, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from minisora.dit.model import DiTConfig
from minisora.errors import UsageError, WeightsError

TEXT_PAD = 512  # tokens; Wan's pipelines pad the text to it, and the network attends to the padding

_DOORS = {
    "condition_embedder.time_embedder.linear_1": "time_mlp.0",
    "condition_embedder.time_embedder.linear_2": "time_mlp.2",
    "condition_embedder.time_proj": "time_table",
    "condition_embedder.text_embedder.linear_1": "text_mlp.0",
    "condition_embedder.text_embedder.linear_2": "text_mlp.2",
    "proj_out": "leave",
}
_BLOCK = {
    "attn1.to_out.0": "out",
    "attn2.to_q": "cross_q",
    "attn2.to_out.0": "cross_out",
    "ffn.net.0.proj": "mlp_in",
    "ffn.net.2": "mlp_out",
}
_FUSED = {
    "qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "cross_kv": ("attn2.to_k", "attn2.to_v"),
}
_GAINS = {
    "attn1.norm_q.weight": "q_norm.gain",
    "attn1.norm_k.weight": "k_norm.gain",
    "attn2.norm_q.weight": "cross_q_norm.gain",
    "attn2.norm_k.weight": "cross_k_norm.gain",
}


def config_from_wan(config: Mapping[str, Any], *, text_pad: int = TEXT_PAD) -> DiTConfig:
    """Convert a Wan config to ours.

    config:   of a `WanTransformer3DModel`: its config.json, or `model.config`

    Raises UsageError for a variant that takes more than text: image-to-video, control.
    """
    taken = {name: config.get(name) for name in ("image_dim", "added_kv_proj_dim", "pos_embed_seq_len")}
    extra = [f"{name}={value}" for name, value in taken.items() if value is not None]
    in_channels, out_channels = config["in_channels"], config.get("out_channels") or config["in_channels"]
    if in_channels != out_channels:
        extra.append(f"in_channels={in_channels} with out_channels={out_channels}")
    if config.get("qk_norm", "rms_norm_across_heads") != "rms_norm_across_heads":
        extra.append(f"qk_norm={config['qk_norm']}")
    if extra:
        raise UsageError(
            f"these Wan weights are of a kind that is not read here ({', '.join(extra)}). "
            f"Use a text-to-video model, such as Wan2.1-T2V-1.3B or Wan2.2-TI2V-5B."
        )
    pt, ph, pw = config["patch_size"]
    heads = config["num_attention_heads"]
    return DiTConfig(
        width=heads * config["attention_head_dim"],
        depth=config["num_layers"],
        num_heads=heads,
        mlp_width=config["ffn_dim"],
        text_width=config["text_dim"],
        latent_channels=in_channels,
        patch=(pt, ph, pw),
        time_width=config["freq_dim"],
        cross_norm=config["cross_attn_norm"],
        frame_kinds=False,
        text_pad=text_pad,
        eps=config["eps"],
    )


def state_from_wan(state: Mapping[str, Tensor], config: DiTConfig) -> dict[str, Tensor]:
    """Convert Wan weights to our names, for `DiT.load_state_dict`. Each tensor keeps its dtype.

    Raises WeightsError if a tensor is missing, or left over.
    """
    left = dict(state)
    ours: dict[str, Tensor] = {}

    def take(name: str) -> Tensor:
        if name not in left:
            raise WeightsError(f"these Wan weights lack {name}: a file may be missing, or the config is another's.")
        return left.pop(name)

    # a convolution whose stride is its size is a matrix on the patch, in the order of `patchify`
    ours["enter.weight"] = rearrange(take("patch_embedding.weight"), "d c pt ph pw -> d (pt ph pw c)").contiguous()
    ours["enter.bias"] = take("patch_embedding.bias")
    ours["final_table"] = take("scale_shift_table").squeeze(0)
    for theirs, name in _DOORS.items():
        for part in ("weight", "bias"):
            ours[f"{name}.{part}"] = take(f"{theirs}.{part}")
    for n in range(config.depth):
        block = f"blocks.{n}."
        ours[f"{block}table"] = take(f"{block}scale_shift_table").squeeze(0)
        for theirs, name in _GAINS.items():
            ours[block + name] = take(block + theirs)
        for part in ("weight", "bias"):
            for theirs, name in _BLOCK.items():
                ours[f"{block}{name}.{part}"] = take(f"{block}{theirs}.{part}")
            for name, several in _FUSED.items():
                ours[f"{block}{name}.{part}"] = torch.cat([take(f"{block}{one}.{part}") for one in several])
            if config.cross_norm:
                ours[f"{block}cross_norm.{part}"] = take(f"{block}norm2.{part}")
    if left:
        raise WeightsError(
            f"these Wan weights hold {len(left)} tensors that have no place here, such as {min(left)}. "
            f"Use a text-to-video model, with the config that came with it."
        )
    return ours


def config_to_wan(config: DiTConfig) -> dict[str, Any]:
    """Inverse of `config_from_wan`: the config.json of a `WanTransformer3DModel`.

    Raises UsageError for a config that Wan's network cannot express.
    """
    if config.frame_kinds:
        raise UsageError(
            "this transformer tells one-frame tokens from groups (frame_kinds), which Wan's cannot. "
            "Train one with frame_kinds=False to export it so."
        )
    return {
        "_class_name": "WanTransformer3DModel",
        "patch_size": list(config.patch),
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_width,
        "in_channels": config.latent_channels,
        "out_channels": config.latent_channels,
        "text_dim": config.text_width,
        "freq_dim": config.time_width,
        "ffn_dim": config.mlp_width,
        "num_layers": config.depth,
        "cross_attn_norm": config.cross_norm,
        "qk_norm": "rms_norm_across_heads",
        "eps": config.eps,
    }


def state_to_wan(state: Mapping[str, Tensor], config: DiTConfig) -> dict[str, Tensor]:
    """Inverse of `state_from_wan`."""
    pt, ph, pw = config.patch
    shape = {"pt": pt, "ph": ph, "pw": pw}
    theirs = {
        "patch_embedding.weight": rearrange(state["enter.weight"], "d (pt ph pw c) -> d c pt ph pw", **shape),
        "patch_embedding.bias": state["enter.bias"],
        "scale_shift_table": state["final_table"][None],
    }
    for wan, name in _DOORS.items():
        for part in ("weight", "bias"):
            theirs[f"{wan}.{part}"] = state[f"{name}.{part}"]
    for n in range(config.depth):
        block = f"blocks.{n}."
        theirs[f"{block}scale_shift_table"] = state[f"{block}table"][None]
        for wan, name in _GAINS.items():
            theirs[block + wan] = state[block + name]
        for part in ("weight", "bias"):
            for wan, name in _BLOCK.items():
                theirs[f"{block}{wan}.{part}"] = state[f"{block}{name}.{part}"]
            for name, several in _FUSED.items():
                pieces = state[f"{block}{name}.{part}"].chunk(len(several))
                theirs.update({f"{block}{one}.{part}": piece for one, piece in zip(several, pieces, strict=True)})
            if config.cross_norm:
                theirs[f"{block}norm2.{part}"] = state[f"{block}cross_norm.{part}"]
    return theirs
