# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""SAC of Stable-Baselines3 on our environment, with demonstrations in its replay buffer.

The one peer that imports something of ours, the environment: ``packages`` are the folders where it is,
searched after the peer's own.
"""

import dataclasses
import json
import resource
import site
import sys
from importlib import metadata

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback


class EpisodeEnds(BaseCallback):
    """Tells the trial of every episode that has ended."""

    def __init__(self, trial, plan):
        super().__init__()
        self._trial, self._plan, self._begun = trial, plan, 0

    def _on_step(self) -> bool:
        if not self.locals['dones'][0]:
            return True
        steps, self._begun = self.num_timesteps - self._begun, self.num_timesteps
        return self._trial.ended(self._plan, steps)


def measure(packages: list[str], trial: dict, settings: dict) -> dict:
    for folder in packages:
        site.addsitedir(folder)
    from apprentice.bench.learn_world import DISCOUNT, Trial, TrialConfig

    torch.set_num_threads(1)
    made = Trial(TrialConfig(**trial))
    shown = made.demonstrations()
    made.begin()
    model = SAC(
        'MlpPolicy', made.env, gamma=DISCOUNT, seed=made.config.seed, buffer_size=200_000, device='cpu',
        **settings,
    )  # fmt: skip
    for path in shown:
        for i, (action, reward) in enumerate(zip(path.actions, path.rewards)):
            now, then = path.observations[i : i + 1], path.observations[i + 1 : i + 2]
            ends = i + 1 == len(path.rewards)
            model.replay_buffer.add(now, then, action[None], reward[None], [ends], [{}])

    def plan(observations):
        return model.predict(observations, deterministic=True)[0][:, None]

    made.evaluate(plan)
    model.learn(1 << 40, EpisodeEnds(made, plan))
    result = made.result()
    made.close()
    return {
        **result,
        'trial': dataclasses.asdict(made.config),
        'updates': model._n_updates,
        'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        'versions': {name: metadata.version(name) for name in ('stable-baselines3', 'torch', 'gymnasium')},
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
