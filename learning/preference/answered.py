# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward from people's answers about stretches of recorded episodes: features, fit, and how good it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch.nn import functional

from apprentice.episodes.answers import Answer, Stretch
from apprentice.episodes.files import EpisodeFileError
from apprentice.learning.preference.labelled import rows_of
from apprentice.learning.preference.pairs import PairError
from apprentice.learning.preference.selection import Recorded
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.preferences.comparisons import Comparison
from apprentice.reward_models.preferences.ensemble import FitConfig, RewardEnsemble, fit, judge
from apprentice.reward_models.preferences.reward import pair_features
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

FRAMES = 6  # of a stretch, over its whole length
log = logging.getLogger(__name__)


def recorded_of(episode: Episode, action_dt: float) -> Recorded:
    """What selection needs to know of an episode."""
    begin = episode.lead_s
    end = begin + len(episode) * action_dt
    return Recorded(episode.episode_id, episode.task, episode.outcome, end, begin)


def cameras_of(clip: ClipReward, spec: RobotSpec) -> tuple[str, ...]:
    """The views that CLIP weights look through, where the robot has them; else all of the robot's."""
    own = tuple(camera.name for camera in spec.cameras)
    wanted = tuple(clip.needs.cameras)
    return wanted if wanted and set(wanted) <= set(own) else own


def moments(stretch: Stretch, episode: Episode, action_dt: float, count: int = FRAMES) -> np.ndarray:
    """Rows int64 [count] spread over a stretch, its last one included."""
    rows = rows_of(stretch, episode, action_dt)
    return rows[np.rint(np.linspace(0, len(rows) - 1, count)).astype(int)]


class StretchFeatures:
    """What the reward's head takes of stretches, float32 [FRAMES, F]; each is computed once and kept.

    Frames are encoded row by row, so that overlapping stretches share them.

    Args:
        cameras: views, in the order in which the reward will see them.
        action_dt: seconds between rows of an episode.
    """

    def __init__(self, clip: ClipReward, cameras: Sequence[str], action_dt: float):
        self.clip, self.cameras, self.action_dt = clip, tuple(cameras), action_dt
        self._known: dict[str, np.ndarray] = {}

    def __contains__(self, stretch: Stretch) -> bool:
        return stretch.key() in self._known

    def add(self, episode: Episode, stretches: Iterable[Stretch], batch: int = 64) -> None:
        """Compute those of this episode. Raises PairError for a stretch or a camera that it does not have."""
        wanted = [s for s in stretches if s.episode == episode.episode_id and s not in self]
        if not wanted:
            return
        missing = [name for name in self.cameras if name not in episode.images]
        if missing:
            raise PairError(
                f'{episode.episode_id} has no images of {missing}, which the reward looks through'
            )
        each = [moments(stretch, episode, self.action_dt) for stretch in wanted]
        rows = np.unique(np.concatenate(each))
        parts = []
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            frames = np.stack([np.asarray(episode.images[name][part]) for name in self.cameras], axis=1)
            parts.append(self.clip.encode(frames))
        embedded = np.concatenate(parts)
        word = self.clip.encoder.text([episode.task])[0]
        for stretch, chosen in zip(wanted, each, strict=True):
            emb = embedded[np.searchsorted(rows, chosen)]
            self._known[stretch.key()] = pair_features(emb, word)

    def of(self, stretches: Sequence[Stretch]) -> np.ndarray:
        """float32 [N, FRAMES, F]. Raises KeyError for one that was not added."""
        return np.stack([self._known[stretch.key()] for stretch in stretches])


def comparisons_of(answers: Sequence[Answer]) -> tuple[list[Stretch], list[Comparison]]:
    """The stretches of the answers, without doubles, and the answers by their numbers.

    "Can't tell" says nothing and is left out.
    """
    stretches: dict[str, Stretch] = {}
    for answer in answers:
        if answer.choice != 'cannot tell':
            for stretch in (answer.pair.left, answer.pair.right):
                stretches.setdefault(stretch.key(), stretch)
    number = {key: index for index, key in enumerate(stretches)}
    found = [
        Comparison(number[a.pair.left.key()], number[a.pair.right.key()], a.choice)
        for a in answers
        if a.choice != 'cannot tell'
    ]
    return list(stretches.values()), found


def collect_features(
    features: StretchFeatures, answers: Sequence[Answer], read: Callable[[str], Episode | None]
) -> list[Answer]:
    """Compute the features of all stretches that were answered; the answers whose episodes are there.

    Answers about a damaged episode, and about a stretch that an episode does not have, are left out with a
    warning: one of them must not end asking.

    Args:
        read: the episode of a name, None if it is not there.
    """
    wanted: dict[str, list[Stretch]] = {}
    for answer in answers:
        for stretch in (answer.pair.left, answer.pair.right):
            wanted.setdefault(stretch.episode, []).append(stretch)
    why: dict[str, str] = {}
    for name, stretches in wanted.items():
        if all(stretch in features for stretch in stretches):
            continue
        try:
            episode = read(name)
        except EpisodeFileError as error:
            why[name] = str(error)
            continue
        if episode is None:
            why[name] = f'{name} is not there; give its folder, too'
            continue
        fitting = []
        for stretch in stretches:
            try:
                rows_of(stretch, episode, features.action_dt)
                fitting.append(stretch)
            except PairError as error:
                why[name] = str(error)
        try:
            features.add(episode, fitting)
        except PairError as error:
            why[name] = str(error)
    kept = [a for a in answers if a.pair.left in features and a.pair.right in features]
    if len(kept) < len(answers):
        reasons = [why[name] for name in sorted(why)]
        log.warning(
            '%d of %d answers are left out: %s', len(answers) - len(kept), len(answers),
            '; '.join(reasons[:5]) + (' ...' if len(reasons) > 5 else ''),
        )  # fmt: skip
    return kept


def fit_answers(
    features: StretchFeatures,
    answers: Sequence[Answer],
    config: FitConfig | None = None,
    held_out: float = 0.2,
) -> tuple[RewardEnsemble, dict[str, float]]:
    """An ensemble fitted to all answers, and numbers of one that has not seen the share ``held_out``.

    Returns:
        the ensemble, and accuracy, log_loss, brier, ece, pairs on answers held out (NaN for fewer than ten
        decided answers), and ``answers``, how many were learned from.

    Raises PairError without a single answer that says something.
    """
    config = config or FitConfig()
    stretches, comparisons = comparisons_of(answers)
    decided = [c for c in comparisons if c.answer != 'equal']
    if not decided:
        raise PairError('nobody preferred anything yet; answer more pairs with left or right')
    clips = features.of(stretches)
    report = dict.fromkeys(('accuracy', 'log_loss', 'brier', 'ece'), float('nan')) | {'pairs': 0.0}
    if held_out > 0 and len(decided) >= 10:
        order = np.random.default_rng(config.seed).permutation(len(comparisons))
        count = max(1, round(held_out * len(comparisons)))
        aside = [comparisons[i] for i in order[:count]]
        rest = [comparisons[i] for i in order[count:]]
        if any(c.answer != 'equal' for c in rest):
            report = judge(fit(clips, rest, config), clips, aside)
    report['answers'] = float(len(comparisons))
    return fit(clips, comparisons, config), report


def tie_of(ensemble: RewardEnsemble, answers: Sequence[Answer]) -> float:
    """Rao and Kupper's width of a tie that the ensemble learned; 0 where nobody said equal."""
    if not any(answer.choice == 'equal' for answer in answers):
        return 0.0
    return float(functional.softplus(ensemble.tie.detach().to(torch.float64)))
