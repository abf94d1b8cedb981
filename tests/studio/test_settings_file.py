"""The operator's settings file: what it may hold, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from minisora.errors import UsageError
from minisora.studio.settings_file import SettingsFile, read

CLOUD = '[providers.cloud]\naddress = "https://videos.example/v1/"\nmodels = ["sora-2", "sora-2-pro"]\n'


def of(folder: Path, text: str) -> SettingsFile:
    (folder / "studio.toml").write_text(text)
    return read(None, folder)


def test_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert read(None, tmp_path) == SettingsFile()
    (tmp_path / "cloud.key").write_text("sk-from-a-file\n")
    monkeypatch.setenv("HOME_KEY", "sk-from-the-environment")
    home = '[providers.home]\naddress = "http://10.0.0.2:8000/v1"\nmodels = ["toybox"]\nallow_private = true\n'
    text = f'{CLOUD}key_file = "cloud.key"\n{home}key_env = "HOME_KEY"\njobs = 2\n[webhooks]\nallow = ["10.0.0.0/8"]\n'
    found = of(tmp_path, text)
    assert found == read(tmp_path / "studio.toml", Path("elsewhere"))
    cloud, home_provider = found.providers["cloud"], found.providers["home"]
    assert (cloud.address, cloud.models, cloud.jobs) == ("https://videos.example/v1", ("sora-2", "sora-2-pro"), 4)
    assert cloud.key.get_secret_value() == "sk-from-a-file" and not cloud.allow_private
    assert home_provider.key.get_secret_value() == "sk-from-the-environment" and home_provider.allow_private
    assert found.webhooks.allow == ("10.0.0.0/8",)
    assert "sk-" not in repr(found) + str(found)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CLOUD + "adress = 1\n", "providers.cloud.adress: there is no such setting"),
        ("[provider.cloud]\n", "provider: there is no such setting"),
        ("[webhooks]\nallows = []\n", "webhooks.allows: there is no such setting"),
        ("[providers.cloud]\nmodels = ['a']\n", "providers.cloud.address"),
        (CLOUD.replace('["sora-2", "sora-2-pro"]', "[]"), "providers.cloud.models"),
        (CLOUD.replace("https", "ftp"), "providers.cloud.address: an address is"),
        (CLOUD.replace("videos.", "user:word@videos."), "providers.cloud.address: an address is"),
        (CLOUD.replace("/v1/", "/v1?x=1"), "providers.cloud.address: an address has no query"),
        (CLOUD.replace("cloud", '"a/b"'), "providers.a/b"),
        (CLOUD + 'key = "a"\nkey_env = "B"\n', "providers.cloud: give one of key"),
        (CLOUD + 'key_env = "NOT_SET_ANYWHERE"\n', "providers.cloud.key_env: NOT_SET_ANYWHERE is not set"),
        (CLOUD + 'key_file = "missing"\n', "providers.cloud.key_file cannot be read"),
        (CLOUD + 'key = "a\\nb"\n', "providers.cloud: the key has characters"),
        (CLOUD + "jobs = 0\n", "providers.cloud.jobs"),
        (CLOUD + 'key = ["sk-shown"]\n', "providers.cloud.key"),
        ('[webhooks]\nallow = ["10.0.0.0/33"]\n', "no network"),
        ("[webhooks\n", "cannot be read"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, text: str, named: str):
    with pytest.raises(UsageError) as error:
        of(tmp_path, text)
    assert named in str(error.value) and "sk-" not in str(error.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "not-there.toml", tmp_path)
