# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which reward models may teach: none that a benchmark found worse than a clock or a bare cosine.

`apprentice bench rewards` writes verdicts beside the weights and into the cache; scores carry model and
version, so that the verdict of exactly these weights is found again. A model nobody has judged is used, and
the log says so once. A verdict that lies beside other weights than it is of does not speak for them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from apprentice.learning.advantage import AdvantageConfig
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.evaluation.verdict import FILE, Verdict, read, weights_hash
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.files import cache_folder
from apprentice.robot.parts import share
from apprentice.robot.types import Episode, RewardKind

log = logging.getLogger(__name__)


class RefusedReward(RewardModelError):
    """A reward model is worse than a clock or a cosine; the message has the numbers and what to do."""


def verdict_files() -> list[Path]:
    """Verdicts of shipped weights and of this machine's benchmarks."""
    found = sorted((cache_folder() / 'verdicts').glob('*.json'))
    with contextlib.suppress(FileNotFoundError):
        found += sorted(share('weights').glob(f'*/{FILE}'))
    return found


class RewardGate:
    """Refuses rewards of models that lost.

    Args:
        force: use them all the same; the log says so.
        files: verdicts; None: those of :func:`verdict_files`.
    """

    def __init__(self, force: bool = False, files: Sequence[Path] | None = None):
        self._force, self._files = force, files
        self._known: dict[tuple[str, str], str] = {}  # (model, version) -> why it is refused, '' for not

    def check(self, models: Iterable[tuple[str, str]]) -> None:
        """Raises RefusedReward for the first of these (model, version) that lost, unless forced."""
        for model, version in models:
            reason = self._known.get((model, version))
            if reason is None:
                reason = self._known[model, version] = self._judge(model, version)
            if reason and not self._force:
                raise RefusedReward(reason)

    def check_episode(
        self, episode: Episode, advantage: AdvantageConfig, pipeline: RewardPipeline | None = None
    ) -> None:
        """Check the models that the steps of an episode are weighed by."""
        rewards = advantage.counting(episode.rewards)
        if pipeline is None:
            kinds = (RewardKind.PROGRESS_DELTA, RewardKind.ABS_PROGRESS)
            used = [r for r in rewards if r.kind in kinds and advantage.model in ('', r.model)]
        else:
            names = {each.model for each in pipeline.config.models}
            used = [r for r in rewards if r.model in names]
        self.check(sorted({(r.model, r.version) for r in used}))

    def _judge(self, model: str, version: str) -> str:
        verdict = self._find(model, version)
        if verdict is None:
            log.warning('reward model %s %s was never judged; see `apprentice bench rewards`', model, version)
            return ''
        if not verdict.losses:
            return ''
        reason = (
            f'reward model {model} {version} does not beat a clock or a cosine: {"; ".join(verdict.losses)} '
            f'(judged {verdict.date} on {verdict.source}). Train it again or use another model; to learn '
            'from it all the same, set force_rewards'
        )
        if self._force:
            log.warning('forced: %s', reason)
        return reason

    def _find(self, model: str, version: str) -> Verdict | None:
        found = []
        for path in verdict_files() if self._files is None else self._files:
            try:
                verdict = read(path)
            except RewardModelError as error:
                log.warning('%s', error)
                continue
            if (verdict.model, verdict.version) == (model, version) and _counts(verdict, path):
                found.append(verdict)
        # of several the newest counts, whatever it says
        return max(found, key=lambda verdict: verdict.date, default=None)


def _counts(verdict: Verdict, path: Path) -> bool:
    """Whether a verdict is of the weights it lies beside, if it does; one that refuses counts in any case."""
    if path.name != FILE or not verdict.sha256 or verdict.losses:
        return True
    beside = weights_hash(path.parent)
    if beside in ('', verdict.sha256):
        return True
    log.warning(
        '%s is of other weights than those beside it (sha256 differs) and does not count; judge them again '
        'with `apprentice bench rewards`',
        path,
    )
    return False
