# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the dashboard shows of learning: the learner, the weights, the advice to people, trust in rewards."""

from __future__ import annotations

from functools import partial
from typing import Any

from apprentice_interfaces.msg import (
    GuidanceState,
    LearnerStatus,
    RewardHealth,
    WeightsAck,
    WeightsVersion,
)
from rclpy.node import Node

from apprentice.nodes import qos
from apprentice.nodes.dashboard_panels import Panel
from apprentice.nodes.dashboard_state import Silence, finite, name_of

GRADES = ('none', 'replay', 'return and explore', 'guided explore', 'takeover')
ADVICE = ('', 'take over now', 'hand back now', 'demonstrate the next episode', 'help less')
LEVELS = ('ok', 'flag', 'down-weight', 'freeze', 'sparse', 'stop')
MAX_MODELS = 16


class Learning(Panel):
    """Newest messages of the learner, the policy's weights, the guide and the reward monitor."""

    name = 'learning'

    def __init__(self, node: Node):
        self._learner: LearnerStatus | None = None
        self._learner_silent = Silence(5.0)
        self._ack: WeightsAck | None = None
        self._newest = 0
        self._guidance: GuidanceState | None = None
        self._health: dict[str, RewardHealth] = {}
        subscribe = node.create_subscription
        subscribe(WeightsAck, 'policy/weights_ack', partial(setattr, self, '_ack'), qos.STATE)
        subscribe(WeightsVersion, 'learner/weights', self._on_weights, qos.STATE)
        subscribe(LearnerStatus, 'learner/status', self._on_learner, qos.LOG)
        subscribe(GuidanceState, 'guide/state', partial(setattr, self, '_guidance'), qos.STATE)
        subscribe(RewardHealth, 'reward/health', self._on_health, qos.HEALTH)

    def _on_weights(self, message: WeightsVersion) -> None:
        self._newest = message.version

    def _on_learner(self, message: LearnerStatus) -> None:
        self._learner = message
        self._learner_silent.heard()

    def _on_health(self, message: RewardHealth) -> None:
        if message.model in self._health or len(self._health) < MAX_MODELS:
            self._health[message.model] = message

    def report(self) -> dict[str, Any]:
        """``learner``, ``weights``, ``guidance`` (None: nobody speaks) and ``rewards``, a row a model."""
        learner, ack = self._learner, self._ack
        acknowledged = [ack.active_version] if ack else []
        acknowledged += [learner.acknowledged_version] if learner and learner.acknowledged_version else []
        return {
            'weights': {
                'active': acknowledged[0] if acknowledged else None,
                'newest': max(self._newest, learner.version if learner else 0),
                'refused': ack.reason if ack and not ack.ok else '',
            },
            'learner': learner and self._learner_report(learner),
            'guidance': self._guidance and self._guidance_report(self._guidance),
            'rewards': [self._health_report(message) for _, message in sorted(self._health.items())],
        }

    def _learner_report(self, learner: LearnerStatus) -> dict[str, Any]:
        return {
            'phase': learner.phase,
            'silent_s': self._learner_silent.seconds(),
            'loss': finite(learner.loss),
            'updates_per_s': finite(learner.updates_per_s, 1),
            'train_steps': learner.train_steps,
            'pending': learner.pending_updates,
            'episodes': learner.episodes,
            'transitions': learner.transitions,
            'human_transitions': learner.human_transitions,
            'quarantined': learner.quarantined,
            'recipe': learner.recipe,
            'alarm': learner.alarm,
            'message': learner.message,
        }

    @staticmethod
    def _guidance_report(state: GuidanceState) -> dict[str, Any]:
        return {
            'grade': f'G{state.grade} {name_of(GRADES, state.grade)}',
            'advice': name_of(ADVICE, state.advice),
            'reason': state.reason,
            'start': {'seed': str(state.start_seed), 'cluster': state.start_cluster}
            if state.start_proposed
            else None,
            'success': finite(state.success, 3),
            'tries': state.tries,
            'intervention_share': finite(state.intervention_share, 3),
        }

    @staticmethod
    def _health_report(message: RewardHealth) -> dict[str, Any]:
        rows = zip(message.detectors, message.values, message.limits, message.alarms)
        return {
            'model': message.model,
            'level': name_of(LEVELS, message.level),
            'weight': finite(message.weight, 3),
            'reason': message.reason,
            'episode': message.episode_id,
            'detectors': [
                {'name': name, 'value': finite(value, 3), 'limit': finite(limit, 3), 'alarm': bool(alarm)}
                for name, value, limit, alarm in rows
            ],
        }
