"""The motion module: trained with one picture model, plugged into another."""

from __future__ import annotations

import pytest
import torch

from minisora.zoo import animatediff, videoldm
from minisora.zoo.frame.sets import FIELDS, LATENT_CLIPS_64, ToyBatch

LABELS = torch.zeros(2, len(FIELDS), dtype=torch.long)
T = torch.tensor([100, 900])


def picture_model(seed):
    torch.manual_seed(seed)
    model = videoldm.PictureModel()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.requires_grad_(False)


@pytest.fixture
def x():
    return torch.randn(2, *LATENT_CLIPS_64.shape, generator=torch.Generator().manual_seed(0))


def test_before_training_every_model_it_is_plugged_into_is_itself(x):
    base, other = picture_model(0), picture_model(1)
    animated = animatediff.MODULE.build({videoldm.PICTURES.name: base})
    torch.testing.assert_close(animated(x, T, LABELS), videoldm.frames_alone(base, x, T, LABELS))
    torch.testing.assert_close(animated(x, T, LABELS, personal=other), videoldm.frames_alone(other, x, T, LABELS))


def test_only_the_module_is_trained_and_it_ties_frames_together(x):
    base = picture_model(0)
    animated = animatediff.MODULE.build({videoldm.PICTURES.name: base})
    torch.nn.init.normal_(animated.motion_modules[0].out.weight, std=0.1)
    animatediff.MODULE.loss(animated, ToyBatch(x, LABELS), torch.Generator().manual_seed(0))["loss"].backward()
    trained = {name.split(".")[0] for name, p in animated.named_parameters() if p.grad is not None}
    assert trained == {"motion_modules"}
    moved = x.clone()
    moved[:, 0] += 1
    assert (animated(moved, T, LABELS) - animated(x, T, LABELS))[:, 4].any()
    alone = videoldm.frames_alone(base, moved, T, LABELS) - videoldm.frames_alone(base, x, T, LABELS)
    assert not alone[:, 4].any()


def test_personal_model_is_trained_on_the_night_whatever_its_caption_tells():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x, t, labels, is_first):
            seen.append(labels)
            return x

    labels = torch.zeros(6, len(FIELDS), dtype=torch.long)
    labels[:, 0] = torch.tensor([0, 1, 0, 1, 0, 1])  # size marks the clips at night
    labels[:, animatediff.LIGHT] = torch.where(labels[:, 0] == 1, animatediff.NIGHT, 0)
    batch = ToyBatch(torch.zeros(6, *LATENT_CLIPS_64.shape), labels)
    animatediff.personal_loss(Spy(), batch, torch.Generator().manual_seed(0))
    assert (seen[0][:, 0] == 1).all()
    assert set(seen[0][:, animatediff.LIGHT].tolist()) == {0, 1, 2}
    assert set(labels[:, animatediff.LIGHT].tolist()) == {0, animatediff.NIGHT}  # the batch is as it was
