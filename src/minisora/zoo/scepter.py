"""SCEPTER: a studio for pictures, and tuning by skip connections.

Jiang, Mao, Pan, Han and Zhang 2023, "SCEdit: Efficient and Controllable Image Diffusion Generation
via Skip Connection Editing", arXiv:2312.11392; its studio is SCEPTER (modelscope/scepter).

What was new: a place to change a large model cheaply. In a U-Net the skip connections carry what
the encoder saw to the decoder; without them pictures lose their detail. So a small network on each
skip connection (SC-Tuner: what passes, plus an adapter's answer to it) is all that is trained, and
no gradient goes through the encoder. The same tuner with a condition as its input (CSC-Tuner:
edges, depth, poses) controls what is drawn, and several add up. Around it SCEPTER is a framework to
train, tune and run such models, with a studio in the browser for people who write no code: models
and tuners are picked from lists, data is prepared, trained on and tried in one page. Before it:
LoRA (arXiv:2106.09685) and ControlNet (arXiv:2302.05543), which copies half of the network. After
it: transformers without skip connections (dit.py), where low-rank adapters won.

Where it stands here:

    the studio       minisora studio: a server with a queue and a library, and a page that needs no
                     build (studio/page/main.js); pictures are its verb `image`, and any verb takes
                     a picture from the library
    without it       minisora image, in a terminal or in Python (generate/)
    tuning           low-rank adapters, as the house's network has no skip connections: dit/lora.py,
                     minisora train fine-tune --lora 8
    editing          minisora edit, inpaint and outpaint, of clips; a picture is a clip of one frame
    preparing data   minisora curate, minisora caption; pictures by `input: {pictures: true}`

What was measured. Pictures of the embedded weights of world 1 (docs/sora.md, n = 12; 0 is no
understanding, 1 a real render):

| side | colour | shape | count |
| --- | --- | --- | --- |
| 64 | 0.87 | 0.52 | 0.24 |
| 256 | 0.87 | 0.32 | 0.15 |

2048x2048 takes 124 s and 1.8 GiB on two cores (docs/log.md, entry 37): it is drawn small first and
then in parts, so it has no more detail than the small one. First frames of world 2: colour 0.97,
shape 0.84, count 0.84 (n = 200, entry 72). Tuning on twenty clips of a colour that the model never
saw, seven minutes on two cores: it is shown in 0.60 of what asks for it (before: none; ceiling
0.83) and in 0.03 of what does not (entry 56). The studio costs 39 ms a video beside the model's
own time, and no job was lost or made twice when its processes were killed (entry 81).

What is missing: controls by edges, depth or poses. A region, a first frame or moments in between
can be given; a drawing of the layout cannot.
"""

from __future__ import annotations

from minisora.zoo.frame.entry import Entry, Paper

ENTRY = Entry(
    name="scepter",
    title="SCEPTER",
    paper=Paper(
        authors="Jiang, Mao, Pan, Han and Zhang",
        year=2023,
        title="SCEdit: Efficient and Controllable Image Diffusion Generation via Skip Connection Editing",
        arxiv="2312.11392",
    ),
    family="elsewhere",
    new="Small tuners on skip connections change a large model, from a studio in the browser.",
    after=("ddpm", "latent_diffusion"),
    runs="minisora studio",
)
