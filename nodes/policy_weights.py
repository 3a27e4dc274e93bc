# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The weights of the policy node: those that act, and those that are offered while it runs."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from apprentice_interfaces.msg import WeightsAck, WeightsVersion
from rclpy.node import Node

from apprentice.learning.probe_set import ProbeConfig, compare
from apprentice.learning.rl.choosing import Choosing, critics_act, load_choosing
from apprentice.nodes import qos
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.rtc import RtcConfig
from apprentice.policies.runtime import ChunkPolicy, load_policy
from apprentice.robot.parts import find_weights
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

_SHIPPED_FOR = ('torch', 'compiled', 'onnx')  # runtimes whose weights may be named as a shipped folder
_ELSEWHERE = ('remote', 'openpi')  # runtimes whose weights a server holds


@dataclass(frozen=True)
class _Offer:
    policy: ChunkPolicy
    message: WeightsVersion
    observation: Observation | None  # that it was asked about
    actions: np.ndarray | None  # its answer


class PolicyWeights:
    """Loads what ``learner/weights`` offers beside the acting policy, verifies, and acknowledges.

    The planner calls :meth:`swap` between two chunks. Whatever is wrong with an offer, the old ones act on.

    Args:
        runtime: see :func:`~apprentice.policies.runtime.load_policy`; ``options`` are given to it.
        execute_steps: rows that are followed of each chunk.
        wake: called, from another thread, when there is something to swap.
        probe: how much an action may change when the offered weights come right after the acting ones.

    Attributes:
        observation: the newest one that was planned from; offered weights are asked about it.
    """

    def __init__(
        self,
        node: Node,
        robot: RobotSpec,
        runtime: str,
        options: dict[str, Any],
        execute_steps: int,
        rtc: RtcConfig,
        wake: Callable[[], None],
        probe: ProbeConfig | None = None,
    ):
        self._node, self._robot, self._runtime, self._options = node, robot, runtime, options
        self._execute_steps, self._rtc, self._wake = execute_steps, rtc, wake
        self._probe = probe or ProbeConfig()
        self.observation: Observation | None = None
        self._lock = threading.Lock()
        self._next: _Offer | None = None
        self._wanted = (0, '')  # version and hash of the newest offer
        self.policy: ChunkPolicy | None = None
        self.version = 0

    def start(self, weights: str) -> None:
        """Load the first weights and listen for others. Raises ValueError, OSError or ImportError."""
        found = find_weights(weights) if self._runtime in _SHIPPED_FOR else weights
        self.policy, manifest = self._load(str(found), '')
        name = manifest.get('about', {}).get('name', 'unnamed')
        self._node.get_logger().info(f'weights {found} ({name}), runtime {self._runtime}')
        self._acks = self._node.create_publisher(WeightsAck, 'policy/weights_ack', qos.STATE)
        self._node.create_subscription(WeightsVersion, 'learner/weights', self._on_offer, qos.STATE)

    @property
    def waiting(self) -> bool:
        """Whether verified weights wait for :meth:`swap`."""
        return self._next is not None

    @property
    def max_delay(self) -> int | None:
        """Rows of delay the acting policy may be given; None: any."""
        return _trained_delay(self.policy) if self._rtc.mode == 'trained' else None

    def swap(self) -> None:
        """Let the verified weights act. Called by the planner only, between two chunks."""
        with self._lock:
            swap, self._next = self._next, None
        if swap is None:
            return
        message, reason = swap.message, self._change(swap)
        if reason:
            _close(swap.policy)
            self._refuse(message, reason)
            return
        _close(self.policy)
        self.policy = swap.policy
        self.version = message.version
        self.acknowledge(message.version, True, '')
        self._node.get_logger().info(f'acting with weights {message.version} ({message.episodes} episodes)')

    def acknowledge(self, version: int, ok: bool, reason: str) -> None:
        """Say what became of an offer, and what acts now."""
        ack = WeightsAck(version=version, active_version=self.version, ok=ok, reason=reason)
        ack.header.stamp = self._node.get_clock().now().to_msg()
        self._acks.publish(ack)

    def close(self) -> None:
        """Release what the runtime holds, such as a connection."""
        _close(self.policy)
        self.policy = None

    def _on_offer(self, message: WeightsVersion) -> None:
        wanted = (message.version, message.sha256)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if self._runtime in _ELSEWHERE:
            reason = (
                f'the policy runs on another machine (runtime {self._runtime}): start the server there with '
                f'{message.uri}, then configure this node again; or use the runtime torch here'
            )
            self._refuse(message, reason)
            return
        threading.Thread(target=self._try, args=(message,), name='weights', daemon=True).start()

    def _try(self, message: WeightsVersion) -> None:
        try:
            policy, _ = self._load(message.uri, message.sha256)
            observation = self.observation
            actions = _answer(policy, observation)
        except Exception as error:
            if not isinstance(error, (ValueError, OSError, ImportError)):  # those carry cause and remedy
                self._node.get_logger().error(traceback.format_exc())
            self._refuse(message, str(error) or repr(error))
            return
        with self._lock:
            if (message.version, message.sha256) != self._wanted:
                _close(policy)
                return  # something newer came meanwhile
            self._next = _Offer(policy, message, observation, actions)
        self._wake()

    def _change(self, offer: _Offer) -> str:
        """Why the offered weights must not follow on the acting ones; empty: they may.

        Only the next version is compared. A rollback, or what was learned while this node was away, may be
        far from what acts.
        """
        message, policy = offer.message, self.policy
        following = message.parent == self.version and message.version == self.version + 1
        if policy is None or offer.actions is None or not following:
            return ''
        try:
            before = _answer(policy, offer.observation)
        except Exception:
            return ''  # what acts is no measure
        return compare(offer.actions, before, policy.spec, self._probe).reason if before is not None else ''

    def _refuse(self, message: WeightsVersion, reason: str) -> None:
        self._node.get_logger().error(f'refused weights {message.version}: {reason}')
        self.acknowledge(message.version, False, reason)

    def _load(self, weights: str, sha256: str) -> tuple[ChunkPolicy, dict[str, Any]]:
        try:
            policy, manifest = load_policy(weights, sha256, self._runtime, **self._options)
        except TypeError as error:
            raise ValueError(
                f'runtime {self._runtime} with {self._options}: {error}; check runtime_options'
            ) from error
        try:
            self._check(policy)
            if isinstance(policy, FlowPolicy):
                return load_choosing(weights, policy, manifest), manifest
        except ValueError:
            _close(policy)
            raise
        if critics_act(manifest):
            self._node.get_logger().warning(
                f'runtime {self._runtime} runs the policy alone, without its critics; runtime torch runs both'
            )
        return policy, manifest

    def _check(self, policy: ChunkPolicy) -> None:
        """Raise ValueError naming why a policy cannot act here."""
        policy.spec.require(self._robot)
        horizon = policy.spec.horizon
        if self._execute_steps > horizon:
            raise ValueError(
                f'execute_steps {self._execute_steps} exceeds the horizon {horizon} of the weights; '
                'lower execute_steps, or use weights with a longer horizon'
            )
        if self._rtc.mode != 'none' and getattr(getattr(policy, 'config', None), 'head', '') == 'fast':
            raise ValueError('the fast head of these weights cannot continue a chunk; set rtc to none')
        if self._rtc.mode == 'trained' and _trained_delay(policy) == 0:
            raise ValueError(
                'rtc is trained, but these weights were not trained with clean leading rows (their max_delay '
                'is 0); use rtc soft, or train with a max_delay'
            )


def _trained_delay(policy: ChunkPolicy | None) -> int | None:
    """The longest delay a policy was trained with; None where it does not say."""
    return getattr(getattr(policy, 'config', None), 'max_delay', None)


def _answer(policy: ChunkPolicy, observation: Observation | None) -> np.ndarray | None:
    """What a policy answers, always with the same noise; None without an observation.

    Raises ValueError for an action that is not finite.
    """
    if observation is None:
        return None
    if isinstance(policy, Choosing):
        policy.act(observation, torch.Generator().manual_seed(0))  # raises where the critics cannot act
        policy = policy.policy  # another candidate may be chosen as critics learn: compare what plans them
    actions = policy.act(observation, torch.Generator().manual_seed(0))
    if not np.all(np.isfinite(actions)):
        raise ValueError('they produce an action that is not finite; use an earlier version')
    return actions


def _close(policy: ChunkPolicy | None) -> None:
    close = getattr(policy, 'close', None)
    if close is not None:
        close()
