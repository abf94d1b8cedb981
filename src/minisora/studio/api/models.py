"""GET /v1/models: the models that this server has.

Here: their list, in the shape of OpenAI's, and the language of a card. Not here: choosing a model
(state.py).
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from minisora.studio.api.schema import errors
from minisora.studio.api.state import Known, Parts, unknown_model
from minisora.studio.process import ENGLISH

router = APIRouter(prefix="/v1/models", tags=["models"], responses=errors(401, 404, 429))
_WEIGHT = re.compile(r"q=(\d(?:\.\d{1,3})?)")


class Model(BaseModel):
    """A model.

    minisora: its facts, such as fps, seconds, size and digest; of a provider's, its alias and
              verbs; of one model alone, the text of its card
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "minisora"
    minisora: dict[str, Any]


class Models(BaseModel):
    """All models, the default one first."""

    object: Literal["list"] = "list"
    data: list[Model]


def _model(name: str, facts: Mapping[str, Any]) -> Model:
    shown = {key: facts[key] for key in facts if key != "cards"}
    return Model(id=name, created=int(facts.get("created", 0)), minisora=shown)


@router.get("", response_model=Models)
async def listed(studio: Parts, caller: Known) -> Response:
    """List the models, the default one first."""
    models = studio.dispatcher.models.items()
    found = [_model(name, facts) for name, facts in models]
    return JSONResponse(Models(data=found).model_dump(mode="json"))


@router.get("/{name:path}", response_model=Model)
async def one(name: str, studio: Parts, caller: Known, accept_language: Annotated[str, Header()] = "") -> Response:
    """Get a model's facts, and its card in an accepted language, else in English.

    A provider's has a slash in its name.
    """
    if name not in studio.dispatcher.models:
        raise unknown_model(name)
    facts = studio.dispatcher.models[name]
    found = _model(name, facts)
    headers = {"vary": "Accept-Language"}
    if "cards" in facts:
        language = preferred(accept_language, facts["cards"])
        found.minisora["card"] = facts["cards"].get(language, "")
        headers["content-language"] = language
    return JSONResponse(found.model_dump(mode="json"), headers=headers)


def preferred(accepted: str, languages: Container[str]) -> str:
    """The language of an Accept-Language that is there and wanted most; ENGLISH if none is."""
    wishes = [_wish(part) for part in accepted.split(",")]
    known = [(weight, -n, name) for n, (name, weight) in enumerate(wishes) if name in languages and weight > 0]
    return max(known)[2] if known else ENGLISH


def _wish(part: str) -> tuple[str, float]:
    """Language and weight of a part such as "zh-CN;q=0.8"."""
    name, _, weight = part.partition(";")
    found = _WEIGHT.fullmatch(weight.strip() or "q=1")
    return name.strip().split("-")[0].lower(), float(found[1]) if found else 0.0
