"""Pictures of tiny random Stable Diffusion models, from prompt to pixels, against diffusers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from typer.testing import CliRunner

from minisora.cli.main import app
from minisora.errors import UsageError
from minisora.zoo.nets import stable
from tests.helpers.stable import TINY

WIDTH = 12  # of a text encoder


def tokenizer(folder):
    words = [chr(c) for c in range(97, 123)]
    names = [*words, *(f"{c}</w>" for c in words), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def encoder(kind):
    config = CLIPTextConfig(
        vocab_size=54,
        hidden_size=WIDTH,
        intermediate_size=16,
        projection_dim=20,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    return kind(config).eval()


def pipeline(kind, folder, predicts):
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    width = WIDTH * (2 if kind == "XL" else 1)
    unet = UNet2DConditionModel(sample_size=8, **{**TINY[kind], "cross_attention_dim": width}).eval()
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=predicts,
    )
    parts = dict(
        vae=vae, unet=unet, scheduler=scheduler, tokenizer=tokenizer(folder), text_encoder=encoder(CLIPTextModel)
    )
    if kind == "XL":
        second = dict(tokenizer_2=tokenizer(folder), text_encoder_2=encoder(CLIPTextModelWithProjection))
        return StableDiffusionXLPipeline(**parts, **second, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


@pytest.mark.parametrize(("kind", "predicts"), [("1.x", "epsilon"), ("2.x", "v_prediction"), ("XL", "epsilon")])
def test_pictures_are_those_of_diffusers(kind, predicts, tmp_path):
    theirs = pipeline(kind, tmp_path, predicts)
    theirs.save_pretrained(tmp_path / "model")
    theirs.set_progress_bar_config(disable=True)
    z = torch.randn(1, 8, 16, 4, generator=torch.Generator().manual_seed(5))
    expected = theirs(
        "a red ball",
        height=64,
        width=128,
        num_inference_steps=4,
        guidance_scale=5.0,
        latents=z.permute(0, 3, 1, 2),
        output_type="np",
    ).images[0]
    found = stable.picture(tmp_path / "model", "a red ball", size=(64, 128), steps=4, guidance=5.0, seed=5)
    assert float((found / 255 - torch.from_numpy(expected)).abs().max()) < 0.01


def test_the_command_writes_the_picture_at_the_models_own_size(tmp_path):
    pipeline("1.x", tmp_path, "epsilon").save_pretrained(tmp_path / "model")
    command = ["zoo", "picture", str(tmp_path / "model"), "a red ball", "--steps", "2", "-o", str(tmp_path / "a.png")]
    assert CliRunner().invoke(app, command).exit_code == 0
    expected = stable.picture(tmp_path / "model", "a red ball", steps=2)
    assert expected.shape == (64, 64, 3)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected.numpy())


def test_sizes_and_other_schedules_are_refused(tmp_path):
    with pytest.raises(UsageError, match="multiples of 8"):
        stable.picture(tmp_path, "a", size=(64, 60))
    with pytest.raises(UsageError, match="multiples of 8"):
        stable.picture(tmp_path, "a", size=(0, 64))
    with pytest.raises(UsageError, match="between 1 and 1000"):
        stable.picture(tmp_path, "a", size=(64, 64), steps=0)
    with pytest.raises(UsageError, match="diffusers' layout"):
        stable.picture(tmp_path, "a")
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps({"beta_schedule": "linear"}))
    with pytest.raises(UsageError, match="scaled_linear"):
        stable._schedule(tmp_path)


def test_text_encoders_that_are_pickles_are_refused(tmp_path):
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder" / "pytorch_model.bin").touch()
    with pytest.raises(UsageError, match="pickle"):
        stable.text_of(tmp_path, ["a"])
