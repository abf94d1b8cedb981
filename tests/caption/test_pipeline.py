"""Models of `transformers` as captioners: two tiny random ones, one with a chat template."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from minisora.caption.adapters import Pipeline, captions_named
from minisora.errors import UsageError
from minisora.video import Video

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "<image>", "a", "red", "ball"]
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{{ '<image> ' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{% endfor %}"
)


def clips(count: int) -> list[Video]:
    return [Video(torch.full((5, 20, 30, 3), 40 * n, dtype=torch.uint8), 8.0) for n in range(count)]


def blip(folder: Path) -> None:
    """Without a chat template: one picture, no question."""
    text = {"vocab_size": len(WORDS), "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text |= {"max_position_embeddings": 450, "encoder_hidden_size": 16}
    config = BlipConfig(text_config={**text, **SMALL}, vision_config={"image_size": 32, "patch_size": 16, **SMALL})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


def llava(folder: Path) -> None:
    """With one: several pictures and a question."""
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", eos_token="[SEP]", additional_special_tokens=["<image>"]
    )
    vision = {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 16, "projection_dim": 16, **SMALL}
    text = {"model_type": "llama", "vocab_size": len(WORDS), "eos_token_id": 3, "pad_token_id": 0, **SMALL}
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=6, vision_feature_layer=-1)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    ).save_pretrained(folder)


@pytest.mark.parametrize(("make", "chats"), [(blip, False), (llava, True)])
def test_a_model_captions_several_clips(tmp_path, make, chats):
    torch.manual_seed(0)
    make(tmp_path)
    captions = captions_named(f"hf:{tmp_path}")
    assert isinstance(captions, Pipeline) and captions._chats == chats
    said = captions(clips(3))
    assert len(said) == 3 and all(one is not None for one in said)
    assert all("frames of one video" not in str(one) for one in said), "the question is no answer"
    assert captions([]) == []


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(UsageError, match="cannot be loaded to caption videos"):
        captions_named(f"hf:{tmp_path}")
