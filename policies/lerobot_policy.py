# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy of LeRobot (ACT, SmolVLA, pi0 or a plug-in) as ours, run by the installed lerobot package.

What LeRobot does not write down stands in ``apprentice.yaml`` beside the policy's ``config.json``::

    robot: my_arm.yaml        # a file beside it, or the name of a shipped one
    mapping:                  # see apprentice.robot.feature_mapping
      names: [shoulder_pan.pos, shoulder_lift.pos, elbow_flex.pos, gripper.pos]
      cameras: {front: observation.images.top}

Written for lerobot 0.4.4, which pins torch and other packages: it needs an environment of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from apprentice.policies.checkpoint import CheckpointError
from apprentice.policies.foreign import read_settings
from apprentice.policies.lerobot_fit import Fit, fit
from apprentice.policies.policy import finite, inputs_of
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.files import sha256
from apprentice.robot.resize import resize
from apprentice.robot.types import Observation

SETTINGS, CONFIG, WEIGHTS = 'apprentice.yaml', 'config.json', 'model.safetensors'
_SCHEDULES = {'soft': 'EXP', 'hard': 'ZEROS'}  # ours -> theirs: how rows are held to the previous chunk
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeRobotSettings:
    """What LeRobot does not know of a policy: the robot, and what is called differently there."""

    robot: str = ''
    mapping: FeatureMapping = field(default_factory=FeatureMapping)


def load(
    folder: str | Path,
    expected_sha256: str = '',
    device: str = 'cpu',
    settings: str | Path | Mapping[str, Any] = '',
    hub: bool = False,
) -> tuple[LeRobotPolicy, dict[str, Any]]:
    """A policy of LeRobot and what is known of it.

    Args:
        folder: with ``config.json``, ``model.safetensors`` and the processors; with ``hub`` the name of a
            repository on the Hugging Face hub, which is downloaded.
        expected_sha256: of ``model.safetensors``; empty: not known.
        settings: file or content of ``apprentice.yaml``; empty: the one in the folder.

    Raises CheckpointError for a folder without a policy, PolicyMismatch that names everything that does not
    fit, SettingsError for the settings, ImportError without lerobot.
    """
    lerobot = _lerobot()
    path = Path(folder)
    if hub and not path.is_dir():
        from huggingface_hub import snapshot_download

        path = Path(snapshot_download(str(folder)))
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise CheckpointError(
                f'no LeRobot policy in {path} ({name} is missing); give a folder that lerobot-train wrote '
                '(checkpoints/last/pretrained_model), or the name of one on the hub with hub=true'
            )
    digest = sha256(path / WEIGHTS)
    if expected_sha256 and digest != expected_sha256:
        raise CheckpointError(
            f'{path / WEIGHTS} is not the file that was announced (sha256 differs); copy it again'
        )
    robot, known = read_settings(LeRobotSettings, settings or path / SETTINGS)
    config = lerobot.config(path)
    config.device = device
    fitted = fit(config, robot, known.mapping)
    policy = lerobot.policy(config.type).from_pretrained(path, config=config)
    try:
        moved = {'device_processor': {'device': device}}
        before, after = lerobot.processors(config, pretrained_path=str(path), preprocessor_overrides=moved)
    except Exception as error:  # of many types, some of them lerobot's own
        raise CheckpointError(
            f'{path} holds no processors that the installed lerobot can read ({error}); write it again with '
            'lerobot-train, or migrate it with lerobot.processor.migrate_policy_normalization'
        ) from error
    about = {'name': f'{config.type} of LeRobot', 'robot': robot.name}
    manifest = {'format': 'lerobot', 'weights_sha256': digest, 'about': about}
    return LeRobotPolicy(policy, before, after, fitted), manifest


class LeRobotPolicy:
    """See :class:`~apprentice.policies.runtime.ChunkPolicy`; made by :func:`load`.

    Args:
        policy, before, after: LeRobot's policy and its processors.
        fitted: how its features are filled from our observations.
    """

    def __init__(self, policy: Any, before: Any, after: Any, fitted: Fit):
        self.policy, self.before, self.after, self.fitted = policy.eval(), before, after, fitted
        self.spec = fitted.spec
        self._rtc: RtcConfig | None = None
        self._warned = False

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] of joint targets in the robot's units.

        LeRobot draws its noise from torch's global generator, which is seeded from ``generator`` meanwhile. A
        policy that cannot continue a chunk ignores ``previous``, and says so once in the log.

        Raises ValueError for a missing camera, another size, and an action that is not finite.
        """
        rtc = rtc or RtcConfig()
        batch = self.batch(observation)
        continues = previous is not None and rtc.mode != 'none' and self._can_continue(rtc)
        if continues and previous is not None:
            left = self.fitted.action.from_robot(previous.actions[: self.spec.horizon])
            batch['action'] = torch.as_tensor(left, dtype=torch.float32)[None]
        with torch.random.fork_rng(enabled=generator is not None), torch.no_grad():
            if generator is not None:
                torch.manual_seed(int(torch.randint(0, 2**31, (1,), generator=generator)))
            self.policy.reset()  # it may hold actions of the chunk before
            prepared, options = self.before(batch), {}
            if continues and previous is not None:
                rows = prepared.pop('action')  # as the policy itself gives them, before the post-processor
                options = {
                    'prev_chunk_left_over': rows,
                    'inference_delay': min(previous.delay, rows.shape[1]),
                    'execution_horizon': rows.shape[1],
                }
            chunk = self.after(self.policy.predict_action_chunk(prepared, **options))
        actions = finite(chunk)[0]
        if actions.shape != (self.spec.horizon, self.fitted.action.width):
            raise ValueError(
                f'the policy gave {actions.shape}, its configuration says '
                f'{(self.spec.horizon, self.fitted.action.width)}; it cannot be used here'
            )
        return self.fitted.action.to_robot(actions)

    def batch(self, observation: Observation) -> dict[str, Any]:
        """The observation as LeRobot has it: images float [1, 3, H, W] in [0, 1], state [1, n], task."""
        inputs = inputs_of([observation], self.spec)
        if not torch.isfinite(inputs.state).all():
            raise ValueError('the measured joint state is not finite')
        batch: dict[str, Any] = {'task': observation.text, 'robot_type': self.spec.robot}
        for name, images in inputs.images.items():
            feature, size = self.fitted.images[name]
            if tuple(images.shape[1:3]) != size:
                images = torch.from_numpy(resize(images.numpy(), size, self.fitted.mapping.resize))
            batch[feature] = images.permute(0, 3, 1, 2).contiguous().float() / 255
        if self.fitted.state is not None:
            state = self.fitted.state.from_robot(np.asarray(observation.state, np.float64))
            batch[self.fitted.mapping.state] = torch.as_tensor(state, dtype=torch.float32)[None]
        return batch

    def _can_continue(self, rtc: RtcConfig) -> bool:
        """Whether the policy continues chunks; prepares it to do so in the way of ``rtc``."""
        if hasattr(self.policy, 'init_rtc_processor') and hasattr(self.policy.config, 'rtc_config'):
            if rtc.mode not in _SCHEDULES:
                raise ValueError(
                    f'policies of LeRobot cannot continue a chunk in the mode {rtc.mode!r}; use one of '
                    f'{list(_SCHEDULES)}'
                )
            if rtc != self._rtc:
                self.policy.config.rtc_config = _lerobot().rtc(_SCHEDULES[rtc.mode], rtc.max_weight)
                self.policy.init_rtc_processor()
                self._rtc = rtc
            return True
        if getattr(self.policy, 'supports_rtc', bool)():
            return True
        if not self._warned:
            self._warned = True
            log.warning(
                '%s cannot continue a chunk (no real-time chunking): each is planned on its own',
                type(self.policy).__name__,
            )
        return False


def _lerobot() -> SimpleNamespace:
    """What is used of the lerobot package. Raises ImportError with the remedy."""
    try:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.configs.types import RTCAttentionSchedule
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors
        from lerobot.policies.rtc.configuration_rtc import RTCConfig
        from lerobot.utils.import_utils import register_third_party_plugins
    except ImportError as error:
        raise ImportError(
            f"policies of LeRobot need lerobot ({error}): pip install 'lerobot>=0.4.4,<0.5' in an "
            'environment of its own, and this package into it'
        ) from error
    register_third_party_plugins()

    def rtc(schedule: str, max_weight: float) -> Any:
        how = RTCAttentionSchedule[schedule]
        return RTCConfig(enabled=True, prefix_attention_schedule=how, max_guidance_weight=max_weight)

    return SimpleNamespace(
        config=PreTrainedConfig.from_pretrained,
        policy=get_policy_class,
        processors=make_pre_post_processors,
        rtc=rtc,
    )
