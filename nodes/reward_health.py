# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Watches the reward models: after every episode one report a model on ``reward/health``.

It looks at the measurements, at small pictures of the cameras, at what was commanded, and at who said that an
episode succeeded. It never commands anything; the learner obeys the report.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from apprentice_interfaces.msg import EpisodeState, ExecutedCommand, RewardHealth, RewardSample
from PIL import Image as Picture
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from apprentice.nodes import convert, qos
from apprentice.nodes.frame_sets import FrameSet, FrameSets
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, StartupError, parameter, run, simulated_time, wall_timer
from apprentice.reward_models.monitor.collect import JointRange, Seen, evidence_of
from apprentice.reward_models.monitor.detector import Level
from apprentice.reward_models.monitor.watch import Watch
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Reward

_SIDE = 64  # pixels of the pictures that are kept of an episode
_PERIOD_S = 0.5  # between them
_END_S = 0.6  # a sample so near the end is the last one of its model
_WAIT_S = 2.0  # wall seconds for the last samples after the end
_TRUTH = 'simulator'  # model name of the simulator's truth, which is judged by nobody


@dataclass
class _Track:
    """An episode as far as it is known."""

    episode_id: str
    text: str
    due: float
    ended: float = 0.0
    deadline: float = float('inf')
    gold: float = float('nan')
    stamps: list[float] = field(default_factory=list)
    frames: dict[str, list[np.ndarray]] = field(default_factory=dict)
    commands: list[tuple[float, np.ndarray]] = field(default_factory=list)
    rewards: dict[str, list[Reward]] = field(default_factory=dict)

    def complete(self) -> bool:
        """Whether every model that spoke has scored the end."""
        last = [max(reward.t1 for reward in rewards) for rewards in self.rewards.values()]
        return bool(last) and min(last) >= self.ended - _END_S

    def seen(self) -> Seen:
        return Seen(
            np.array(self.stamps),
            {name: np.stack(stack) for name, stack in self.frames.items()},
            np.array([stamp for stamp, _ in self.commands]),
            np.array([command for _, command in self.commands]),
        )


class RewardHealthNode(Node):
    """Runs a :class:`~apprentice.reward_models.monitor.watch.Watch` for every reward model it hears."""

    def __init__(self, **kwargs) -> None:
        super().__init__('reward_health', **kwargs)
        self.spec = load_robot(self)
        run_dir = parameter(self, 'run_dir', 'runs/latest', 'folder of this run; reports go to reward_health')
        folder = parameter(
            self, 'calibration', '', 'folder of calibrations by model and version; empty: in the run folder'
        )
        self._episodes = parameter(
            self,
            'calibration_episodes',
            20,
            'first episodes taken as normal without a calibration',
            10,
            10000,
        )
        self._false_alarm = parameter(
            self, 'false_alarm', 0.01, 'wanted false alarms per detector and episode', 0.0001, 0.5
        )
        success = parameter(
            self, 'success_topic', '', 'RewardSample topic whose done ends an episode, as of the episode node'
        )
        ranges = parameter(
            self, 'success_joints', [''], "joint:low:high that success needs, e.g. 'gripper:0.005:0.03'"
        )
        seed = parameter(self, 'seed', 0, 'of the episodes proposed for audit', 0, 2**31)
        # what ends an episode must not be the reward model itself: then nobody else has looked
        self._trusts_predicate = bool(success) and success.strip('/') != 'reward/sample'
        self._seed = seed
        self._folder = Path(folder or Path(run_dir) / 'reward_health').expanduser()
        self._conditions = [_joint_range(text, self.spec) for text in ranges if text]
        self._watches: dict[str, Watch] = {}
        self._track: _Track | None = None
        self._gold: dict[str, float] = {}  # episode -> verdict that was counted
        self._said: dict[str, Level] = {}  # model -> level that was told last
        self._audits: dict[str, str] = {}  # episode -> why a person should look at it
        self._problem = ''
        self._sets = FrameSets(list(self.spec.cameras), simulated_time(self))
        self._health = self.create_publisher(RewardHealth, 'reward/health', qos.HEALTH)
        for camera in self.spec.cameras:
            self.create_subscription(Image, camera.topic, partial(self._on_image, camera.name), qos.SENSOR)
        self.create_subscription(RewardSample, 'reward/sample', self._on_sample, qos.LOG)
        self.create_subscription(ExecutedCommand, 'gate/executed', self._on_executed, qos.LOG)
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self.create_service(Trigger, 'reward/acknowledge', self._on_acknowledge)
        wall_timer(self, 0.1, self._check)
        Diagnostics(self, self._report, self.spec.name)

    def _on_image(self, name: str, message: Image) -> None:
        for frames in self._sets.add(name, convert.seconds(message.header.stamp), message, time.monotonic()):
            self._look(frames)

    def _look(self, frames: FrameSet) -> None:
        track = self._track
        if track is None or track.ended or frames.stamp < track.due - 1e-6:
            return
        small = {}
        for name, message in frames.images.items():
            try:
                picture = Picture.fromarray(convert.image_array(message))
                small[name] = np.asarray(picture.resize((_SIDE, _SIDE), Picture.Resampling.BOX))
            except ValueError as error:
                self._problem = f'an image of {name} cannot be read: {error}'
                return  # a moment counts with all of its cameras or not at all
        track.due = frames.stamp + _PERIOD_S
        track.stamps.append(frames.stamp)
        for name, picture_of in small.items():
            track.frames.setdefault(name, []).append(picture_of)

    def _on_sample(self, message: RewardSample) -> None:
        track = self._track
        if track is None or message.episode_id != track.episode_id or message.model in ('', _TRUTH):
            return
        try:
            track.rewards.setdefault(message.model, []).append(convert.reward_of(message))
        except ValueError as error:
            self._problem = f'a sample of {message.model} cannot be read: {error}'

    def _on_executed(self, message: ExecutedCommand) -> None:
        track = self._track
        driving = message.source in (ExecutedCommand.SOURCE_POLICY, ExecutedCommand.SOURCE_HUMAN)
        if track is not None and driving and message.episode_id == track.episode_id:
            track.commands.append((convert.seconds(message.header.stamp), np.array(message.executed)))

    def _on_episode(self, message: EpisodeState) -> None:
        track = self._track
        if message.phase == EpisodeState.RUNNING:
            if track is None or track.episode_id != message.episode_id:
                self._judge()  # the one before, if its last samples never came
                self._track = _Track(message.episode_id, message.task, convert.seconds(message.started))
        elif message.phase == EpisodeState.ENDED:
            gold = self._verdict(message)
            if track is not None and track.episode_id == message.episode_id:
                if message.outcome == EpisodeState.ABORT:
                    self._track = None
                    return
                track.gold = gold
                if not track.ended:
                    track.ended = convert.seconds(message.ended) or convert.seconds(message.header.stamp)
                    track.deadline = time.monotonic() + _WAIT_S
            elif np.isfinite(gold) and gold != self._gold.get(message.episode_id):
                self._audited(message.episode_id, gold)

    def _verdict(self, message: EpisodeState) -> float:
        """1 success, 0 failure, NaN where only the reward model, or nobody, has judged."""
        trusted = message.end_cause == EpisodeState.CAUSE_HUMAN or (
            self._trusts_predicate
            and message.end_cause in (EpisodeState.CAUSE_PREDICATE, EpisodeState.CAUSE_TIMEOUT)
        )
        known = message.outcome in (EpisodeState.SUCCESS, EpisodeState.FAILURE)
        return float(message.outcome == EpisodeState.SUCCESS) if trusted and known else float('nan')

    def _audited(self, episode_id: str, gold: float) -> None:
        """A person judged an earlier episode (episode/label)."""
        known = [watch.audit(episode_id, gold >= 0.5) for watch in self._watches.values()]
        if any(known):
            self._gold[episode_id] = gold
            self._audits.pop(episode_id, None)
            self.get_logger().info(f'audit of {episode_id}: {"success" if gold >= 0.5 else "failure"}')

    def _check(self) -> None:
        track = self._track
        if track is None or not track.ended:
            return
        if track.complete() or time.monotonic() >= track.deadline:
            self._judge()

    def _judge(self) -> None:
        """Report on every model that scored the episode at hand."""
        track, self._track = self._track, None
        if track is None or not track.ended:
            return
        lower, upper = self.spec.vector('lower'), self.spec.vector('upper')
        for model, rewards in sorted(track.rewards.items()):
            try:
                evidence = evidence_of(
                    track.episode_id,
                    track.text,
                    rewards,
                    track.seen(),
                    track.gold,
                    lower,
                    upper,
                    self._conditions,
                )
                report = self._watch(model).judge(evidence)
            except (ValueError, OSError) as error:  # a broken report must not end the watching
                self._problem = f'{model}: {error}'
                self.get_logger().error(self._problem)
                continue
            self._health.publish(convert.health_msg(report, track.ended))
            if report.audit:
                self._audits[track.episode_id] = report.audit
                self.get_logger().info(f'please look at {track.episode_id} and label it: {report.audit}')
            text = f'{model}: {report.level.name}. {report.reason}'
            news = report.level != self._said.get(model, Level.OK)
            self._said[model] = report.level
            if news and report.level > Level.OK:  # two calls: rclpy lets no line change its severity
                self.get_logger().warning(text)
            else:
                self.get_logger().info(text)
        self._gold[track.episode_id] = track.gold

    def _watch(self, model: str) -> Watch:
        if model not in self._watches:
            self._watches[model] = Watch(
                self._folder, model, self._episodes, self._false_alarm, seed=self._seed
            )
        return self._watches[model]

    def _on_acknowledge(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """A person has read the reasons: the levels may fall, one step after every quiet stretch."""
        raised = [model for model, watch in self._watches.items() if watch.level > Level.OK]
        for model in raised:
            self._watches[model].acknowledge('reward/acknowledge')
        response.success = bool(raised)
        response.message = ', '.join(raised) if raised else 'no level is raised'
        return response

    def _report(self) -> tuple[bytes, str, dict]:
        values = {f'level {model}': watch.level.name for model, watch in self._watches.items()}
        for model, watch in self._watches.items():
            if watch.monitor is not None:
                rate = watch.monitor.false_success_rate()
                values[f'false success {model}'] = (
                    f'{rate.wrong} of {rate.claims} audited claims, 95 % {rate.low:.1%} to {rate.high:.1%}'
                )
        values['to audit'] = ', '.join(f'{name} ({why})' for name, why in list(self._audits.items())[-10:])
        if self._problem:
            return Diagnostics.WARN, self._problem, values
        highest = max(self._watches.values(), key=lambda watch: watch.level, default=None)
        if highest is None or highest.level == Level.OK:
            return Diagnostics.OK, 'reward models are trusted' if self._watches else 'no episode yet', values
        level = Diagnostics.ERROR if highest.level >= Level.SPARSE else Diagnostics.WARN
        return level, f'{highest.model}: {highest.level.name}', values


def _joint_range(text: str, spec: RobotSpec) -> JointRange:
    name, *numbers = text.split(':')
    try:
        low, high = (float(number) for number in numbers)
        return JointRange(f'{name} in range', list(spec.joint_names).index(name), low, high)
    except ValueError:
        raise StartupError(
            f'success_joints {text!r} is not joint:low:high with a joint of {list(spec.joint_names)}'
        ) from None


def main() -> None:
    """Entry point of ``reward_health_node``."""
    run(RewardHealthNode)


if __name__ == '__main__':
    main()
