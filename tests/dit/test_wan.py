"""Our transformer against the one that diffusers has, on the same random weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from minisora.dit.model import DiT
from minisora.dit.wan import config_from_wan, config_to_wan, state_from_wan, state_to_wan
from minisora.errors import UsageError, WeightsError
from tests.helpers.wan import TEXT_PAD, both, difference

diffusers = pytest.importorskip("diffusers")


@pytest.mark.parametrize("by_token", [False, True], ids=["one time", "a time for each token"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-5), (torch.float64, 2e-5)], ids=["float32", "float64"])
def test_gives_what_wan_gives(dtype, atol, by_token):
    """The norms are in float32 in both networks, whatever the dtype."""
    theirs, ours = both(dtype)
    assert difference(theirs, ours, dtype, by_token=by_token) < atol


@pytest.mark.parametrize(
    "changes",
    [dict(cross_attn_norm=False), dict(patch_size=(1, 1, 1)), dict(attention_head_dim=16, eps=1e-3)],
    ids=["no norm before cross-attention", "patches of one cell", "other heads and eps"],
)
def test_gives_what_wan_gives_in_other_shapes(changes):
    theirs, ours = both(**changes)
    assert difference(theirs, ours, torch.float32, by_token=False) < 2e-5


def test_every_parameter_is_carried_over():
    theirs, ours = both()
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())


def test_the_sizes_of_the_released_models():
    """Configs as their config.json have them; parameters counted on the meta device."""
    small = dict(num_attention_heads=12, attention_head_dim=128, num_layers=30, ffn_dim=8960, in_channels=16)
    middle = dict(num_attention_heads=24, attention_head_dim=128, num_layers=30, ffn_dim=14336, in_channels=48)
    large = dict(num_attention_heads=40, attention_head_dim=128, num_layers=40, ffn_dim=13824, in_channels=16)
    common = dict(patch_size=[1, 2, 2], text_dim=4096, freq_dim=256, cross_attn_norm=True, eps=1e-6)
    for given, billions in ((small, 1.42), (middle, 5.0), (large, 14.3)):
        config = config_from_wan({**common, **given, "out_channels": given["in_channels"]})
        with torch.device("meta"):
            ours = DiT(config)
            theirs = diffusers.WanTransformer3DModel(**common, **given, out_channels=given["in_channels"])
        count = sum(p.numel() for p in ours.parameters())
        assert count == sum(p.numel() for p in theirs.parameters())
        assert count / 1e9 == pytest.approx(billions, rel=0.02)
        converted = state_from_wan(theirs.state_dict(), config)
        assert {name: value.shape for name, value in converted.items()} == {
            name: value.shape for name, value in ours.state_dict().items()
        }


def test_other_kinds_are_refused():
    theirs, ours = both()
    with pytest.raises(UsageError, match="in_channels=36"):
        config_from_wan({**theirs.config, "in_channels": 36})
    with pytest.raises(UsageError, match="image_dim=1280"):
        config_from_wan({**theirs.config, "image_dim": 1280})
    state = theirs.state_dict()
    with pytest.raises(WeightsError, match=r"blocks.2"):
        state_from_wan({**state, "blocks.2.attn1.to_q.weight": torch.zeros(1)}, ours.config)
    del state["blocks.1.ffn.net.2.bias"]
    with pytest.raises(WeightsError, match=r"lack blocks.1.ffn.net.2.bias"):
        state_from_wan(state, ours.config)


def test_what_was_read_is_written_as_it_was():
    theirs, ours = both()
    config = config_to_wan(ours.config)
    assert config_from_wan(config, text_pad=TEXT_PAD) == ours.config
    again = diffusers.WanTransformer3DModel.from_config(config)
    again.load_state_dict(state_to_wan(ours.state_dict(), ours.config))
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_network_that_wan_cannot_say_is_refused():
    _, ours = both()
    with pytest.raises(UsageError, match="frame_kinds=False"):
        config_to_wan(replace(ours.config, frame_kinds=True))
