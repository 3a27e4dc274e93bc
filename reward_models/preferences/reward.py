# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward learned from comparisons, on the frozen embeddings of a CLIP model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.files import open_sealed, write_sealed
from apprentice.reward_models.preferences.ensemble import RewardEnsemble
from apprentice.robot.files import replacing
from apprentice.robot.types import RewardKind

CONFIG = 'preference.json'
WEIGHTS = 'preference.safetensors'


def pair_features(emb: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Views, their products with the text, and the text: [..., V, D] and [D] to float32 [..., 2 V D + D].

    The products let one head serve several instructions. Scaled so that entries are about 1.
    """
    scale = np.float32(emb.shape[-1] ** 0.5)
    lead = emb.shape[:-2]
    views = emb.reshape(*lead, -1)
    selected = (emb * text).reshape(*lead, -1) * scale
    words = np.broadcast_to(text, (*lead, len(text)))
    return (np.concatenate([views, selected, words], axis=-1) * scale).astype(np.float32)


class PreferenceReward:
    """Mean reward of an ensemble in nats: e^(r_a - r_b) are the odds that a person prefers a to b.

    ``std`` is the members' spread, ``margin`` the value minus the best value under a wrong instruction. The
    zero is the mean over the clips it was trained on. A clip's reward is the mean over its frames.
    """

    kind = RewardKind.REWARD
    model = 'preference'

    def __init__(
        self, clip: ClipReward, ensemble: RewardEnsemble, cameras: tuple[str, ...], version: str = ''
    ):
        self.clip, self.version = clip, version
        self.ensemble = ensemble.eval().requires_grad_(False).to(clip.encoder.device)
        self.needs = Needs(cameras=cameras)

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **_: Any
    ) -> PreferenceReward:
        """Load a folder that :func:`save` wrote.

        Raises RewardModelError if files are missing or do not belong together, or if the encoder is not the
        one it was trained with.
        """
        from safetensors.torch import load_file

        folder, config, version = open_sealed(
            weights, CONFIG, WEIGHTS, 'preference reward', 'apprentice train preference'
        )
        try:
            source, encoder_version = config['encoder'], config['encoder_version']
            ensemble = RewardEnsemble(int(config['members']), int(config['dim']), int(config['width']))
            cameras = tuple(config['cameras'])
        except (KeyError, TypeError) as error:
            raise RewardModelError(f'{folder / CONFIG}: missing or wrong {error}') from None
        try:
            state = load_file(folder / WEIGHTS)
            ensemble.load_state_dict({name: value.float() for name, value in state.items()})
        except Exception as error:  # safetensors and torch raise their own kinds
            raise RewardModelError(f'{folder / WEIGHTS} does not fit {CONFIG}: {error}') from error
        local = folder / source
        clip = ClipReward.load(local if local.exists() else source, device, allow_download)
        if clip.version != encoder_version:
            raise RewardModelError(
                f'preference reward {folder} was trained on CLIP weights {encoder_version}, but {source} is '
                f'{clip.version}; train it again with `apprentice train preference`'
            )
        return cls(clip, ensemble, cameras, version)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.clip.encode(frames)

    def negatives(self, text: str) -> list[str]:
        return self.clip.negatives(text)

    def features(self, emb: np.ndarray, text: str) -> np.ndarray:
        """[..., V, D] to what the head takes, [..., F]."""
        return pair_features(emb, self.clip.encoder.text([text])[0])

    def score(self, request: ScoreRequest) -> Score:
        """Reward of every frame; ``value``, ``std`` and ``margin`` of the last one."""
        began = time.perf_counter()
        b, _, v = request.check()
        if v != len(self.needs.cameras):
            raise RewardModelError(f'this reward needs the views {self.needs.cameras}, got {v}')
        emb = request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]
        every = np.stack([self._rewards(emb[i], text) for i, text in enumerate(request.text)])  # [B, M, T]
        margin = np.full(b, np.nan, np.float32)
        for i in range(b if request.neg_text else 0):
            wrong = [self._rewards(emb[i, -1:], text).mean() for text in request.neg_text[i]]
            if wrong:
                margin[i] = every[i, :, -1].mean() - max(wrong)
        present = np.ones(b, bool) if request.mask is None else request.mask[:, -1].all(axis=-1)
        value = every[:, :, -1].mean(axis=1).astype(np.float32)
        return Score(
            kind=self.kind,
            value=value,
            std=every[:, :, -1].std(axis=1).astype(np.float32),
            done_prob=np.full(b, np.nan, np.float32),
            margin=margin,
            valid=np.isfinite(value) & present,
            model=self.model,
            version=self.version,
            per_frame=every.mean(axis=1).astype(np.float32),
            latency_ms=(time.perf_counter() - began) * 1e3,
        )

    def _rewards(self, emb: np.ndarray, text: str) -> np.ndarray:
        """[M, T] of one item's frames."""
        return self.ensemble.rewards(self.features(emb, text)[:, None])


def save(
    folder: Path,
    ensemble: RewardEnsemble,
    clip: ClipReward,
    encoder: str,
    cameras: tuple[str, ...],
    name: str,
) -> None:
    """Write a folder that :meth:`PreferenceReward.load` reads.

    Args:
        encoder: where the CLIP weights are found again: a path relative to ``folder``, or a name.
        name: for people. The version is a hash over weights and configuration.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in ensemble.state_dict().items()}
    state['first'] = state['first'].half()  # nearly all of it; :func:`.ensemble.fit` has rounded it
    with replacing(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
    write_sealed(
        folder / CONFIG,
        {
            'encoder': encoder,
            'encoder_version': clip.version,
            'cameras': list(cameras),
            'dim': len(ensemble.centre),
            'members': len(ensemble.offset),
            'width': ensemble.width,
            'name': name,
        },
        folder / WEIGHTS,
    )


def clip_features(
    clip: ClipReward, clips: list[np.ndarray], texts: list[str], embeddings: list[np.ndarray] | None = None
) -> np.ndarray:
    """Features float32 [N, T, F] of clips of equal length, uint8 [T, V, H, W, 3] each.

    Args:
        embeddings: [T, V, D] of each, where they are there already.
    """
    made = embeddings if embeddings is not None else [clip.encode(frames) for frames in clips]
    if len({len(emb) for emb in made}) > 1:
        raise RewardModelError('clips must have equal numbers of frames; cut them to the shortest')
    words = clip.encoder.text(texts)
    return np.stack([pair_features(emb, word) for emb, word in zip(made, words, strict=True)])
