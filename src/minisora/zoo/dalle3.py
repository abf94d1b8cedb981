"""DALL-E 3: better captions instead of a better model.

Betker, Goh, Jing, Brooks et al. 2023, "Improving Image Generation with Better Captions", OpenAI (a
report of October 2023, not on arXiv).

What was new: the answer to why models of text to image ignore half of what they are asked for. The
captions of the web name the main thing, or the shop, and leave out where things are, how many and
what colour; a model can learn no words that its training does not use. So a captioner was trained,
first to say what is there and then to say it at length, and nearly all of the training data was
told anew. The same diffusion model followed prompts better the larger the share of generated
captions was, up to the 95 % of DALL-E 3; the rest keeps what people really write. As the model then
expects long captions, a language model lengthens the prompts of its users. Before it: captions of
alt-texts, and bootstrapped captions (BLIP, arXiv:2201.12086). After it: Sora (sora.py), whose
report names both halves, and most open models since.

Where it stands here:

    captioner      caption/model.py, our own, which learns to tell of the playroom; any model of
                   transformers, or a server's (caption/adapters.py)
    telling anew   minisora caption OUT --write jsonl; --long adds a long caption to a short one,
                   and training draws among them
    its use        `captions: {file: ...}` in a recipe of minisora curate
    longer prompts text/expand.py, --expand of all verbs

What captions are worth was measured by benchmarks/recaption.py (docs/log.md, entry 63). The same
300 clips of the playroom are told by the captioner, truly, and by the words of other scenes; the
embedded model is trained on by 150 steps of each, and shown held-out clips with their true words:

| trained on | loss | what words are worth |
| --- | --- | --- |
| the captioner's words | 0.325 (0.310 to 0.340) | 0.145 (0.130 to 0.159) |
| the true ones | 0.325 | 0.138 |
| those of other scenes | 0.349 | 0.010 |
| not trained on | 0.322 (0.307 to 0.337) | 0.127 (0.114 to 0.139) |

What words are worth is how much the loss rises with another clip's words: what the model makes of
text. Generated captions come 0.98 of the way from wrong to true ones in the loss, so they cost
nothing against the truth; wrong ones make a model deaf within 150 steps. The captioner was right
in all in 0.97 of held-out clips of that world, and false in something in 0.08 (entry 62).

What is not shown: that long captions follow better than short ones. With the weights of world 1
longer prompts made no difference that is significant (entry 82), which fits the paper: those
weights were not trained on long captions. Those of world 2 are (entry 67).
"""

from __future__ import annotations

from minisora.zoo.frame.entry import Entry, Paper

ENTRY = Entry(
    name="dalle3",
    title="DALL-E 3",
    paper=Paper(authors="Betker et al.", year=2023, title="Improving Image Generation with Better Captions", arxiv=""),
    family="elsewhere",
    new="A captioner tells all training data anew, and the same model follows prompts.",
    after=("latent_diffusion",),
    runs="minisora caption videos --long --write txt",
)
