# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes filmed for people: frames larger and prettier than the robot's own, as an animated WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from apprentice.robot.files import replacing
from apprentice.robot.types import Episode
from apprentice.sim.rollout import Policy, RolloutConfig, rollouts
from apprentice.sim.worlds import Worlds

SIZE = 256  # pixels, height and width


class Filmed:
    """One simulation that is filmed whenever the robot looks. Otherwise the worlds it was made of.

    Attributes:
        frames: uint8 [SIZE, SIZE, 3] RGB, one for each observation.
    """

    def __init__(self, worlds: Worlds, camera: str):
        if worlds.count != 1:
            raise ValueError(f'{worlds.count} simulations cannot share one film; use one')
        self.worlds, self.camera = worlds, camera
        self.frames: list[np.ndarray] = []
        self.spec, self.count, self.instructions = worlds.spec, 1, worlds.instructions

    @property
    def max_duration_s(self) -> float:
        return self.worlds.max_duration_s

    @property
    def joints(self) -> np.ndarray:
        return self.worlds.joints

    @property
    def failed(self) -> np.ndarray:
        return self.worlds.failed

    def reset(self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '') -> list[str]:
        self.frames.clear()
        return self.worlds.reset(sims, seeds, instruction)

    def step(self, targets: np.ndarray, duration_s: float, sims: Sequence[int] | None = None) -> object:
        return self.worlds.step(targets, duration_s, sims)

    def render(self, sims: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        self.frames.append(self.worlds.film(self.camera, SIZE, SIZE))
        return self.worlds.render(sims)

    def progress(self) -> np.ndarray:
        return self.worlds.progress()

    def success(self) -> np.ndarray:
        return self.worlds.success()

    def objects(self, sim: int = 0) -> dict[str, np.ndarray]:
        return self.worlds.objects(sim)


def film(
    worlds: Worlds, seed: int, act: Policy | None, config: RolloutConfig, camera: str = ''
) -> tuple[Episode, list[np.ndarray]]:
    """One episode and its frames, as :func:`~apprentice.sim.rollout.rollouts` runs it.

    Args:
        camera: of the robot file; its first when empty.

    Raises ValueError for a robot without cameras.
    """
    if not worlds.spec.cameras:
        raise ValueError(f'robot {worlds.spec.name!r} has no camera to be filmed with; use --films 0')
    filmed = Filmed(worlds, camera or worlds.spec.cameras[0].name)
    expert = worlds.expert() if act is None else None
    episode = next(rollouts(filmed, [seed], act, config, expert=expert))
    return episode, filmed.frames


def write_webp(path: Path, frames: Sequence[np.ndarray], rate_hz: float) -> None:
    """An animation every browser shows. ``frames``: uint8 [H, W, 3]; the last one stays for a second."""
    if not frames:
        raise ValueError(f'no frames for {path}')
    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    durations = [round(1000 / rate_hz)] * (len(pictures) - 1) + [1000]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pictures[0].save(
            temporary,
            'WEBP',
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            quality=70,
        )
