# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which candidates are published: the probe set, what acts now, and how often in a row one failed."""

from __future__ import annotations

import logging
from pathlib import Path

from apprentice.learning.probe_set import Plans, ProbeConfig, ProbeResult, ProbeSet, held_out_loss
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.learning.weights import WeightStore
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy

log = logging.getLogger(__name__)


class Admission:
    """Examines candidates.

    Args:
        starter: policy folder that acts before the first version.

    Attributes:
        acting: version that a robot acknowledged; None: not known, the newest is taken for it.
        reason: why the newest candidate was not published; empty: it was.
        failures: candidates in a row that failed.
    """

    def __init__(self, store: WeightStore, starter: Path, algorithm: WeightedFlow, config: ProbeConfig):
        self._store, self._starter, self.config = store, starter, config
        self.probe = ProbeSet(algorithm.policy.spec, config, held_out_loss(algorithm))
        self.acting: int | None = None
        self.reason, self.failures = '', 0

    def examine(self, candidate: FlowPolicy, whole: Plans) -> ProbeResult:
        """Whether a candidate may be published.

        Args:
            whole: what would act, the candidate or the candidate with critics; its actions must be finite,
                but may change as critics choose another chunk.
        """
        if not len(self.probe):
            return ProbeResult()
        version = self._version()
        acting = None if self.probe.knows(version) else self._load(version)
        result = self.probe.check(candidate, acting, version)
        if result.passed and whole is not candidate:
            result = self.probe.finite(whole, result)
        self.reason = result.reason
        self.failures = 0 if result.passed else self.failures + 1
        if result.reason:
            log.error('the candidate is not published (%d in a row): %s', self.failures, result.reason)
        return result

    @property
    def exhausted(self) -> bool:
        """Whether so many failed in a row that training must go back."""
        return self.failures >= self.config.failures > 0

    def begin_again(self) -> None:
        """Forget what failed."""
        self.reason, self.failures = '', 0

    def last_good(self) -> Path:
        """Folder of the newest published policy, or of the starter; counting begins again."""
        self.failures = 0
        versions = self._store.versions()
        return self._store.folder(versions[-1]) if versions else self._starter

    def _version(self) -> int:
        versions = self._store.versions()
        if self.acting is not None and (self.acting == 0 or self.acting in versions):
            return self.acting
        return versions[-1] if versions else 0

    def _load(self, version: int) -> FlowPolicy:
        policy, _ = checkpoint.load(self._store.folder(version) if version else self._starter)
        return policy
