# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pretrained vision-language models on this machine: where one lies, which one it is, and loading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from apprentice.robot.model_folders import INSTALL, MODELS, require, search


def find_model(name: str, download: bool = False) -> Path:
    """The folder of a model: ``name`` as a path, its last part in a folder of ``APPRENTICE_MODELS``, or the
    hub's cache on this machine.

    Args:
        download: a hub name that is not in the cache may be fetched from the Hugging Face hub.

    Raises ValueError for an empty name, FileNotFoundError with the places looked at and the remedies.
    """
    if not name:
        raise ValueError(
            'policy.backbone.model is empty; give the folder of a vision-language model, as save_pretrained '
            'or `hf download` makes it'
        )
    found = search(name, download)
    if found.folder is not None:
        return found.folder
    on_hub = found.on_hub
    looked = ', '.join(str(place) for place in found.places)
    raise FileNotFoundError(
        f'no model {name!r} (a folder with config.json, tokenizer and safetensors); looked at: {looked}'
        f'{" and in the cache of the hub" if on_hub else ""}. Give the path of the folder, or put the folder '
        f'that holds it in the environment variable {MODELS}'
        f'{", or allow the download with policy.backbone.download=true" if on_hub and not download else ""}'
    )


def load_model(folder: Path, dtype: str, quantize: str, layers: int) -> Any:
    """The model of a folder without its language head, in evaluation mode.

    Args:
        dtype: of the weights, ``float32`` or ``bfloat16``.
        quantize: '', or ``8bit`` or ``4bit`` for the linear layers (bitsandbytes).
        layers: of the language model, from the first; 0: all.

    Raises ValueError for a folder that holds something else or not all of the weights.
    """
    transformers = require('transformers', INSTALL)
    options: dict[str, Any] = {'dtype': getattr(torch, dtype)}
    if quantize:
        require('bitsandbytes', 'bitsandbytes')
        bits: dict[str, Any] = {'load_in_8bit': True}
        if quantize == '4bit':
            bits = {
                'bnb_4bit_quant_type': 'nf4',
                'bnb_4bit_compute_dtype': options['dtype'],
                'load_in_4bit': True,
            }
        options['quantization_config'] = transformers.BitsAndBytesConfig(**bits)
    try:
        whole, report = transformers.AutoModelForImageTextToText.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f'{folder} does not load as a vision-language model: {error}') from error
    model = whole.base_model
    inside = '' if model is whole else f'{whole.base_model_prefix}.'
    names = {f'{inside}{name}' for name in model.state_dict()}
    mismatched = [item[0] if isinstance(item, tuple) else item for item in report['mismatched_keys']]
    lost = sorted(names & {*report['missing_keys'], *mismatched})
    if lost:  # transformers would go on with random numbers
        raise ValueError(
            f'{folder} lacks {len(lost)} weights of its own configuration, such as {lost[0]}; copy it again'
        )
    decoder = model.get_decoder()
    if layers:
        _cut(decoder, layers)
    return model.eval()


def _cut(decoder: Any, layers: int) -> None:
    total = len(decoder.layers)
    if not 0 < layers <= total:
        raise ValueError(f'policy.backbone.layers is {layers}; the language model has {total}')
    decoder.layers = decoder.layers[:layers]
    decoder.config.num_hidden_layers = layers


def load_processor(folder: Path) -> Any:
    """Tokenizer and image processor of a folder, together. Raises ValueError if one of them is missing."""
    transformers = require('transformers', INSTALL)
    try:
        processor = transformers.AutoProcessor.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f'{folder} has no usable processor: {error}') from error
    missing = [part for part in ('tokenizer', 'image_processor') if not hasattr(processor, part)]
    if missing:
        raise ValueError(f'{folder} lacks the files of {" and ".join(missing)}; copy it again, complete')
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                f'the tokenizer in {folder} has no padding token; set pad_token and save it again'
            )
        tokenizer.pad_token = tokenizer.eos_token
    return processor
