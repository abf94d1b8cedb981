"""Sora: video generation models as world simulators.

Brooks, Peebles, Holmes, DePue, Guo, Jing, Schnurr, Taylor, Luhman, Luhman, Ng, Wang and Ramesh
2024, "Video generation models as world simulators", OpenAI (a report of 15 February 2024, not on
arXiv).

What was new: everything at once, at a scale that nobody had tried. A network compresses video in
time and space; patches of its latents are tokens; a diffusion transformer, told by long captions,
turns noisy patches into clean ones. Nothing is cut to one size: pictures and clips of any length
and shape train one model, which then makes any. Each of these was known, and is a paper of this
zoo; what was not known was that a minute of coherent video comes out, and with it things that
nobody put in: space that stays when the camera moves, things that come back after they were hidden,
strokes of a brush that remain. Hence the report's title, and its list of failures: glass that does
not break, food that is eaten and stays whole. Its size, data and cost were never told.

Which paper each claim goes back to, and where it stands in minisora:

| claim | paper here | in minisora |
| --- | --- | --- |
| latents of video | W.A.L.T's causal encoder, after latent diffusion | vae/model.py |
| spacetime patches as tokens | ViViT, DiT (dit.py) | data/patch.py |
| a diffusion transformer that scales | DiT (dit.py) | dit/model.py |
| noisy patches to clean ones | DDPM (ddpm.py), straight paths as in SiT | diffusion/path.py |
| native sizes and lengths | NaViT's packing, FiT | data/pack.py |
| re-captioning | DALL-E 3 (dalle3.py) | caption/model.py |
| longer prompts by a language model | DALL-E 3 (dalle3.py) | text/expand.py |
| animating, extending, editing | Gen-1 and Gen-2 (runway.py), SDEdit | generate/verbs.py |
| long videos | LWM (lwm.py) has the length, without the noise | generate/rollout.py |
| many devices for one sequence | ring_attention.py; by heads here | dit/ulysses.py |
| curated data | not told; Data-Juicer's list (data_juicer.py) | curate/scores.py |

docs/sora.md goes through the report claim by claim, with what was measured for each and what is
missing. In short, for the embedded weights of world 1, 9 million parameters trained for hours on
two CPU cores (share of the gap between no understanding and a real render, n = 200): colour 0.94,
count 0.67, camera 0.59, size 0.51, shape 0.44, direction 0.41, motion 0.31. Sixty seconds at 96x96
take about five minutes and 601 to 676 MiB. Frames that are given are exact in all verbs. Of the
emerging capabilities little is there: points keep their colour under a moving camera to 0.15 of the
gap, what was hidden comes back in 0.17 of frames, a rolling thing is where it should be to 0.79;
collisions are hardly better than the last frame, repeated.

So a figure here says whether a mechanism works and how far it is from the real renders of its own
world, and nothing of how it compares with Sora. What Sora shows that this room cannot is the claim
of its title, that the rest comes with scale.
"""

from __future__ import annotations

from minisora.zoo.frame.entry import Entry, Paper

ENTRY = Entry(
    name="sora",
    title="Sora",
    paper=Paper(
        authors="Brooks, Peebles et al.", year=2024, title="Video generation models as world simulators", arxiv=""
    ),
    family="elsewhere",
    new="All of it at once and at scale: a minute of video from patches of any size.",
    after=("dit", "dalle3", "runway", "latte", "walt", "navit", "vivit"),
    runs='minisora generate "a large red ball rolls to the left on grass" --seconds 4 -o sora.mp4',
)
