"""The U-Net of Stable Diffusion against diffusers, on tiny random models of each kind."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import UNet2DConditionModel

from minisora.errors import UsageError
from minisora.zoo.nets import stable_unet
from tests.helpers.stable import TINY


def made(kind):
    torch.manual_seed(0)
    return UNet2DConditionModel(sample_size=8, **TINY[kind]).eval()


def inputs(kind):
    rng = torch.Generator().manual_seed(1)
    x, text = torch.randn(2, 4, 8, 8, generator=rng), torch.randn(2, 7, 24, generator=rng)
    added = (torch.randn(2, 20, generator=rng), torch.randint(0, 1024, (2, 6), generator=rng))
    return x, torch.tensor([3, 801]), text, added if kind == "XL" else ()


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("layout", ["one file", "shards"])
def test_it_is_diffusers(kind, layout, tmp_path):
    theirs = made(kind)
    theirs.save_pretrained(tmp_path / "unet", max_shard_size="10GB" if layout == "one file" else "100KB")
    assert (len(list((tmp_path / "unet").glob("*.safetensors"))) > 1) == (layout == "shards")
    ours = stable_unet.load(tmp_path)
    x, t, text, added = inputs(kind)
    with torch.inference_mode():
        told = {"text_embeds": added[0], "time_ids": added[1]} if added else None
        expected = theirs(x, t, text, added_cond_kwargs=told).sample
        found = ours(x.permute(0, 2, 3, 1), t, text, *added)
    torch.testing.assert_close(found.permute(0, 3, 1, 2), expected, atol=1e-5, rtol=1e-4)


def test_half_precision_files_are_found(tmp_path):
    made("1.x").half().save_pretrained(tmp_path / "unet", variant="fp16")
    ours = stable_unet.load(tmp_path / "unet", dtype=torch.bfloat16)
    assert next(ours.parameters()).dtype == torch.bfloat16


PUBLISHED = {  # config.json as published, what is left out has diffusers' default; and parameters
    "1.5": (
        dict(
            block_out_channels=[320, 640, 1280, 1280],
            down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
            attention_head_dim=8,
            cross_attention_dim=768,
        ),
        859_520_964,
    ),
    "2.1": (
        dict(
            block_out_channels=[320, 640, 1280, 1280],
            down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
            attention_head_dim=[5, 10, 20, 20],
            cross_attention_dim=1024,
            use_linear_projection=True,
        ),
        865_910_724,
    ),
    "XL": (
        dict(
            block_out_channels=[320, 640, 1280],
            down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
            up_block_types=["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"],
            attention_head_dim=[5, 10, 20],
            transformer_layers_per_block=[1, 2, 10],
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
        2_567_463_684,
    ),
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_models_have_their_number_of_parameters(kind):
    fields, count = PUBLISHED[kind]
    config = stable_unet.config_of({"in_channels": 4, "out_channels": 4, "layers_per_block": 2, **fields})
    with torch.device("meta"):
        unet = stable_unet.StableUNet(config)
    assert sum(p.numel() for p in unet.parameters()) == count


def test_a_pickle_is_refused_with_what_to_do(tmp_path):
    made("1.x").save_pretrained(tmp_path / "unet", safe_serialization=False)
    with pytest.raises(UsageError, match=r"pickle.*save_pretrained"):
        stable_unet.load(tmp_path)
    with pytest.raises(UsageError, match=r"pickle.*from_single_file"):
        stable_unet.load(tmp_path / "v1-5-pruned.ckpt")
    with pytest.raises(UsageError, match=r"one file.*from_single_file"):
        stable_unet.load(tmp_path / "v1-5-pruned.safetensors")


def test_another_network_and_missing_weights_are_refused(tmp_path):
    made("1.x").save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(UsageError, match="class_embed_type"):
        stable_unet.config_of({**fields, "class_embed_type": "projection"})
    with pytest.raises(UsageError, match="blocks"):
        stable_unet.config_of({**fields, "down_block_types": ["AttnDownBlock2D"] * 3})
    (tmp_path / "config.json").write_text(json.dumps({**fields, "cross_attention_dim": 32}))
    with pytest.raises(UsageError, match="do not fit"):
        stable_unet.load(tmp_path)
    with pytest.raises(UsageError, match=r"config\.json"):
        stable_unet.load(tmp_path / "nothing")
