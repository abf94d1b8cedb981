"""Media of a call: files that came with it, and items of the library by id.

Here: both as blobs for a request. Not here: which fields are media (requests.py), checking and
keeping files (uploads.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minisora.generate.media import Named, is_clip, takes_stretch
from minisora.studio.api.errors import Refusal, invalid
from minisora.studio.api.form import Upload
from minisora.studio.api.inspection import Inspected
from minisora.studio.api.uploads import Uploads
from minisora.studio.jobs import NotFound, State, new_id
from minisora.studio.store import Store

ID = re.compile(r"^(video|upload)_[0-9a-f]{32}$")


@dataclass
class Media:
    """Clips and pictures of one call.

    owner:        whose items may be named; None: anyone's
    new:          uploads by SHA-256, each with the id that it will have in the library
    ids:          id of every medium, by SHA-256
    sizes:        of videos that were made here, WIDTHxHEIGHT by field
    clip_seconds: length of all clips
    notes:        for the user
    """

    store: Store
    uploads: Uploads
    owner: str | None
    new: dict[str, tuple[str, Upload, Inspected]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    clip_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    sizes: dict[str, str] = field(default_factory=dict)

    async def named(self, value: Any, name: str, hint: Any) -> Named:
        """Medium of a field. hint: its type

        Raises Refusal for what is neither a file nor the id of an item.
        """
        given = {"file": value} if isinstance(value, Upload) else value if isinstance(value, Mapping) else {}
        if "file" in given and "id" in given:
            raise invalid(f"{name} takes a file or an id, not both.", name)
        if given and (unknown := given.keys() - {"file", "id", "start", "stop", "name"}):
            raise invalid(f"{name} has no {min(unknown)[:60]!r}: it has id, start and stop.", name)
        if isinstance(file := given.get("file"), Upload):
            return await self._of_upload(file, given, name, hint)
        if isinstance(item_id := given.get("id"), str):
            return await self._of_item(item_id, given, name, hint)
        raise invalid(f'{name} is a file: send it as a part of a multipart form, or as {{"id": ...}}.', name)

    async def _of_upload(self, upload: Upload, span: Mapping[str, Any], name: str, hint: Any) -> Named:
        if upload.sha256 not in self.new:
            found = await self.uploads.inspect(upload.path, upload.name)
            self.new[upload.sha256] = new_id("upload"), upload, found
        item_id, _, found = self.new[upload.sha256]
        self.ids[upload.sha256] = item_id
        start, stop = self._span(span, name, found.num_frames / found.fps, hint)
        return Named(upload.name, upload.sha256, start, stop)

    async def _of_item(self, item_id: str, span: Mapping[str, Any], name: str, hint: Any) -> Named:
        try:
            if not ID.fullmatch(item_id):
                raise NotFound("no id")
            item = await self.store.library.item(item_id, self.owner)
        except NotFound:
            raise await self._missing(item_id, name) from None
        start, stop = self._span(span, name, item.num_frames / item.fps, hint)
        self.ids[item.sha256] = item.id
        if not item.is_upload:
            self.sizes[name] = f"{item.width}x{item.height}"
        return Named(item.name, item.sha256, start, stop)

    async def _missing(self, item_id: str, name: str) -> Refusal:
        try:
            job = await self.store.job(item_id, self.owner) if ID.fullmatch(item_id) else None
        except NotFound:
            job = None
        if job is None:
            return Refusal(404, f"{name}: there is no video {item_id[:80]!r}.", "not_found", name)
        if job.state.is_final and job.state is not State.DONE:
            return invalid(f"{name}: {item_id} was {job.state}, so there is no video.", name, "video_failed")
        return invalid(f"{name}: {item_id} is not done yet. Wait until it is.", name, "video_not_ready")

    def _span(self, value: Mapping[str, Any], name: str, seconds: float, hint: Any) -> tuple[float, float | None]:
        try:
            start = float(value.get("start") or 0.0)
            stop = None if value.get("stop") is None else float(value["stop"])
        except (TypeError, ValueError, OverflowError):
            raise invalid(f"{name}: start and stop are seconds.", name) from None
        if not takes_stretch(hint):
            if start or stop is not None:
                raise invalid(f"{name} is a picture: leave out start and stop.", name)
            return 0.0, None
        if not 0 <= start < min(seconds, seconds if stop is None else stop):
            raise invalid(f"{name} lasts {seconds:.3g} s: give a start within it, and a later stop.", name)
        if is_clip(hint):
            self.clip_seconds += min(seconds, seconds if stop is None else stop) - start
        return start, stop
