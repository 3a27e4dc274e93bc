# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The flow policy of Apprentice behind LeRobot's interface (0.4.4, "bring your own policies").

Batches hold raw units of the dataset: images float [B, 3, H, W] in [0, 1], ``observation.state`` [B, n],
``action`` [B, chunk_size, n], ``task`` a list of B texts.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.constants import CONFIG_NAME
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE

from apprentice.policies import checkpoint, flow
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from lerobot_policy_apprentice.configuration_apprentice import ApprenticeConfig
from lerobot_policy_apprentice.fresh import new_policy


class ApprenticePolicy(PreTrainedPolicy):
    """A vision-language-action policy with a flow-matching expert.

    Args:
        config: of the policy.
        policy: a trained one, as :meth:`from_pretrained` gives it.
        dataset_meta: of the dataset that a new policy is trained on, as lerobot-train gives it.

    Raises ValueError that names every difference between the features and the policy.
    """

    config_class = ApprenticeConfig
    name = 'apprentice'

    def __init__(
        self,
        config: ApprenticeConfig,
        policy: FlowPolicy | None = None,
        dataset_meta: Any = None,
        dataset_stats: Any = None,
        **kwargs: Any,
    ):
        super().__init__(config)
        config.validate_features()
        self.model = policy if policy is not None else new_policy(config, dataset_meta)
        spec = self.model.spec
        found = config.differences(spec)
        if found:
            raise ValueError(f'the features do not fit the policy: {"; ".join(found)}')
        same = list(range(spec.dim))
        self._state_columns, self._columns = config.state_columns or same, config.action_columns or same
        self.register_buffer('scale', torch.tensor(config.scale or [1.0] * spec.dim), persistent=False)
        self.register_buffer('offset', torch.tensor(config.offset or [0.0] * spec.dim), persistent=False)
        self._about: dict[str, Any] = {'name': 'trained with LeRobot'}
        self.reset()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        force_download: bool = False,
        **kwargs: Any,
    ) -> ApprenticePolicy:
        """From a folder of LeRobot or of ``apprentice train bc``, or the name of one on the hub.

        Raises CheckpointError for a checkpoint that is damaged or missing.
        """
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            options = {'revision': revision, 'cache_dir': cache_dir, 'token': token}
            download = {'local_files_only': local_files_only, 'force_download': force_download}
            folder = Path(snapshot_download(str(pretrained_name_or_path), **options, **download))
        model, manifest = checkpoint.load(folder)
        if config is None:
            written = (folder / CONFIG_NAME).is_file()
            config = PreTrainedConfig.from_pretrained(folder) if written else ApprenticeConfig.of(model.spec)
        policy = cls(config, policy=model, **{k: v for k, v in kwargs.items() if k.startswith('dataset_')})
        policy._about = manifest['about']
        return policy.to(config.device).eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        # beside the folder, which may hold processors and the configuration of the training
        with tempfile.TemporaryDirectory(dir=save_directory.parent) as made:
            checkpoint.save(self.model, Path(made) / 'policy', self._about)
            for name in (checkpoint.WEIGHTS, checkpoint.MANIFEST):  # the manifest vouches for the weights
                os.replace(Path(made) / 'policy' / name, save_directory / name)
        self.config._save_pretrained(save_directory)

    def get_optim_params(self) -> Any:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def reset(self) -> None:
        self._queue: deque[torch.Tensor] = deque(maxlen=self.config.n_action_steps)

    def supports_rtc(self) -> bool:
        """Whether ``predict_action_chunk`` continues a chunk."""
        return True

    def _inputs(self, batch: dict[str, Any]) -> Inputs:
        images = {}
        for name, feature in self.config.cameras.items():
            if feature not in batch:
                raise ValueError(f'the batch has no {feature!r}, the image of camera {name!r}')
            image = batch[feature].movedim(-3, -1)
            images[name] = image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)
        state = batch[OBS_STATE][..., self._state_columns].float() * self.scale + self.offset
        task = batch.get('task') or ''
        return Inputs(images, state, [task] * len(state) if isinstance(task, str) else list(task))

    def forward(
        self, batch: dict[str, Any], reduction: str = 'mean'
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The flow-matching loss: a number, or with ``reduction`` ``none`` one per sample [B].

        Raises ValueError for a policy with a head of action tokens, which has other losses too.
        """
        inputs, model = self._inputs(batch), self.model
        if model.token_head is not None:
            raise ValueError('a policy with action tokens is trained by `apprentice train bc` only')
        actions = batch[ACTION][..., self._columns].float() * self.scale + self.offset
        target = model.normalize_actions(actions, inputs.state)
        padded = batch.get('action_is_pad')
        valid = torch.ones_like(target[..., 0], dtype=torch.bool) if padded is None else ~padded
        noise = torch.randn_like(target)
        time = flow.sample_time((len(target), 1), alpha=model.config.time_alpha).to(target)
        time = time.expand(target.shape[:2])
        if model.config.max_delay:  # rows that will be past are given clean: trained real-time chunking
            delay = torch.randint(0, model.config.max_delay + 1, (len(target), 1), device=target.device)
            clean = torch.arange(target.shape[1], device=target.device) < delay
            time, valid = time.masked_fill(clean, 0.0), valid & ~clean
        loss = model.flow_loss(model.encode(inputs), target, noise, time, valid)
        mean = loss.mean()
        return (loss if reduction == 'none' else mean), {'flow_loss': float(mean.detach())}

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: dict[str, Any],
        inference_delay: int | None = None,
        prev_chunk_left_over: torch.Tensor | None = None,
        execution_horizon: int | None = None,
        noise: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Chunks [B, chunk_size, n] in the dataset's units.

        Args:
            inference_delay: rows that will be past when the chunk arrives.
            prev_chunk_left_over: [rows, n] or [B, rows, n], what the robot follows meanwhile, as this method
                gave it.
            execution_horizon: rows of it that count (end of the soft mask); default: all.

        Raises ValueError for ``noise``, which cannot be given from outside.
        """
        if noise is not None:
            raise ValueError('noise cannot be given; seed torch instead')
        self.eval()
        inputs, previous = self._inputs(batch), None
        if prev_chunk_left_over is not None:
            left = prev_chunk_left_over[..., self._columns].float().to(self.scale.device)
            rows = (left * self.scale + self.offset).expand(len(inputs.state), -1, -1)
            rows = rows[:, : execution_horizon or rows.shape[1]].cpu().numpy().astype(np.float64)
            delay = min(inference_delay or 0, rows.shape[1])
            previous = [PreviousChunk(each, delay) for each in rows]
        rtc = RtcConfig(self.config.rtc_mode, self.config.rtc_max_weight)
        chunks = self.model.candidates(inputs, 1, previous=previous, rtc=rtc)[:, 0]
        width = self.config.action_feature.shape[0]
        out = chunks.new_zeros(*chunks.shape[:2], width)
        out[..., self._columns] = (chunks - self.offset) / self.scale
        return out

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        """The next action [B, n]; plans when ``n_action_steps`` rows of the last chunk are used up."""
        if not self._queue:
            chunk = self.predict_action_chunk(batch, **kwargs)
            self._queue.extend(chunk[:, : self.config.n_action_steps].transpose(0, 1))
        return self._queue.popleft()
