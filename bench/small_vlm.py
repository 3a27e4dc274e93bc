# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Folders as `save_pretrained` makes them: vision-language models of the real classes, small, with random
weights and a few words. For tests, and for the table of reward models: what knows nothing must lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

SIZE = 56  # pixels, sides of a picture
CAMERAS = {'front': (SIZE, SIZE), 'wrist': (SIZE, SIZE)}
LAYERS = 3  # of the language model
WORDS = (
    'robot task image First Second Now example done the red cube pick up blue percent of 0 1 2 3 4 5 6 7 8 9 '
    '+ - yes no Yes No True False user assistant User Assistant score target % : . ? '
    'put a into box slowly and then close it now'
)
QWEN_TEMPLATE = (
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == "image" %}'
    '<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n'
    '{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)
INTERN_TEMPLATE = QWEN_TEMPLATE.replace('<|vision_start|><|image_pad|><|vision_end|>', '<IMG_CONTEXT>\n')
SMOL_TEMPLATE = (
    '<bos>{% for m in messages %}User{% if m.content[0].type == "image" %}:{% else %}: {% endif %}'
    '{% for c in m.content %}{% if c.type == "image" %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}'
    '<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}'
)


def make_tokenizer(
    special: list[str], words: str = WORDS, **named: str
) -> transformers.PreTrainedTokenizerFast:
    """A word a token, and a digit a token."""
    names = list(
        dict.fromkeys(['<pad>', '<unk>', '<bos>', '<eos>', *special, *named.values(), *words.split()])
    )
    raw = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token='<unk>'))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    options = {'extra_special_tokens': named} if named else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token='<pad>',
        unk_token='<unk>',
        bos_token='<bos>',
        eos_token='<eos>',
        additional_special_tokens=special,
        padding_side='left',
        **options,
    )


def language(tokenizer: transformers.PreTrainedTokenizerFast, context: int, key_heads: int = 2) -> dict:
    """Sizes of a language model that all families understand.

    Args:
        context: tokens it takes.
    """
    return {
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_hidden_layers': LAYERS,
        'num_attention_heads': 4,
        'num_key_value_heads': key_heads,
        'vocab_size': len(tokenizer),
        'max_position_embeddings': context,
        'initializer_range': 0.2,  # larger than usual, so that what should not matter would be seen
        'pad_token_id': tokenizer.pad_token_id,
        'bos_token_id': tokenizer.bos_token_id,
        'eos_token_id': tokenizer.eos_token_id,
    }


def vision(**sizes) -> dict:
    """Sizes of an image tower."""
    return {'hidden_size': 32, 'intermediate_size': 48, 'initializer_range': 0.2, **sizes}


def qwen2_5_vl(folder: Path, seed: int = 0, words: str = WORDS, context: int = 1024) -> None:
    """Qwen2.5-VL."""
    tokenizer = make_tokenizer(
        [
            '<|im_start|>',
            '<|im_end|>',
            '<|vision_start|>',
            '<|vision_end|>',
            '<|image_pad|>',
            '<|video_pad|>',
        ],
        words,
    )
    number = tokenizer.convert_tokens_to_ids
    text = language(tokenizer, context)
    text['rope_parameters'] = {'rope_type': 'default', 'rope_theta': 1e6, 'mrope_section': [2, 1, 1]}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision(depth=2, num_heads=2, out_hidden_size=32, fullatt_block_indexes=[1]),
        image_token_id=number('<|image_pad|>'),
        video_token_id=number('<|video_pad|>'),
        vision_start_token_id=number('<|vision_start|>'),
        vision_end_token_id=number('<|vision_end|>'),
        tie_word_embeddings=True,
    )
    processor = transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(size={'shortest_edge': 28 * 28, 'longest_edge': 112 * 112}),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    write(transformers.Qwen2_5_VLForConditionalGeneration, config, processor, folder, seed)


def internvl(folder: Path, seed: int = 0, words: str = WORDS, context: int = 1024) -> None:
    """InternVL3."""
    tokenizer = make_tokenizer(
        ['<|im_start|>', '<|im_end|>'],
        words,
        start_image_token='<img>',
        end_image_token='</img>',
        context_image_token='<IMG_CONTEXT>',
        video_token='<video>',
    )
    config = transformers.InternVLConfig(
        text_config={'model_type': 'qwen2', **language(tokenizer, context)},
        vision_config=vision(
            num_hidden_layers=2, num_attention_heads=2, image_size=[SIZE, SIZE], patch_size=[14, 14]
        ),
        image_token_id=tokenizer.convert_tokens_to_ids('<IMG_CONTEXT>'),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    processor = transformers.InternVLProcessor(
        transformers.GotOcr2ImageProcessor(size={'height': SIZE, 'width': SIZE}, crop_to_patches=True),
        tokenizer,
        transformers.InternVLVideoProcessor(size={'height': SIZE, 'width': SIZE}),
        image_seq_length=4,
        chat_template=INTERN_TEMPLATE,
    )
    write(transformers.InternVLForConditionalGeneration, config, processor, folder, seed)


def smolvlm(folder: Path, seed: int = 0, words: str = WORDS, context: int = 1024) -> None:
    """SmolVLM."""
    tokenizer = make_tokenizer(
        ['<image>', '<video>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>']
        + [f'<row_{row}_col_{column}>' for row in (1, 2) for column in (1, 2)],
        words,
    )
    config = transformers.SmolVLMConfig(
        text_config={'model_type': 'llama', **language(tokenizer, context)},
        vision_config=vision(num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8),
        image_token_id=tokenizer.convert_tokens_to_ids('<image>'),
        scale_factor=2,
        tie_word_embeddings=False,
    )
    sizes = {'size': {'longest_edge': 64}, 'max_image_size': {'longest_edge': 32}}
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(**sizes, do_image_splitting=True),
        tokenizer,
        transformers.SmolVLMVideoProcessor(**sizes),
        image_seq_len=4,
        chat_template=SMOL_TEMPLATE,
    )
    write(transformers.SmolVLMForConditionalGeneration, config, processor, folder, seed)


def paligemma(folder: Path, seed: int = 0, words: str = WORDS, context: int = 1024) -> None:
    """PaliGemma: no chat model; for policies."""
    tokenizer = make_tokenizer(['<image>'], words)
    processor = transformers.PaliGemmaProcessor(
        transformers.SiglipImageProcessor(size={'height': 28, 'width': 28}, image_seq_length=4), tokenizer
    )
    config = transformers.PaliGemmaConfig(
        text_config={'model_type': 'gemma', 'head_dim': 8, **language(tokenizer, context, key_heads=1)},
        vision_config={
            'model_type': 'siglip_vision_model',
            'vision_use_head': False,
            **vision(num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14),
        },
        image_token_index=tokenizer.convert_tokens_to_ids('<image>'),
        vocab_size=len(tokenizer),
        projection_dim=32,
        hidden_size=32,
    )
    write(transformers.PaliGemmaForConditionalGeneration, config, processor, folder, seed)


def write(kind: type, config: Any, processor: Any, folder: Path, seed: int) -> None:
    """A model of this class with the random weights of ``seed``, and its processor."""
    torch.manual_seed(seed)
    kind(config).save_pretrained(folder)
    processor.save_pretrained(folder)


CHAT = {'qwen2_5_vl': qwen2_5_vl, 'internvl': internvl, 'smolvlm': smolvlm}  # what can be asked questions
FAMILIES = {'qwen2_5_vl': qwen2_5_vl, 'smolvlm': smolvlm, 'paligemma': paligemma}  # for policies
