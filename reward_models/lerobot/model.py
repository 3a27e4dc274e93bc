# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward model of LeRobot as ours, run by the installed lerobot package.

Models of 2026 have ``compute_reward(batch) -> (B,)``; the classifier has ``predict``, also in lerobot 0.4.4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.robot.parts import load_part
from apprentice.robot.resize import resize
from apprentice.robot.types import RewardKind

IMAGE = 'observation.images.'
# what compute_reward of LeRobot's models returns, by their name
KINDS = {
    'reward_classifier': RewardKind.SUCCESS_PROB,
    'sarm': RewardKind.ABS_PROGRESS,
    'robometer': RewardKind.ABS_PROGRESS,
    'topreward': RewardKind.LOG_PROB,
}


class FromLeRobot:
    """A reward model of LeRobot as ours, run by the installed lerobot package; one frame at a time.

    It shares no embedding with others: what :meth:`encode` returns are the pictures themselves.

    Args:
        network: with ``compute_reward(batch)``, or a classifier with ``predict`` or ``predict_reward``.
        kind: what it returns.
        cameras: our cameras -> LeRobot's features.
        before: LeRobot's pre-processor, where the model has one.
        size: (height, width) of its images; frames of another size are stretched.
        name, version: as they stand in the log.
    """

    def __init__(
        self,
        network: Any,
        kind: RewardKind,
        cameras: Mapping[str, str],
        before: Any = None,
        size: tuple[int, int] = (224, 224),
        name: str = 'lerobot',
        version: str = '',
    ):
        if not any(hasattr(network, call) for call in ('compute_reward', 'predict_reward')):
            raise RewardModelError(
                f'{type(network).__name__} has neither compute_reward nor predict_reward; it is no reward '
                'model of LeRobot'
            )
        self.network, self.kind, self.before, self.size = network, kind, before, size
        self.features = dict(cameras)
        self.model, self.version = name, version
        self.needs = Needs(text=True, cameras=tuple(cameras), pictures=True)
        if not cameras:
            raise RewardModelError('name the cameras: our camera -> the feature of the LeRobot model')

    @classmethod
    def load(
        cls,
        weights: str | Path,
        device: str = 'cpu',
        part: str = '',
        cameras: Mapping[str, str] | None = None,
        kind: str = '',
        **_: Any,
    ) -> FromLeRobot:
        """A folder that LeRobot wrote (config.json, model.safetensors).

        Args:
            part: LeRobot's class, such as
                ``lerobot.rewards.classifier.modeling_classifier:Classifier``; empty: by its type from
                ``lerobot.rewards.factory``.
            kind: name of a RewardKind; empty: known for LeRobot's own models.

        Raises RewardModelError for a folder without weights, ImportError without lerobot.
        """
        folder = Path(str(weights)).expanduser()
        if not (folder / 'config.json').is_file():
            raise RewardModelError(
                f'no LeRobot reward model in {folder} (config.json is missing); give a folder that '
                'lerobot-train wrote'
            )
        network = _class_of(folder, part).from_pretrained(str(folder)).to(device).eval()
        name = str(getattr(network, 'name', 'lerobot'))
        if not kind and name not in KINDS:
            raise RewardModelError(
                f'what {name} returns is not known here; give kind, one of {[k.name for k in RewardKind]}'
            )
        images = _images(network)
        found = dict(cameras or {key.removeprefix(IMAGE): key for key in images})
        shapes = [tuple(images[key].shape[-2:]) for key in found.values() if key in images]
        version = _digest(folder)
        return cls(
            network,
            RewardKind[kind] if kind else KINDS[name],
            found,
            before=_processor(folder),
            size=shapes[0] if shapes else (224, 224),
            name=name,
            version=version,
        )

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to float32 [..., h * w * 3] in [0, 1]: the pictures in the model's size."""
        height, width = self.size
        flat = np.asarray(frames, np.uint8).reshape(-1, *frames.shape[-3:])
        small = resize(flat, (height, width), 'stretch')
        return (small.astype(np.float32) / 255.0).reshape(*frames.shape[:-3], -1)

    def negatives(self, text: str) -> list[str]:
        """It knows none."""
        return []

    @torch.no_grad()
    def score(self, request: ScoreRequest) -> Score:
        """Score the last frame of every item. Raises RewardModelError for another number of views."""
        b, _, v = request.check()
        if v != len(self.features):
            raise RewardModelError(f'this model needs the views {self.needs.cameras}, got {v}')
        emb = request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]
        images = torch.from_numpy(np.array(emb[:, -1], np.float32)).reshape(b, v, *self.size, 3)
        images = images.permute(0, 1, 4, 2, 3).to(next(iter(self._parameters()), torch.zeros(0)).device)
        batch: dict[str, Any] = {key: images[:, i] for i, key in enumerate(self.features.values())}
        batch['task'] = list(request.text)
        value = self._reward(self.before(batch) if self.before else batch)
        if value.shape != (b,):
            raise RewardModelError(f'the LeRobot model returned {value.shape} for {b} items, not ({b},)')
        done = value if self.kind == RewardKind.SUCCESS_PROB else np.full(b, np.nan, np.float32)
        present = np.ones(b, bool) if request.mask is None else request.mask[:, -1].all(axis=1)
        return Score(
            kind=self.kind,
            value=value,
            std=np.full(b, np.nan, np.float32),
            done_prob=done,
            margin=np.full(b, np.nan, np.float32),
            valid=np.isfinite(value) & present,
            model=self.model,
            version=self.version,
        )

    def _parameters(self) -> Sequence[torch.nn.Parameter]:
        return list(self.network.parameters()) if hasattr(self.network, 'parameters') else []

    def _reward(self, batch: dict[str, Any]) -> np.ndarray:
        if hasattr(self.network, 'compute_reward'):
            value = self.network.compute_reward(batch)
        elif hasattr(self.network, 'predict'):  # a classifier: its probability, not its decision
            order = list(_images(self.network)) or list(self.features.values())
            value = self.network.predict([batch[key] for key in order]).probabilities
        else:
            value = self.network.predict_reward(batch)
        return torch.as_tensor(value).detach().float().cpu().numpy()


def _class_of(folder: Path, part: str) -> Any:
    if part:
        return load_part(part)

    kind = json.loads((folder / 'config.json').read_text()).get('type', '')
    try:
        from lerobot.rewards.factory import get_reward_model_class
    except ImportError as error:
        raise ImportError(
            f'{error}; install a lerobot with lerobot.rewards, or give part: the class of the model in yours '
            '(0.4.4: lerobot.policies.sac.reward_model.modeling_classifier:Classifier)'
        ) from error
    return get_reward_model_class(kind)


def _images(network: Any) -> dict[str, Any]:
    """Image features of a model in the order it takes them; empty where it does not say."""
    features = getattr(getattr(network, 'config', None), 'input_features', None) or {}
    return {key: feature for key, feature in features.items() if key.startswith('observation.image')}


def _processor(folder: Path) -> Any:
    """LeRobot's pre-processor where it was saved with the model, or None."""
    files = sorted(folder.glob('*preprocessor.json'))
    if not files:
        return None
    from lerobot.processor import PolicyProcessorPipeline

    return PolicyProcessorPipeline.from_pretrained(str(folder), config_filename=files[0].name)


def _digest(folder: Path) -> str:

    file = folder / 'model.safetensors'
    file = file if file.is_file() else folder / 'config.json'
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
