"""Gen-1 and Gen-2 of Runway: video from a picture and from a video.

Esser, Chiu, Atighehchian, Granskog and Germanidis 2023, "Structure and Content-Guided Video
Synthesis with Diffusion Models", arXiv:2302.03011 (Gen-1). Gen-2, of the same year, has no paper.

What was new: video was taken apart into structure and content. A latent diffusion model of pictures
is given layers over time and trained on pictures and clips together; what it is told is the depth
of each frame, estimated and blurred by a known amount (structure), and the CLIP embedding of a
frame (content). A clip can then be drawn again in the look of a text or a picture, and the blur
says how closely its shapes are kept. A second guidance scale, between the model with and without
its layers over time, says how smooth the result is. It was among the first such models that people
could use in a browser; Gen-2 left structure out and began with a text or a picture, which is what
"image to video" has meant since. Before it: SDEdit (arXiv:2108.01073), Tune-A-Video
(arXiv:2212.11565), CogVideo (arXiv:2205.15868) on a frozen model of pictures. After it:
AnimateDiff, I2VGen-XL and Stable Video Diffusion in the open, and Sora (sora.py), which animates,
extends and edits with one network.

Where it stands here:

    Gen-2, a picture comes alive   minisora animate; in the studio a picture on the timeline of Make
                                   (studio/page/main.js), or `input_reference` of POST /v1/videos
    several pictures               --at SECONDS=FILE: moments in between, not only the first
    Gen-1, a clip in another look  minisora edit CLIP PROMPT, by noise (SDEdit), or with --source by
                                   the difference of two texts (FlowEdit); --strength says how
                                   closely the clip is kept, as the blur of depth does there
    one region of it               minisora inpaint

Structure and content are not told apart by extra networks: a frame that is given is a token without
noise in the same transformer (generate/canvas.py), so any verb that keeps frames is the same call,
and those frames are exact. The scale for time has its kin in guidance away from what is given
(generate/window.py; docs/log.md, entries 31 and 33).

What was measured, on held-out clips of the playroom (docs/sora.md, n = 24; embedded weights of
world 1):

| verb | measure | here |
| --- | --- | --- |
| animate | given frames are exact | 1.000 of clips |
| animate | motion, of the real clip's | 0.98 |
| animate | where things are: share of the gap between no model and the real clip | 0.54 |
| edit | the new colour is shown | 0.83 of clips |
| edit, FlowEdit | overlap of masks with the clip's own (SDEdit; ceiling) | 0.48 (0.34; 0.92) |

Before guidance was lessened, `animate` moved 1.67 times as much as real clips (entry 33): motion is
what a guidance scale distorts first, which is why Gen-1 has one of its own for it.

What is missing: photographs do not come alive, as these weights know the playroom only, and there
is no control by depth.
"""

from __future__ import annotations

from minisora.zoo.frame.entry import Entry, Paper

ENTRY = Entry(
    name="runway",
    title="Gen-1, Gen-2",
    paper=Paper(
        authors="Esser, Chiu, Atighehchian, Granskog and Germanidis",
        year=2023,
        title="Structure and Content-Guided Video Synthesis with Diffusion Models",
        arxiv="2302.03011",
    ),
    family="elsewhere",
    new="A clip is drawn again by its structure and another content; a picture comes alive.",
    after=("ddpm", "latent_diffusion", "video_diffusion"),
    runs='minisora animate start.png "a red ball rolls to the right" --seconds 2 -o alive.mp4',
)
