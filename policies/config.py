# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The architecture of a policy, as dataclasses and as the JSON beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.expert import ExpertConfig
from apprentice.policies.token_head import TokenConfig
from apprentice.robot.parts import load_part
from apprentice.robot.settings import SettingsError, from_dict


@dataclass(frozen=True)
class PolicyConfig:
    """Architecture of a :class:`~apprentice.policies.policy.FlowPolicy`.

    Attributes:
        backbone: the ``Config`` of a backbone class, see :class:`~apprentice.policies.prefix.Backbone`.
        denoise_steps: Euler steps of sampling.
        time_alpha: flow times are drawn from Beta(time_alpha, 1).
        insulate: knowledge insulation, the flow loss does not train the backbone (arXiv 2505.23705).
        max_delay: rows that may be given clean in training and in the real-time chunking mode ``trained``.
        tokens: the FAST action-token head beside the flow expert; None: no such head.
        head: which of the two acts where the caller does not say.
    """

    backbone: Any = field(default_factory=TinyConfig)
    expert: ExpertConfig = field(default_factory=ExpertConfig)
    denoise_steps: int = 5
    time_alpha: float = 1.5
    insulate: bool = False
    max_delay: int = 0
    tokens: TokenConfig | None = None
    head: Literal['flow', 'fast'] = 'flow'

    def __post_init__(self) -> None:
        if self.max_delay < 0:
            raise SettingsError(f'policy.max_delay is {self.max_delay}; give 0 or more rows')
        if self.head not in ('flow', 'fast') or (self.head == 'fast' and self.tokens is None):
            raise SettingsError(f'policy.head is {self.head!r}; use flow, or fast with policy.tokens')

    def downsample(self, images: np.ndarray) -> np.ndarray:
        """Pictures uint8 [T, H, W, 3] no larger than the backbone looks at, which it takes as well."""
        smaller = getattr(self.backbone, 'downsample', None)
        return images if smaller is None else smaller(images)

    def to_dict(self) -> dict[str, Any]:
        data = {**asdict(self), 'backbone': {'part': self.backbone.part, **asdict(self.backbone)}}
        if self.tokens is None:  # as files were written before this head existed
            del data['tokens'], data['head']
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PolicyConfig:
        """Read what :meth:`to_dict` wrote. Raises ValueError for unknown fields, ImportError for a part."""
        data = dict(data)
        backbone = dict(data.pop('backbone', {}))
        # files written before other backbones existed do not name theirs
        config = load_part(backbone.pop('part', TinyConfig.part)).Config
        return from_dict(cls, {**data, 'backbone': from_dict(config, backbone, 'policy.backbone')}, 'policy')
