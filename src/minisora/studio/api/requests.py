"""Fields of a call -> a request whose media are blobs.

Media come as files or as {"id": ...} of the library, with "start" and "stop" for a stretch of a
clip. Text in their place is refused: it could name a file of the server.

Here: fields by the types of their verb, names that other servers use, media. Not here: the verbs
(generate/), bounds (bounds.py), the routes (videos.py, verbs.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from minisora.generate.fields import about
from minisora.generate.media import Named, is_clip, is_media
from minisora.generate.request import Request
from minisora.studio.api.errors import invalid
from minisora.studio.api.form import Upload, parsed
from minisora.studio.api.media import Media

Kind = TypeVar("Kind", bound=Request)
ALIASES = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "duration": "seconds",
    "video": "clip",
    "image": "picture",
}
NOT_SUPPORTED = ("negative_prompt", "guidance_scale_2", "flow_shift", "boundary_ratio", "generate_audio", "user")


async def request_of(kind: type[Kind], given: Mapping[str, Any], media: Media, fps: float) -> Kind:
    """Request of a verb from a call's fields. fps: the model's own

    Raises Refusal, UsageError.
    """
    values, described = with_own_names(kind, given, media, fps), about(kind)
    clips = [name for name in described if is_clip(described[name].type)]
    span: dict[str, Any] = {
        name: values.pop(name) for name in ("start", "stop") if name in values and name not in described
    }
    if span:
        if len(clips) != 1 or clips[0] not in values:
            raise invalid('start and stop are of a verb\'s one clip. Elsewhere give {"id", "start", "stop"}.', "start")
        values[clips[0]] = _stretched(values[clips[0]], span)
    read = {
        name: await _read(described[name].type, value, name, media) if name in described else value
        for name, value in values.items()
    }
    request = kind.of_data(read)
    assert all(isinstance(each, Named) for each in media_of(request)), kind
    return request


def with_own_names(kind: type[Request], given: Mapping[str, Any], media: Media, fps: float) -> dict[str, Any]:
    """Fields by the names of a verb; notes on those that are not supported go to the media."""
    known, values = about(kind), dict[str, Any]()
    for name, value in given.items():
        if name in NOT_SUPPORTED and name not in known:
            media.notes.append(f"{name} is not supported here, and was not used")
            continue
        own = ALIASES.get(name, name) if name not in known and ALIASES.get(name) in known else name
        if own in values:
            raise invalid(f"{own} is given twice, once as {name}.", own)
        values[own] = value
    for name, others in (("size", {"width", "height"}), ("seconds", {"num_frames"})):
        if name in values and name in known and (twice := others & values.keys() - known.keys()):
            raise invalid(f"{name} is given twice, once as {' and '.join(sorted(twice))}.", name)
    if "size" in known and "width" in values and "height" in values:
        values["size"] = f"{values.pop('width')}x{values.pop('height')}"
    if "seconds" in known and "num_frames" in values:
        try:
            count, rate = int(values.pop("num_frames")), float(values.get("fps") or fps)
            if count < 1 or not rate > 0:
                raise ValueError(count)
            values["seconds"] = (count - 1) / rate
        except (TypeError, ValueError, OverflowError):
            raise invalid("num_frames is a whole number, 1 or more.", "num_frames") from None
        if count == 1:
            raise invalid("a video of one frame is a picture: ask for POST /v1/videos/image.", "num_frames")
    return values


def _stretched(value: Any, span: Mapping[str, Any]) -> Any:
    if isinstance(value, Upload):
        return {"file": value, **span}
    return {**value, **span} if isinstance(value, Mapping) else value


async def _read(hint: Any, value: Any, name: str, media: Media) -> Any:
    """Value of a field, its media replaced by blobs; other values are left to pydantic."""
    if is_media(hint):
        return await media.named(value, name, hint)
    for each in _alternatives(hint):
        holds = _holds_media(each)
        if isinstance(value, str) and value.lstrip().startswith(("{", "[")) and _is_container(each):
            value = parsed(value, name)
        if is_dataclass(each):
            if isinstance(value, Mapping):
                inner = about(each)
                return {
                    key: await _read(inner[key].type, one, f"{name}.{key}", media) if key in inner else one
                    for key, one in value.items()
                }
        elif get_origin(each) is tuple and isinstance(value, list | Mapping):
            many = _in_order(value, name) if isinstance(value, Mapping) else value
            return [await _read(get_args(each)[0], one, f"{name}.{n}", media) for n, one in enumerate(many)]
        elif _is_container(each) and isinstance(value, Mapping):
            return {key: await _read(get_args(each)[1], one, f"{name}.{key}", media) for key, one in value.items()}
        if holds:
            raise invalid(f"{name} cannot be read. See /openapi.json for its form.", name)
    return value


def _alternatives(hint: Any) -> list[Any]:
    """Types of a hint, without metadata and None."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [one for each in get_args(hint) if each is not NoneType for one in _alternatives(each)]
    return [hint]


def _is_container(hint: Any) -> bool:
    return is_dataclass(hint) or get_origin(hint) in (tuple, Mapping)


def _holds_media(hint: Any) -> bool:
    """True if a clip or a picture is somewhere inside a type."""
    if is_media(hint):
        return True
    if isinstance(hint, type) and is_dataclass(hint):
        return any(_holds_media(each.type) for each in about(hint).values())
    return any(_holds_media(each) for each in get_args(hint))


def _in_order(value: Mapping[str, Any], name: str) -> list[Any]:
    """List of a form's name[0], name[1], ..."""
    if sorted(value) != sorted(map(str, range(len(value)))):
        raise invalid(f"{name} is a list: number it from 0 on.", name)
    return [value[str(n)] for n in range(len(value))]


def media_of(value: Any) -> Iterator[Any]:
    """Media of a request, at any depth."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from media_of(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from media_of(each)
    elif isinstance(value, Named) or not is_dataclass(value):
        if not isinstance(value, str | int | float | bool | None):
            yield value
    else:
        for each in fields(value):
            if each.init:
                yield from media_of(getattr(value, each.name))
