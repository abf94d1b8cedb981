"""Data-Juicer: data as a recipe of operators.

Chen, Huang, Ma et al. 2023, "Data-Juicer: A One-Stop Data Processing System for Large Language
Models", arXiv:2309.02033.

What was new: what had been a folder of scripts for each data set became a library of operators
behind one interface (mappers change a sample, filters score and select, deduplicators compare), put
together by a recipe in YAML, with fused passes, caches, a cluster underneath and a loop of
feedback: statistics of what was dropped, and small models trained on the data of each recipe. It
began with text; operators of pictures, sound and video followed, and a sandbox in which a recipe is
chosen by what models make of it (arXiv:2407.11784). Before it: the cleaning of C4, The Pile and
RefinedWeb, each with code of its own. After it: the pipelines of open video models, which score the
motion, text, looks and captions of millions of clips by the same list. Sora (sora.py) says nothing
of its own.

Where it stands here: `minisora curate RECIPE.yaml` (curate/, docs/curation.md). A recipe has no
list of operators: all scores of curate/scores.py are measured in one pass over a file and kept, and
a threshold selects afterwards, so that changing one measures nothing again. Networks are scorers,
behind a protocol of one method (curate/learned.py). For their video operators:

| their operator | here | the same score? |
| --- | --- | --- |
| video_duration_filter | `duration` | yes, in seconds |
| video_resolution_filter | `width`, `height`, `short_side` | yes |
| video_aspect_ratio_filter | `aspect` | yes, width by height |
| video_motion_score_filter | `motion` | rank correlation 0.90 with theirs in shares of the frame |
| video_motion_score_raft_filter | `motion`, `object_motion` | another flow, camera taken off |
| video_ocr_area_ratio_filter | `text_area` | the same ratio, boxes of another network |
| video_nsfw_filter | `nsfw` | another network; the worst frame counts in ours |
| video_aesthetics_filter | `module:factory` | their network as a scorer of your own |
| video_watermark_filter | `module:factory` | likewise |
| video_frames_text_similarity_filter | `module:factory` | likewise; it reads captions |
| video_tagging_from_frames_filter | `module:factory` | likewise |
| video_split_by_scene_mapper | `cuts`, `input.shots` | the shots of PySceneDetect, as theirs |
| video_split_by_duration_mapper | `clips.seconds` | pieces of equal length |
| video_resize_resolution_mapper | `clips.longest_side` | nothing is enlarged |
| video_ffmpeg_wrapped_mapper | `clips.fps`, `clips.codec`, `clips.crf` | the usual of it |
| video_deduplicator | `duplicates.distance` | files of equal bytes in theirs, near frames in ours |
| video_captioning_from_video_mapper | `minisora caption` | any model of transformers, or a server |
| words_num_filter | `caption_words` | of the longest caption |
| character_repetition_filter | `caption_repeat` | words in a row of three in ours |
| special_characters_filter | `caption_symbols` | the worst caption counts |

Ours alone: how the camera moves (`pan`, `tilt`, `zoom`, `roll`, `orbit`, `shake`), what a file
hides (`frozen_share`, `faded_share`, `damaged_share`, `interlaced`, `hdr`) and black bars
(`bars_share`). Theirs alone: faces, sound, aesthetics and watermarks with their networks at hand,
language models as judges. Lists of clips in its layout are written by `export: [datajuicer]`
(curate/exporters.py).

What was measured (benchmarks/curate.py; docs/log.md, entry 52; two cores): 12 films of 8 s, for
duration, aspect, resolution and motion, 5.14 files a second against 0.11 of py-data-juicer 1.6.1,
45 times by wall and 24 by CPU, since it runs Farneback's flow on whole frames and ours DIS on small
ones. The shots of 16 films were those of PySceneDetect in all files. In pixels instead of shares
the correlation of motion falls to 0.64 over films of three sizes: its plain score grows with the
size of the frame.
"""

from __future__ import annotations

from minisora.zoo.frame.entry import Entry, Paper

ENTRY = Entry(
    name="data_juicer",
    title="Data-Juicer",
    paper=Paper(
        authors="Chen et al.",
        year=2023,
        title="Data-Juicer: A One-Stop Data Processing System for Large Language Models",
        arxiv="2309.02033",
    ),
    family="elsewhere",
    new="Cleaning data is a recipe of operators with scores that can be looked at.",
    runs="minisora curate recipe.yaml --dry-run",
)
