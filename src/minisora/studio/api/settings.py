"""Settings of the interface: who may call it, and bounds on what they send and ask for.

Here: the values. Not here: what enforces them (guard.py, form.py, uploads.py, bounds.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UploadBounds:
    """Bounds of one file that a client sends.

    pixels:         of one frame
    decode_bytes:   memory of the process that decodes it
    decode_seconds: time of that process
    """

    size_bytes: int = 256 << 20
    pixels: int = 16 << 20
    frames: int = 3600
    seconds: float = 300.0
    decode_bytes: int = 2 << 30
    decode_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class DownloadBounds:
    """Bounds of files that are converted for a download.

    decode_bytes, decode_seconds: memory and time of the process that converts one
    file_bytes: of a file that it writes, on the way too: a gif's frames wait on the disk as pixels
    kept_bytes: of all that are kept
    """

    decode_bytes: int = 4 << 30
    decode_seconds: float = 600.0
    file_bytes: int = 2 << 30
    kept_bytes: int = 4 << 30


@dataclass(frozen=True, kw_only=True)
class BodyBounds:
    """Bounds of one body.

    text_bytes:   of JSON, or of all fields of a form that are no files
    idle_seconds: longest pause between two pieces of it
    """

    size_bytes: int = 512 << 20
    files: int = 20
    fields: int = 400
    text_bytes: int = 4 << 20
    idle_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class VideoBounds:
    """Bounds of a video that a client asks for.

    pixels: of one frame
    """

    pixels: int = 8 << 20
    seconds: float = 120.0
    frames: int = 3600
    prompt_letters: int = 32_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the interface.

    needs_token: False: everyone who reaches the server may do everything
    hosts:       names by which clients may call the server, besides localhost and IP addresses
    origins:     of pages on other servers that may call this one, such as https://example.org
    log_prompts: write prompts to the log
    webhooks:    networks that webhooks may go to though they are not public, such as 10.0.0.0/8
    """

    needs_token: bool = True
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    log_prompts: bool = False
    webhooks: tuple[str, ...] = ()
    upload: UploadBounds = UploadBounds()
    download: DownloadBounds = DownloadBounds()
    body: BodyBounds = BodyBounds()
    video: VideoBounds = VideoBounds()
