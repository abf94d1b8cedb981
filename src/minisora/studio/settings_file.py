"""The operator's settings file: providers of videos, and where webhooks may go.

    [providers.cloud]
    address = "https://videos.example/v1"
    key_file = "cloud.key"              # or key = "...", or key_env = "NAME"
    models = ["sora-2", "sora-2-pro"]   # cloud/sora-2 and cloud/sora-2-pro; cloud is the first

    [webhooks]
    allow = ["10.0.0.0/8"]

Here: reading it. Not here: calling providers (providers.py), sending webhooks (deliveries.py).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from minisora.errors import UsageError
from minisora.studio import outgoing

NAME = "studio.toml"  # in the studio's folder
Alias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
ModelName = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,100}$")]


class Provider(BaseModel):
    """A server with the shape of OpenAI's videos API.

    address:       of its routes, such as https://HOST/v1
    models:        by its own names, the usual one first
    allow_private: it may lie in a network at home, or on this machine
    jobs:          most of ours that it makes at once
    patience:      seconds for which a call is repeated that it does not answer
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    address: str
    models: Annotated[tuple[ModelName, ...], Field(min_length=1)]
    key: SecretStr = SecretStr("")
    key_file: Path | None = None
    key_env: str | None = None
    allow_private: bool = False
    jobs: Annotated[int, Field(ge=1, le=64)] = 4
    patience: Annotated[float, Field(ge=0, le=86400)] = 600.0


class Webhooks(BaseModel):
    """Networks that webhooks may go to though they are not public."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    allow: tuple[str, ...] = ()


class SettingsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    providers: dict[Alias, Provider] = {}
    webhooks: Webhooks = Webhooks()


def read(path: Path | None, folder: Path) -> SettingsFile:
    """Read a settings file; None: the one in the studio's folder, if there is one.

    Raises UsageError, which names the key that is wrong.
    """
    if path is None:
        path = folder / NAME
        if not path.is_file():
            return SettingsFile()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the settings file {path} cannot be read: {error}.") from None
    try:
        found = SettingsFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        what = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"].lower()
        raise UsageError(f"{path}: {name}: {what}.") from None
    for text in found.webhooks.allow:
        outgoing.network(text)
    providers = {alias: _with_key(alias, each, path) for alias, each in found.providers.items()}
    return found.model_copy(update={"providers": providers})


def _with_key(alias: str, provider: Provider, path: Path) -> Provider:
    """Provider whose key is read from where it lies. Raises UsageError."""
    where = f"{path}: providers.{alias}"
    try:
        if outgoing.parsed(provider.address).query:
            raise UsageError("an address has no query.")
    except UsageError as error:
        raise UsageError(f"{where}.address: {error}") from None
    key = provider.key.get_secret_value()
    if sum([bool(key), provider.key_file is not None, provider.key_env is not None]) > 1:
        raise UsageError(f"{where}: give one of key, key_file and key_env.")
    if provider.key_file is not None:
        try:
            key = (path.parent / provider.key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where}.key_file cannot be read: {type(error).__name__}.") from None
    elif provider.key_env is not None and not (key := os.environ.get(provider.key_env, "").strip()):
        raise UsageError(f"{where}.key_env: {provider.key_env} is not set in the environment.")
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"{where}: the key has characters that no header takes.")
    return provider.model_copy(update={"key": SecretStr(key), "address": provider.address.rstrip("/")})
