"""Bodies and errors in the OpenAPI document, from the fields of the verbs.

Here: schemas. Not here: reading bodies by them (requests.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minisora.generate.fields import about, adapter
from minisora.generate.request import Request
from minisora.generate.verbs import VERBS, Generate
from minisora.studio.api.bounds import EXPANDERS
from minisora.studio.api.errors import MESSAGES
from minisora.studio.api.media import ID
from minisora.studio.api.objects import ErrorBody
from minisora.studio.api.requests import ALIASES, NOT_SUPPORTED

Schema = dict[str, Any]
FILE: Schema = {"type": "string", "format": "binary"}
ITEM: Schema = {
    "type": "object",
    "description": "A video or an upload of the library; start and stop, in seconds, name a stretch of a clip.",
    "properties": {
        "id": {"type": "string", "pattern": ID.pattern},
        "start": {"type": "number", "minimum": 0},
        "stop": {"type": "number", "exclusiveMinimum": 0},
    },
    "required": ["id"],
    "additionalProperties": False,
}
OWN: Schema = {
    "model": {
        "type": "string",
        "description": "A name of GET /v1/models, or a provider's alias; the default for others without a slash.",
    },
    "format": {"type": "string", "description": "mp4, webm, gif or mkv; png of a picture."},
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route for errors."""
    return {status: {"model": ErrorBody, "description": MESSAGES.get(status, "Refused.")} for status in statuses}


def json_body(schema: Schema) -> Schema:
    """Body of a route that takes JSON without files."""
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


def create_body() -> Schema:
    """Body of POST /v1/videos."""
    fields, required = _fields(Generate)
    fields = {name: value for name, value in fields.items() if name != "preview"}
    address = {"type": "object", "properties": {"image_url": {"type": "string", "pattern": "^data:"}}}
    picture = {"anyOf": [ITEM, {**address, "required": ["image_url"]}]}
    return _body({**fields, "input_reference": picture}, required, {"input_reference"})


def body_of(kind: type[Request], renamed: Mapping[str, str] | None = None, required: Sequence[str] = ()) -> Schema:
    """Body of a route that makes a verb's request.

    renamed: fields by the route's own names; an empty name leaves one out
    """
    fields, needed = _fields(kind)
    for name, other in (renamed or {}).items():
        value = fields.pop(name)
        needed = [each for each in needed if each != name] + ([other] if other and name in needed else [])
        if other:
            fields[other] = value
    fields |= {name: {"type": "number", "exclusiveMinimum": 0} for name in required}
    return _body(fields, [*needed, *required], {name for name, value in fields.items() if _is_media(value)})


def verbs() -> list[dict[str, Any]]:
    """The verbs with their fields, for a page that draws its forms from them."""
    return [
        {
            "name": name,
            "help": (kind.__doc__ or "").strip(),
            "needs_model": kind.needs_model,
            "moving": kind.moving,
            "schema": _bare(_schema(kind)),
            "fields": [
                {"name": field, "help": one.help, "unit": one.unit, "give": one.give, "hidden": one.flag.hidden}
                for field, one in about(kind).items()
            ],
        }
        for name, kind in VERBS.items()
    ]


def _body(fields: Schema, required: Sequence[str], media: set[str]) -> Schema:
    fields = {**fields, **OWN, **{name: {"description": "Not supported; ignored."} for name in NOT_SUPPORTED[:1]}}
    fields |= {name: fields[own] for name, own in ALIASES.items() if own in fields and name not in fields}
    json = {"type": "object", "properties": fields, "required": list(required)}
    form = {**json, "properties": {name: FILE if name in media else value for name, value in fields.items()}}
    content = {"multipart/form-data": {"schema": form}, "application/json": {"schema": json}}
    return {"requestBody": {"required": True, "content": content}}


def _bare(schema: Any) -> Any:
    """Schema without its texts, which the fields have."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    texts = [name for name in ("title", "description") if isinstance(schema.get(name), str)]
    return {name: _bare(each) for name, each in schema.items() if name not in texts}


def _is_media(schema: Schema) -> bool:
    return schema == ITEM or any(_is_media(each) for each in schema.get("anyOf", ()))


def _fields(kind: type[Request]) -> tuple[Schema, list[str]]:
    schema = _schema(kind)
    return dict(schema["properties"]), list(schema.get("required", ()))


def _schema(kind: type[Request]) -> Schema:
    """JSON schema of a verb, without references; media by id."""
    whole = adapter(kind).json_schema()
    inner = whole.pop("$defs", {})
    schema: Schema = _plain(whole, inner)
    if (expand := schema["properties"].get("expand")) is not None:
        expand["anyOf"] = [{"type": "string", "enum": list(EXPANDERS)}, {"type": "null"}]
    return schema


def _plain(value: Any, inner: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_plain(each, inner) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(reference := value.get("$ref"), str):
        return _plain(inner[reference.rpartition("/")[2]], inner)
    if "sha256" in (value.get("properties") or {}):
        return ITEM
    return {name: _plain(each, inner) for name, each in value.items() if name not in ("unit", "give")}
