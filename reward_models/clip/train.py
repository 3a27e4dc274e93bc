# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Train a small open_clip model on pictures and true sentences about them.

The standard contrastive loss takes every other sentence of a batch for wrong; here many pictures
share their sentences, so both directions use soft targets spread over all true pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.clip.bpe import learn_merges, vocabulary_size, write_merges
from apprentice.reward_models.clip.encoder import CONFIG, VOCABULARY, WEIGHTS
from apprentice.reward_models.clip.prompts import Prompts
from apprentice.reward_models.files import write_half, write_json

REWARD = 'reward.json'  # prompts and constants of the reward that belongs to the weights

Progress = Callable[[int, float], None]


def architecture(size: int, vocabulary: int, width: int = 12, embed_dim: int = 96) -> dict[str, Any]:
    """An open_clip configuration for ``size`` x ``size`` pictures: a small ResNet and a small transformer."""
    return {
        'model_cfg': {
            'embed_dim': embed_dim,
            'vision_cfg': {
                'image_size': size,
                'layers': [1, 1, 1, 1],
                'width': width,
                'head_width': 64,
            },
            'text_cfg': {
                'context_length': 20,
                'vocab_size': vocabulary,
                'width': 64,
                'heads': 2,
                'layers': 2,
            },
        },
        'preprocess_cfg': {
            'size': size,
            'mean': [0.5, 0.5, 0.5],
            'std': [0.25, 0.25, 0.25],
            'interpolation': 'bicubic',
            'resize_mode': 'squash',
        },
    }


def train_clip(
    images: np.ndarray,
    captions: Sequence[Sequence[str]],
    sentences: Sequence[str],
    folder: Path,
    prompts: Prompts,
    reward: dict[str, Any],
    seed: int = 0,
    steps: int = 700,
    batch: int = 128,
    learning_rate: float = 2e-3,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Train and write a folder that :class:`ClipEncoder` and :class:`ClipReward` load.

    Args:
        images: uint8 [N, H, W, 3], square.
        captions: the true sentences of each image.
        sentences: all sentences; one that is not in an image's captions is taken to be false of it.
        folder: is made; existing files of the same names are replaced.
        prompts: stored beside the weights.
        reward: further fields of ``reward.json`` (alpha, cameras).
        seed: of initialisation, batches and augmentation.
        progress: called with (step, loss).

    Returns:
        final loss, seconds and parameters.
    """
    import open_clip
    import torch
    import torch.nn.functional as functional

    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.dtype != np.uint8:
        raise RewardModelError(f'images must be uint8 [N, S, S, 3], got {images.dtype} {images.shape}')
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    instructions = [prompts.instruction.format(object=item) for item in prompts.objects]
    texts = [*sentences, *instructions]
    merges = learn_merges(texts, 400)
    write_merges(folder / VOCABULARY, merges)
    config = architecture(images.shape[1], vocabulary_size(merges))
    write_json(folder / CONFIG, config)
    model = open_clip.create_model(f'local-dir:{folder}', load_weights=False)
    model = model.to(memory_format=torch.channels_last)  # half the time of a step on a CPU
    tokenizer = open_clip.get_tokenizer(f'local-dir:{folder}', bpe_path=str(folder / VOCABULARY))
    tokens = tokenizer(list(sentences))

    index = {sentence: i for i, sentence in enumerate(sentences)}
    truth = np.zeros((len(images), len(sentences)), np.float32)
    for row, said in zip(truth, captions, strict=True):
        row[[index[sentence] for sentence in said]] = 1.0
    chance = _balanced(truth)
    mean = torch.tensor(config['preprocess_cfg']['mean']).view(1, 3, 1, 1)
    std = torch.tensor(config['preprocess_cfg']['std']).view(1, 3, 1, 1)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{'params': decay, 'weight_decay': 0.05}, {'params': rest, 'weight_decay': 0.0}], lr=learning_rate
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    began, loss_value = time.monotonic(), float('nan')
    for step in range(steps):
        rows = rng.choice(len(images), batch, p=chance)
        picture = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255.0
        target = torch.from_numpy(truth[rows])
        model.train()
        image = functional.normalize(model.encode_image((_augment(picture) - mean) / std), dim=-1)
        text = functional.normalize(model.encode_text(tokens), dim=-1)
        logits = model.logit_scale.exp() * image @ text.T
        loss = _soft_cross_entropy(logits, target) + _soft_cross_entropy(logits.T, target.T)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(100)))
        loss_value = float(loss.detach())
        if progress is not None:
            progress(step + 1, loss_value)
    model.eval()
    write_half(model, folder / WEIGHTS)
    write_json(folder / REWARD, {**reward, 'prompts': prompts.to_dict()})
    return {
        'loss': loss_value,
        'seconds': time.monotonic() - began,
        'parameters': float(sum(p.numel() for p in model.parameters())),
    }


def _soft_cross_entropy(logits: Any, target: Any) -> Any:
    """Cross entropy of rows with targets spread evenly over the true columns; empty rows are skipped."""
    total = target.sum(dim=1)
    rows = total > 0
    if not rows.any():
        return logits.sum() * 0.0
    share = target[rows] / total[rows, None]
    return -(share * logits[rows].log_softmax(dim=1)).sum(dim=1).mean()


def _balanced(truth: np.ndarray) -> np.ndarray:
    """Chance to draw each image: rare sentences (a grasp) are drawn more often than common ones."""
    often = np.maximum(truth.sum(axis=0), 1.0)
    weight = (truth / np.sqrt(often)).max(axis=1)
    return weight / weight.sum()


def _augment(picture: Any) -> Any:
    """Shift by up to 2 pixels, and change brightness, contrast and colour balance a little."""
    import torch
    import torch.nn.functional as functional

    n, _, height, width = picture.shape
    padded = functional.pad(picture, (2, 2, 2, 2), mode='replicate')
    across, down = (int(v) for v in torch.randint(0, 5, (2,)))
    picture = padded[:, :, down : down + height, across : across + width]
    gain = 1 + 0.3 * (torch.rand(n, 1, 1, 1) - 0.5) + 0.1 * (torch.rand(n, 3, 1, 1) - 0.5)
    bias = 0.15 * (torch.rand(n, 1, 1, 1) - 0.5)
    noise = 0.02 * torch.randn_like(picture)
    return (picture * gain + bias + noise).clamp(0, 1)
