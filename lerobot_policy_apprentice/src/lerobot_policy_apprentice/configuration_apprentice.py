# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Configuration of the policy type ``apprentice``, by LeRobot's rules for policies of others (0.4.4).

LeRobot reads the fields' types at run time: no postponed annotations here.
"""

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.optim.optimizers import AdamWConfig
from lerobot.utils.constants import ACTION, OBS_STATE

from apprentice.policies.spec import PolicySpec


@PreTrainedConfig.register_subclass('apprentice')
@dataclass
class ApprenticeConfig(PreTrainedConfig):
    """What LeRobot has to know; architecture, joints and statistics lie in ``policy.json``.

    Attributes:
        robot: robot file, or the name of a shipped one, of a policy that is trained from nothing.
        mapping: YAML with what the dataset names or measures differently, see ``docs/policies.md``.
        architecture: YAML with the fields of ``PolicyConfig`` of a new policy; empty: the default.
        chunk_size: rows of a chunk.
        n_action_steps: rows that ``select_action`` follows before it plans again.
        rtc_mode: how a chunk continues the one before, see ``apprentice.policies.rtc``.
        rtc_max_weight: limit of that guidance.
        optimizer_lr, optimizer_weight_decay: of AdamW.
        cameras: camera of the policy -> LeRobot feature; filled in by the policy.
        state_columns, action_columns, scale, offset: from the dataset's vectors to the robot file's, see
            ``apprentice.robot.feature_mapping``; empty: they are the same. Filled in by the policy.
    """

    robot: str = ''
    mapping: str = ''
    architecture: str = ''
    chunk_size: int = 8
    n_action_steps: int = 4
    rtc_mode: str = 'soft'
    rtc_max_weight: float = 5.0
    optimizer_lr: float = 5e-4
    optimizer_weight_decay: float = 1e-3
    cameras: dict[str, str] = field(default_factory=dict)
    state_columns: list[int] = field(default_factory=list)
    action_columns: list[int] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    offset: list[float] = field(default_factory=list)
    # the policy normalises by its own statistics
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {name: NormalizationMode.IDENTITY for name in ('VISUAL', 'STATE', 'ACTION')}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ValueError(
                f'n_action_steps is {self.n_action_steps}; use 1 to chunk_size, which is {self.chunk_size}'
            )
        if self.n_obs_steps != 1:
            raise ValueError(f'n_obs_steps is {self.n_obs_steps}; the policy sees one observation')

    @classmethod
    def of(cls, spec: PolicySpec, **options: object) -> 'ApprenticeConfig':
        """The configuration of a trained policy whose dataset names everything as the robot file does."""
        cameras = {name: f'observation.images.{name}' for name in spec.cameras}
        inputs = {
            cameras[name]: PolicyFeature(FeatureType.VISUAL, (3, *size))
            for name, size in spec.cameras.items()
        }
        inputs[OBS_STATE] = PolicyFeature(FeatureType.STATE, (spec.dim,))
        steps = {'chunk_size': spec.horizon, 'n_action_steps': max(1, spec.horizon // 2)}
        outputs = {ACTION: PolicyFeature(FeatureType.ACTION, (spec.dim,))}
        return cls(input_features=inputs, output_features=outputs, cameras=cameras, **{**steps, **options})

    def differences(self, spec: PolicySpec) -> list[str]:
        """Every way in which the features LeRobot announces are not what the policy was made for."""
        found = []
        for name, size in spec.cameras.items():
            feature = self.image_features.get(self.cameras.get(name, ''))
            if feature is None:
                found.append(
                    f'no image {self.cameras.get(name, name)!r}, there are {list(self.image_features)}'
                )
            elif tuple(feature.shape) != (3, *size):
                found.append(f'{self.cameras[name]!r} is {tuple(feature.shape)}, the policy has {(3, *size)}')
        for what, feature, columns in (
            (OBS_STATE, self.robot_state_feature, self.state_columns),
            (ACTION, self.action_feature, self.action_columns),
        ):
            width = feature.shape[0] if feature is not None else 0
            if width < spec.dim or (not columns and width != spec.dim):
                found.append(f'{what!r} has {width} elements, the policy {spec.dim}: {list(spec.joints)}')
        if self.chunk_size != spec.horizon:
            found.append(f'chunk_size is {self.chunk_size}, the policy has {spec.horizon}')
        return found

    def validate_features(self) -> None:
        if not self.image_features or self.robot_state_feature is None or self.action_feature is None:
            raise ValueError(
                f'the policy needs images, {OBS_STATE} and {ACTION}; use a dataset with all three'
            )

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(
            lr=self.optimizer_lr,
            weight_decay=self.optimizer_weight_decay,
            betas=(0.9, 0.95),
            grad_clip_norm=1.0,
        )

    def get_scheduler_preset(self) -> None:
        return None

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        return None
