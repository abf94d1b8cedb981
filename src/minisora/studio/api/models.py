"""GET /v1/models: the models that this server has.

Here: their list, in the shape of OpenAI's. Not here: choosing one (state.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from minisora.studio.api.schema import errors
from minisora.studio.api.state import Known, Parts, unknown_model

router = APIRouter(prefix="/v1/models", tags=["models"], responses=errors(401, 404, 429))


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
    return Model(id=name, created=int(facts.get("created", 0)), minisora=dict(facts))


@router.get("", response_model=Models)
async def listed(studio: Parts, caller: Known) -> Response:
    """List the models, the default one first."""
    models = studio.dispatcher.models.items()
    found = [_model(name, {key: facts[key] for key in facts if key != "card"}) for name, facts in models]
    return JSONResponse(Models(data=found).model_dump(mode="json"))


@router.get("/{name:path}", response_model=Model)
async def one(name: str, studio: Parts, caller: Known) -> Response:
    """Get a model's facts and its card. A provider's has a slash in its name."""
    if name not in studio.dispatcher.models:
        raise unknown_model(name)
    return JSONResponse(_model(name, studio.dispatcher.models[name]).model_dump(mode="json"))
