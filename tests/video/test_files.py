"""Files that are there whole or not at all, and that others may read."""

import pytest
import torch
from safetensors.torch import load_file

from minisora.errors import UsageError
from minisora.video.files import replacing, save_tensors


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="was not written"), replacing(tmp_path / "no folder" / "b.txt") as temporary:
        temporary.write_text("x")


def test_weights_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    weights = {"a": torch.arange(6.0).view(2, 3).mT}
    save_tensors(weights, tmp_path / "weights.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["a"], weights["a"])
