"""Encode clips into shards of latents and text embeddings once, for training to read.

A sample has the latents of a clip's groups, of every last frame of a group as a picture (a window
may begin there), and of a few frames inside groups (keyframes at any moment). A stopped job resumes
after its last complete shard. Each sample carries a digest of its inputs; samples with another
digest are encoded again.

Here: writing the shards. Not here: their format (data/latents.py), the worlds that clips come from.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from types import FunctionType

import torch
from torch import nn

from minisora.curate.decode import Decode, decoded
from minisora.data.latents import to_members
from minisora.data.shards import Shards, ShardWriter
from minisora.data.windows import StoredClip
from minisora.errors import UsageError
from minisora.text.encoder import TextEncoder
from minisora.vae.codec import Codec, Strides
from minisora.video import to_float
from minisora.video.files import replacing
from minisora.workers.ahead import ahead
from minisora.workers.lock import one_run
from minisora.workers.pool import Pool
from minisora.worlds.clip import Clip
from minisora.worlds.playroom import WORLD_VERSION

FRAMES_AT_ONCE = 128  # a batch of encoding: eight short clips alone would leave cores idle
INSIDE = 2  # single frames inside groups, in addition to those that end one


@dataclass(frozen=True, kw_only=True)
class LatentJob:
    """Clips of one world at one size; every field is part of the stored digest.

    clips: (seeds, height, width, num_frames) -> clips in that order; a module-level function, with
        further arguments such as fps bound by `functools.partial`
    captions: digest of the templates that captions are made of
    """

    name: str
    clips: Callable[[Sequence[int], int, int, int], Sequence[Clip]]
    seeds: range
    height: int
    width: int
    num_frames: int = 33
    captions: str = ""

    def __call__(self, seeds: Sequence[int]) -> Sequence[Clip]:
        return self.clips(seeds, self.height, self.width, self.num_frames)


def write_latents(folder: Path, jobs: Sequence[LatentJob], vae: Codec, text: TextEncoder) -> None:
    """Write the shards of every job, each in a folder of its own below `folder`."""
    for job in jobs:
        by = made_of(vae, text, world=WORLD_VERSION, **{**vars(job), "seeds": None})  # a sample's key has its seed
        marks = {f"{job.name}-{seed}": by for seed in job.seeds}
        with _missing_writer(folder / job.name, marks) as writer:
            if writer is None:
                continue
            batch_size = max(8, FRAMES_AT_ONCE // job.num_frames)
            left = [seed for seed in job.seeds if f"{job.name}-{seed}" not in writer.keys_done]
            batches = [left[start : start + batch_size] for start in range(0, len(left), batch_size)]
            began = time.monotonic()
            for n, (seeds, clips) in enumerate(zip(batches, ahead(job, batches, workers=1), strict=True)):
                for seed, clip, stored in zip(seeds, clips, encode_clips(vae, text, seeds, clips), strict=True):
                    members = to_members(stored, [len(one) for one in stored.texts], clip.truth)
                    columns = {"height": job.height, "width": job.width, "num_frames": job.num_frames, "of": by}
                    writer.add(f"{job.name}-{seed}", members, columns=columns)
                if n % 25 == 24 or n + 1 == len(batches):
                    made = min(len(left), (n + 1) * batch_size)
                    rate = made / (time.monotonic() - began)
                    print(f"{job.name}: {made} of {len(left)} clips, {rate:.1f} a second", file=sys.stderr, flush=True)


def write_clip_latents(
    folder: Path,
    source: Shards,
    vae: Codec,
    text: TextEncoder,
    *,
    side: int,
    workers: int = 2,
    timeout_seconds: float = 600.0,
) -> None:
    """Write latents of curated clips, each at its own size and length.

    Broken samples are skipped and reported. Latents of other clips, or of earlier versions of these
    clips, are replaced.

    side:            heights and widths are multiples of this, in pixels
    workers:         processes that decode; the output does not depend on their number
    timeout_seconds: for one sample; one that hangs or crashes its process is skipped alone

    Raises UsageError if no sample is left.
    """
    stage, skipped = Decode(source, side, vae.strides.frames), 0
    by = made_of(vae, text, side=side)
    marks = {key: f"{source.mark(n)} {by}" for n, key in enumerate(source.keys)}
    with _missing_writer(folder, marks) as writer:
        if writer is None:
            return
        left = [n for n, key in enumerate(source.keys) if key not in writer.keys_done]
        with Pool(stage, workers, timeout_seconds) as pool, closing(pool.run(stage.rows(left))) as results:
            for done, (n, clip) in enumerate((each for result in results for each in decoded(result)), 1):
                if isinstance(clip, str):
                    skipped += 1
                    print(f"skipped: {clip} ({skipped} so far)", file=sys.stderr, flush=True)
                else:
                    (stored,) = encode_clips(vae, text, [n], [clip])
                    height, width = clip.frames.shape[1:3]
                    columns = {"height": height, "width": width, "num_frames": len(clip.frames), "of": marks[clip.key]}
                    lengths = [len(one) for one in stored.texts]
                    writer.add(clip.key, to_members(stored, lengths, {}), columns=columns)
                if done % 50 == 0 or done == len(left):
                    print(f"{source.folder}: {done} of {len(left)} clips encoded", file=sys.stderr, flush=True)
        if not writer.keys_done:
            raise UsageError(f"none of the {len(source)} clips in {source.folder} can be trained on.")


def clip_marks(source: Shards, vae: Codec, text: TextEncoder, *, side: int) -> dict[str, str]:
    """Inputs of the latents of curated clips, by key of the sample: its content and encoders."""
    by = made_of(vae, text, side=side)
    return {key: f"{source.mark(n)} {by}" for n, key in enumerate(source.keys)}


def digest_of(marks: Mapping[str, str]) -> str:
    """SHA-256 of the inputs of samples."""
    return hashlib.sha256(json.dumps(sorted(marks.items())).encode("utf-8", "surrogatepass")).hexdigest()


def made_of(vae: Codec, text: TextEncoder, **parts: object) -> str:
    """Digest of the inputs of stored latents: codec, text encoder and `parts`, by name."""
    every = {"vae": fingerprint(vae), "text": text.fingerprint, "inside": INSIDE, **parts}
    return hashlib.sha256(json.dumps(every, sort_keys=True, default=_by_name).encode()).hexdigest()[:16]


def _by_name(value: object) -> object:
    """JSON form of other values: functions by module, name and bound arguments; data classes."""
    if isinstance(value, partial):
        return {"of": value.func, "args": value.args, **value.keywords}
    if is_dataclass(value) and not isinstance(value, type):
        return {"of": type(value), **{each.name: getattr(value, each.name) for each in fields(value)}}
    if isinstance(value, range):
        return {"of": range, "args": [value.start, value.stop, value.step]}
    if isinstance(value, type | FunctionType):
        assert "<" not in value.__qualname__, f"{value.__qualname__} has no name of its own, to identify it"
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be part of the key of stored latents")


def fingerprint(model: nn.Module | Codec) -> str:
    """CRC-32 over the first 64 values of each tensor, as eight digits."""
    some = torch.cat([weights.flatten()[:64].detach().float().cpu() for weights in model.state_dict().values()])
    return f"{zlib.crc32(some.numpy().tobytes()):08x}"


@contextmanager
def _missing_writer(folder: Path, marks: Mapping[str, str]) -> Iterator[ShardWriter | None]:
    """A writer for the missing samples; None if the folder is complete.

    It is complete if a file `whole` says so: then skipped samples are not tried again, and a
    resumed run reads the same data. Delete the file to try again.

    marks: digest of each wanted sample, by key
    """
    digest = hashlib.sha256(json.dumps(sorted(marks.items())).encode("utf-8", "surrogatepass")).hexdigest()
    whole = folder / "whole"
    if whole.exists() and whole.read_text(encoding="utf-8") == digest and any(folder.glob("[!.]*.parquet")):
        yield None
        return
    with one_run(folder, "and run the same command again"):
        whole.unlink(missing_ok=True)
        _remove_stale(folder, marks)
        with ShardWriter(folder) as writer:
            yield writer
        with replacing(whole) as temporary:
            temporary.write_text(digest, encoding="utf-8")


def _remove_stale(folder: Path, marks: Mapping[str, str]) -> None:
    """Remove all shards if any sample is not among the wanted ones."""
    if not any(folder.glob("[!.]*.parquet")):
        return
    held = Shards(folder)
    try:
        of = held.columns("of")
    except UsageError:  # written before this column existed
        of = [None] * len(held)
    if all(marks.get(key) == mark for key, mark in zip(held.keys, of, strict=True)):
        return
    print(
        f"{folder} is of other clips, another VAE or another text encoder: its latents are encoded again",
        file=sys.stderr,
        flush=True,
    )
    for file in sorted(folder.glob("[!.]*.parquet")) + sorted(
        folder.glob("*.tar")
    ):  # the index first: a shard without one is not read
        file.unlink()


@torch.no_grad()
def encode_clips(vae: Codec, text: TextEncoder, seeds: Sequence[int], clips: Sequence[Clip]) -> list[StoredClip]:
    """Encode clips of one size and length, with all their captions."""
    frames = to_float(torch.stack([clip.frames for clip in clips])).to(vae.latent_mean.device, vae.dtype)
    groups = vae.encode(frames).float().cpu()
    chosen = [_single_frames(frames.shape[1], vae.strides, Random(f"singles/{seed}")) for seed in seeds]
    if frames.shape[1] == 1:
        singles = groups
    else:
        alone = torch.stack([video[list(at)] for video, at in zip(frames, chosen, strict=True)])
        each = vae.encode(alone.flatten(0, 1)[:, None])[:, 0]
        singles = each.unflatten(0, alone.shape[:2]).float().cpu()
    encoded = iter(text.encode([caption.text for clip in clips for caption in clip.captions]).split())
    return [
        StoredClip(
            groups=groups[n],
            singles=singles[n],
            frames=chosen[n],
            fps=clip.fps,
            captions=clip.captions,
            texts=tuple(tokens.cpu() for tokens in islice(encoded, len(clip.captions))),
            stride=vae.strides.frames,
            hints=None if clip.hints is None else clip.hints[[*_middles(len(groups[n]), vae.strides), *chosen[n]]],
        )
        for n, clip in enumerate(clips)
    ]


def _middles(latents: int, strides: Strides) -> list[int]:
    """The middle frame of each latent's group, from which its hints are taken."""
    return [span[len(span) // 2] for span in map(strides.span, range(latents))]


def _single_frames(num_frames: int, strides: Strides, rng: Random) -> tuple[int, ...]:
    ends = range(0, num_frames, strides.frames)
    inside = [frame for frame in range(num_frames) if frame % strides.frames]
    return tuple(sorted([*ends, *rng.sample(inside, min(INSIDE, len(inside)))]))
