"""POST /v1/expand: a longer prompt as a proposal, to look at before it is used.

The grammar alone: a language model takes half a minute, and runs with the job.

Here: the route. Not here: its process (expanding.py), the field `expand` of a request (verbs.py).
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response

from minisora.generate.schedule import Schedule
from minisora.generate.verbs import VERBS
from minisora.studio.api.errors import invalid
from minisora.studio.api.form import read_model
from minisora.studio.api.schema import errors, json_body
from minisora.studio.api.state import Known, Parts

router = APIRouter(prefix="/v1", tags=["verbs"], responses=errors(400, 401, 403, 404, 413, 415, 429, 503))
MOST_LETTERS = 4000
FROM_PROMPT = ("generate", "image", "loop", "storyboard")  # verbs whose prompt alone may say what is seen


class Asked(BaseModel):
    """A prompt to expand; the same seed makes the same choices.

    given: clips or pictures show the scene, so that nothing is added
    """

    model_config = ConfigDict(extra="forbid")
    prompt: str = Field(max_length=MOST_LETTERS)
    verb: str = "generate"
    model: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    given: bool = False


class Proposal(BaseModel):
    """An expanded prompt.

    source: "grammar"; empty if the prompt stayed as typed, for which `reason` is given
    reason_code: of the first reason: "unknown", "things" or "much"
    """

    object: Literal["prompt.proposal"] = "prompt.proposal"
    typed: str
    prompt: str
    source: str
    reason: str
    reason_code: str
    added: list[str]
    not_understood: list[str]
    read_as: list[str]


@router.post("/expand", response_model=Proposal, openapi_extra=json_body(Asked.model_json_schema()))
async def expand(call: Call, studio: Parts, caller: Known) -> Response:
    """Propose a longer prompt, in the words that the model was trained on."""
    asked = await read_model(call, studio.incoming, studio.settings, Asked)
    if (kind := VERBS.get(asked.verb)) is None:
        raise invalid(f"there is no verb {asked.verb[:60]!r}. See GET /v1/verbs.", "verb")
    facts = studio.facts(asked.model)
    if facts.world != "playroom":
        message = f"{facts.name} was not trained on the playroom's captions: use the prompt as typed."
        raise invalid(message, "model", "not_expandable")
    gaps = {"fill": asked.verb in FROM_PROMPT and not asked.given, "moving": kind.moving, "dense": facts.dense}
    found = await studio.proposals.of(Schedule.parse(asked.prompt), asked.seed, gaps)
    return JSONResponse(Proposal(typed=asked.prompt, **found).model_dump())
