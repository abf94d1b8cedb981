"""Shot2Story (20k, 134k): a json list with the story of each video and a caption for each shot.

    {"video", "image_id", "nvid": the file's name, three times, "id", "whole_caption", "whole_ASR",
     "video_names": [], "captions": [], "audio_captions": [], "ASR": []}
                                                                 the lists go shot by shot

A shot's file is named {clip_id}_{first frame}_{last}.mp4: where only the whole clip is there, its
frames give the span. A `*meta.csv` next to it (youtube_id, clip_id, duration: a Python pair of
times) has the origin of each clip. The split_info.pkl adds nothing to the names, and is never
opened. Source: https://github.com/bytedance/Shot2Story, DATA.md and data/scripts/process_videos.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minisora.curate.importers.reading import captions_of, literal_list, others, text_of, time_of
from minisora.curate.table import Row, annotation
from minisora.folders import files_in
from minisora.tables.entry import STRICT, Skipped, layout
from minisora.tables.records import records

_NEEDED = ("video", "whole_caption", "video_names", "captions")
_OF_SHOTS = ("video_names", "captions", "audio_captions", "ASR")
_SHOT = re.compile(r"(.+)_(\d+)_(\d+)\.\w+")

_Cut = tuple[str, float, float]  # where a clip was cut from: video, start and stop in seconds


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each whole video, then one for each of its shots."""
    cuts = dict(_cuts(path.parent, skipped))
    for where, record in records(path, _NEEDED, skipped):
        with skipped.entry(where):
            video = text_of(where, record, "video")
            shots = list(_shots(where, record, video))
            meta = others(record, ("video", "image_id", "nvid", "whole_caption", *_OF_SHOTS))
            captions = captions_of(record["whole_caption"])
            clip = video.rpartition(".")[0] or video
            if clip in cuts:
                source, start, stop = cuts[clip]
                meta["clip_file"] = video
                yield annotation(source, start=start, stop=stop, captions=captions, origin=where, meta=meta)
            else:
                yield annotation(video, captions=captions, origin=where, meta=meta)
            yield from shots


def _shots(where: str, record: dict[str, Any], video: str) -> Iterator[Row]:
    lists = {name: literal_list(where, record, name) for name in _OF_SHOTS if record.get(name) or name in _NEEDED}
    count = len(lists["video_names"])
    if any(len(values) != count for values in lists.values()):
        found = ", ".join(f"{len(values)} of {name}" for name, values in lists.items())
        raise layout(where, "as many entries in each list as there are shots", found)
    for shot in range(count):
        of_shot = {name: values[shot] for name, values in lists.items()}
        name = text_of(where, of_shot, "video_names")
        meta = others(of_shot, ("video_names", "captions"))
        if match := _SHOT.fullmatch(name):
            meta |= {"clip_file": name, "frame_span": [int(match[2]), int(match[3])]}
        yield annotation(
            video if match else name,
            captions=captions_of(of_shot["captions"]),
            origin=f"{where} shot {shot}",
            meta=meta,
        )


def _cuts(folder: Path, skipped: Skipped) -> Iterator[tuple[str, _Cut]]:
    for file in files_in(folder, (".csv",)):
        if not file.name.endswith("meta.csv"):
            continue
        for where, record in records(file, ("youtube_id", "clip_id", "duration"), skipped):
            with skipped.entry(where):
                times = literal_list(where, record, "duration")
                if len(times) != 2:
                    raise layout(where, "a pair of times in 'duration'", times)
                span = time_of(where, times[0]), time_of(where, times[1])
                yield text_of(where, record, "clip_id"), (text_of(where, record, "youtube_id"), *span)
