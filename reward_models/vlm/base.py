# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What all vision-language critics share: loading, pictures of a request, views, references."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError, Score, ScoreRequest
from apprentice.reward_models.vlm.chat import Picture
from apprentice.reward_models.vlm.network import Network
from apprentice.reward_models.vlm.reference import evenly, load_reference, squared
from apprentice.reward_models.vlm.settings import VlmSettings, find_model, read_settings
from apprentice.reward_models.vlm.wording import Reference
from apprentice.robot.types import RewardKind


class VlmModel:
    """A vision-language model with settings and, if given, one demonstration to compare with.

    Args:
        network: the model.
        settings: wording, image size, limits.
        reference: (percent, picture) of one demonstration.
    """

    kind: RewardKind
    model = 'vlm'

    def __init__(self, network: Network, settings: VlmSettings, reference: Reference = ()):
        self.network, self.settings, self.reference = network, settings, tuple(reference)
        self.version = network.version

    @classmethod
    def _parts(
        cls, weights: str | Path, device: str, allow_download: bool, options: dict[str, Any]
    ) -> tuple[Network, VlmSettings, list[tuple[int, Picture]]]:
        """Network, settings and reference.

        Args:
            weights: a folder or file with ``vlm_critic.json``, the folder of a model, or its name on the hub.
            device: torch device.
            allow_download: fetch a named model that is not on this machine.
            options: fields of :class:`VlmSettings` that override the file.

        Raises RewardModelError naming what is missing and what to do, ImportError for a missing package.
        """
        settings, folder = read_settings(weights, options)
        network = Network.load(
            find_model(settings.model, allow_download),
            device,
            settings.dtype,
            settings.batch,
            settings.prefixes,
        )
        return network, settings, load_reference(folder, settings.image_size)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to pixels in [0, 1], float32 [..., size * size * 3].

        These models look at images and text together: what can be kept of a frame is its resized picture.
        """
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
            raise RewardModelError(f'images must be uint8 [..., H, W, 3], got {frames.dtype} {frames.shape}')
        size = self.settings.image_size
        flat = np.stack([squared(image, size) for image in frames.reshape(-1, *frames.shape[-3:])])
        return (flat.reshape(*frames.shape[:-3], -1) / np.float32(255)).astype(np.float32)

    def negatives(self, text: str) -> list[str]:
        return []

    def _pictures(self, request: ScoreRequest) -> list[list[list[Picture]]]:
        """Pictures by item, frame and view."""
        emb = request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]
        return [[[self._picture(view) for view in frame] for frame in item] for item in emb]

    def _picture(self, pixels: np.ndarray) -> Picture:
        size = self.settings.image_size
        if pixels.shape != (size * size * 3,):
            raise RewardModelError(
                f'an embedding of this model is a picture of {size} x {size} pixels, got shape '
                f"{pixels.shape}; make it with the same model's encode"
            )
        return Picture(np.rint(np.float32(255) * pixels).astype(np.uint8).reshape(size, size, 3))

    @staticmethod
    def _mask(request: ScoreRequest) -> np.ndarray:
        b, t, v = request.check()
        return np.ones((b, t, v), bool) if request.mask is None else request.mask

    def _reference(self, request: ScoreRequest, item: int, view: int) -> Reference:
        """Of the request, evenly spaced in time; otherwise the one that was loaded."""
        if request.reference is None:
            return self.reference
        frames = evenly(request.reference[item], 6)
        return [(percent, self._picture(views[view])) for percent, views in frames]

    @staticmethod
    def _mean(values: np.ndarray, views: Sequence[tuple[int, int]], count: int) -> np.ndarray:
        """Mean over the views of each item, float32 [count]; NaN without a view."""
        total, number = np.zeros(count), np.zeros(count)
        for value, (item, _) in zip(values, views, strict=True):
            total[item] += value
            number[item] += 1
        return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)

    @staticmethod
    def _margin(value: np.ndarray, wrong: np.ndarray, asked: Sequence[tuple[int, int, str]]) -> np.ndarray:
        """value - best value under a wrong instruction (mean over views), NaN where none was asked."""
        by_item: dict[tuple[int, str], list[float]] = {}
        for score, (item, _, text) in zip(wrong, asked, strict=True):
            by_item.setdefault((item, text), []).append(float(score))
        margin = np.full(len(value), np.nan, np.float32)
        for item in {item for item, _ in by_item}:
            margin[item] = value[item] - max(np.mean(s) for (i, _), s in by_item.items() if i == item)
        return margin

    def _result(
        self,
        kind: RewardKind,
        value: np.ndarray,
        std: np.ndarray,
        done: np.ndarray,
        margin: np.ndarray,
        accepted: np.ndarray,
        began: float,
        per_frame: np.ndarray | None = None,
    ) -> Score:
        return Score(
            kind=kind,
            value=value.astype(np.float32),
            std=std.astype(np.float32),
            done_prob=done.astype(np.float32),
            margin=margin,
            valid=np.isfinite(value) & accepted,
            model=self.model,
            version=self.version,
            per_frame=per_frame,
            latency_ms=(time.perf_counter() - began) * 1e3,
        )
