"""Saved requests: verb, fields, model and media, in a file or in the video's metadata.

    {"format": 1, "minisora": "0.1.0",
     "model": {"name": "toybox", "digest": "...", "upscale": null}, "verb": "extend",
     "request": {"clip": {"name": "clip.mp4", "sha256": "..."}, "prompt": ..., "seed": 0, ...}}

The same request on the same model gives the same frames again. It holds no paths and no pixels.

Here: writing and reading them. Not here: running them (plan.py), finding media (media.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisora.errors import UsageError
from minisora.generate import media
from minisora.generate.request import Request

if TYPE_CHECKING:
    from minisora.bundle import Bundle

FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """A request, with its model's name, the digest of the weights, and the upscaler."""

    request: Request
    model: str | None
    digest: str = ""
    upscale: str | None = None


def written(request: Request, bundle: Bundle | None) -> str:
    """Serialize a request to JSON. bundle: of the model; None if it needs none"""
    import minisora

    used = None
    if bundle is not None and request.needs_model:
        used = {"name": bundle.name, "digest": bundle.digest, "upscale": bundle.upscale}
    about = {"format": FORMAT, "minisora": minisora.__version__, "model": used, "verb": request.name()}
    text = json.dumps({**about, "request": request.to_data()}, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)  # of names that are not UTF-8


def read(path: Path) -> Saved:
    """Read a request from its own file, or from a video or picture that it generated.

    Raises UsageError if there is none, and for a format that this version does not know.
    """
    from minisora.video.read import read_comment

    if path.suffix.lower() == ".json":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}.") from None
    else:
        text = read_comment(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # brackets in thousands
        data = None
    if not isinstance(data, dict) or "verb" not in data or "format" not in data:
        raise _none(path)
    return parsed(data, path)


def _none(path: Path | str) -> UsageError:
    return UsageError(f"{path} holds no request. Give a file of --save-request, or a video that minisora made.")


def parsed(data: Mapping[str, Any], path: Path | str) -> Saved:
    """Request of JSON that a file holds. path: or another name of it, for messages

    Raises UsageError as `read`.
    """
    from minisora.generate.verbs import VERBS

    if data["format"] != FORMAT:
        raise UsageError(
            f"{path} was written by minisora {data.get('minisora', 'of another version')}, in format {data['format']}; "
            f"this one reads format {FORMAT}. Update minisora."
        )
    verb, values, used = data["verb"], data.get("request"), data.get("model") or {}
    if not (isinstance(verb, str) and isinstance(values, dict) and isinstance(used, dict)):
        raise _none(path)
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(VERBS)}."
        raise UsageError(f"{path}: there is no verb {verb!r}. {hint}")
    try:
        request = VERBS[verb].of_data(values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return Saved(request, used.get("name"), used.get("digest", ""), used.get("upscale"))


def with_media(value: Any, folder: Path) -> Any:
    """Replace the named media of a request by files of a folder.

    Raises UsageError for media that are not there.
    """
    if isinstance(value, media.Named):
        return media.found(value, folder)
    if isinstance(value, Mapping):
        return {name: with_media(each, folder) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(with_media(each, folder) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: with_media(getattr(value, f.name), folder) for f in fields(value) if f.init}
        return replace(value, **changed)
    return value
