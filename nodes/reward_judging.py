# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The part of a reward node that turns scores into judgements: reward pipeline, done detector, veto."""

from __future__ import annotations

from apprentice_interfaces.msg import RewardSample
from rclpy.node import Node

from apprentice.nodes import convert, qos
from apprentice.nodes.runtime import StartupError, parameter
from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.judge import Judging, Veto
from apprentice.reward_models.pipeline import RewardPipeline

_EPSILON = 1e-6


class Predicate:
    """The newest word of another source (a calibrated reward program, a predicate of the cell) on being done.

    Args:
        max_age_s: a word older than this [s of the robot's time] is no word.
    """

    def __init__(self, node: Node, topic: str, max_age_s: float):
        self._max_age_s = max_age_s
        self._newest: tuple[float, bool] | None = None
        node.create_subscription(RewardSample, topic, self._on_sample, qos.LOG)

    def _on_sample(self, sample: RewardSample) -> None:
        self._newest = convert.seconds(sample.header.stamp), bool(sample.done and sample.valid)

    def objects(self, stamp: float) -> bool:
        """Whether it says 'not done' at ``stamp`` [s], or says nothing recent."""
        newest = self._newest
        if newest is None or abs(stamp - newest[0]) > self._max_age_s + _EPSILON:
            return True
        return not newest[1]


class NodeJudging:
    """Parameters ``pipeline``, ``done_threshold``, ``veto_topic`` and ``veto_age_s``, and what they make."""

    def __init__(self, node: Node):
        self._node = node
        self._pipeline = parameter(
            node, 'pipeline', '', 'YAML of a reward pipeline: calibration and done detector; empty: neither'
        )
        self._threshold = parameter(
            node, 'done_threshold', 0.9, 'without a pipeline: done probability that counts as done', 0.0, 1.0
        )
        self._veto_topic = parameter(
            node, 'veto_topic', '', 'RewardSample that must say done as well; empty: nobody is asked'
        )
        self._veto_age = parameter(node, 'veto_age_s', 1.0, 'how old its word may be', 0.0, 600.0)

    def judging(self, model: RewardModel, namespace: str, views: int) -> Judging:
        """For the episodes of one robot. Raises StartupError if pipeline and model do not fit."""
        try:
            pipeline = RewardPipeline.load(self._pipeline) if self._pipeline else None
            judging = Judging(model, pipeline, self._threshold, self._veto(namespace), views)
        except RewardModelError as error:
            raise StartupError(str(error)) from None
        return judging

    def _veto(self, namespace: str) -> Veto | None:
        if not self._veto_topic:
            return None
        absolute = self._veto_topic.startswith('/')  # one source for all robots
        topic = f'{namespace}/{self._veto_topic}' if namespace and not absolute else self._veto_topic
        return Predicate(self._node, topic, self._veto_age).objects
