# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The guide: says how much a person should help now, and why. It commands nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from apprentice_interfaces.msg import ControlState, EpisodeState, GuidanceState, RewardSample
from std_msgs.msg import String

from apprentice.episodes.files import SUFFIX, file_stem
from apprentice.learning.advantage import progress_of
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.grades import Advice, AdviceKind, Grade, Plan
from apprentice.learning.guidance.guide import Guide
from apprentice.learning.guidance.history import History
from apprentice.learning.guidance.tries import measures_progress
from apprentice.nodes import convert, qos
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, ManagedNode, parameter, run, wall_timer
from apprentice.robot.types import ControlMode

_LOOK_S = 2.0  # wall seconds between two looks at the episode folder; a sealed episode is looked for at once
_READ_S = 0.05  # wall seconds for reading at a time
_DRIVERS = {ControlMode.POLICY: False, ControlMode.HUMAN: True}  # whether a person drives; else nobody does


class GuideNode(ManagedNode):
    """Runs a :class:`~apprentice.learning.guidance.guide.Guide` on the graph, see docs/people.md.

    What it knows is read from the sealed episodes of the run folder when it is configured, so it can be ended
    at any moment. A file that cannot be read is left out and named in the diagnostics.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__('guide', **kwargs)
        self.spec = load_robot(self)
        run_dir = parameter(self, 'run_dir', 'runs/latest', 'folder of this run, with its episodes')
        settings = parameter(self, 'guidance', '', 'YAML of GuidanceConfig; empty: the written defaults')
        self._model = parameter(
            self,
            'reward_model',
            '',
            'model whose progress is watched; empty: the first that reports progress',
        )
        self._seed = parameter(self, 'seed', 0, 'of the choice among starts that fail', 0, 2**31)
        self._episodes = Path(run_dir).expanduser() / 'episodes'
        self._config = GuidanceConfig.load(Path(settings).expanduser()) if settings else GuidanceConfig()
        self.guide = Guide(self._config, model=self._model)

    def configure(self) -> None:
        self.guide = Guide(self._config, model=self._model)
        self._history = History(self._episodes, self.spec, self.guide)
        self._human: bool | None = None
        self._episode: EpisodeState | None = None  # the one that runs
        self._watched = self._model
        self._plan, self._next = Plan(), Plan()  # of the running episode, and of the one after it
        self._proposed: dict[int, Plan] = {}  # by seed, since the last episode began
        self._begun: dict[str, Plan] = {}  # by file of the episode, as long as it is not read
        self._advice = Advice()
        self._said: dict[str, Any] = {}
        self._look_at, self._problem = 0.0, ''
        self._state = self.create_publisher(GuidanceState, 'guide/state', qos.STATE)
        self.create_subscription(RewardSample, 'reward/sample', self._on_sample, qos.LOG)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self.create_subscription(String, 'recorder/sealed', self._on_sealed, qos.LOG)
        wall_timer(self, 0.1, self._read)
        self._diagnostics = Diagnostics(self, self._report, self.spec.name)

    def activate(self) -> None:
        self._said = {}  # to be said again

    def _on_gate(self, message: ControlState) -> None:
        self._human = _DRIVERS.get(ControlMode(message.mode))

    def _on_episode(self, message: EpisodeState) -> None:
        running = self._episode
        if message.phase != EpisodeState.RUNNING:
            self._episode, self._plan = None, Plan()
            if running is not None:
                self._consider()
            return
        self._episode = message
        if running is None or running.episode_id != message.episode_id:
            self._begin(message)
        self._publish()

    def _begin(self, message: EpisodeState) -> None:
        plan = Plan(int(message.seed), Grade.REPLAY)
        self._watched, self._advice = self._model, Advice()
        if not message.eval_only:
            plan = self._proposed.get(plan.seed or 0, plan)
            self.guide.began(plan)
            self._begun[file_stem(message.episode_id) + SUFFIX] = plan
            self._advice = self.guide.between(plan)  # who has not heard it yet hears it now
            self._proposed = {}
        self._plan = plan

    def _on_sample(self, message: RewardSample) -> None:
        episode = self._episode
        if episode is None or message.episode_id != episode.episode_id:
            return
        if episode.eval_only or self._plan.demonstrate:
            return
        try:
            reward = convert.reward_of(message)
        except ValueError as error:
            self._problem = f'a sample of {message.model} cannot be read: {error}'
            return
        if not measures_progress(reward, self._watched) or not np.isfinite(progress_of(reward)):
            return
        self._watched = self._watched or reward.model  # two models in turn would look like jumps
        # who drove at the sample's own moment is in the log; for advice the present is near enough
        self._advice = self.guide.observe(
            reward.t1, progress_of(reward), reward.std, self._human, episode.episode_id
        )
        self._publish()

    def _on_sealed(self, message: String) -> None:
        self._look_at = 0.0

    def _read(self) -> None:
        """Read what is new for a moment, and say what is known when there is nothing left."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._history.look()
        news = not self._said
        while self._history.waiting and time.monotonic() < now + _READ_S:
            name, news = self._history.take(), True
            plan = self._begun.pop(name, None)
            if plan is not None and name in self._history.refused:
                self.guide.cancelled(plan)
        if news and not self._history.waiting:
            self._consider()

    def _consider(self) -> None:
        """Decide about the next episode and say it. The same episodes give the same choice."""
        self._next = self.guide.proposal(np.random.default_rng((self._seed, len(self.guide.tries))))
        if self._next.proposed and self._next.seed is not None:
            self._proposed[self._next.seed] = self._next
        if self._episode is None:
            self._advice = self.guide.between(self._next)
        self._publish()

    def _publish(self) -> None:
        """Say it, if it is news."""
        if not self.active:
            return
        plan = self._next
        reason = self._advice.reason or (plan if self._episode is None else self._plan).reason
        say = {
            'episode_id': self._episode.episode_id if self._episode else '',
            'grade': int(self._grade()),
            'advice': int(self._advice.kind),
            'reason': reason,
            'start_proposed': plan.proposed,
            'start_seed': int(plan.seed or 0),
            'start_cluster': plan.cluster,
            'success': float(plan.success),
            'tries': int(plan.tries),
            'intervention_share': float(self.guide.intervention_share),
        }
        if say != self._said:
            self._said = say
            message = GuidanceState(**say)
            message.header.stamp = self.get_clock().now().to_msg()
            self._state.publish(message)

    def _grade(self) -> Grade:
        """Of the running episode, else of the next one."""
        if self._episode is None:
            return self._next.grade
        advised = self._advice.kind in (AdviceKind.TAKE_OVER, AdviceKind.HAND_BACK)
        if advised or (self._human and not self._plan.demonstrate):
            return Grade.TAKEOVER
        return self._plan.grade

    def _report(self) -> tuple[bytes, str, dict]:
        guide, rate = self.guide, self.guide.success
        values = {
            'episodes': len(guide.tries),
            'waiting': self._history.waiting,
            'success alone': f'{rate.successes} of {rate.n}, 95 % {rate.low:.0%} to {rate.high:.0%}',
            'driven by people': f'{guide.intervention_share:.1%}',
            'tapered': guide.tapered,
            'refused': '; '.join(self._history.refused.values()),
        }
        for record in guide.starts:
            if record.grade > Grade.NONE:
                values[record.start.name] = f'{record.grade.name}: {record.reason()}'
        problem = self._problem or guide.warning
        if problem:
            return Diagnostics.WARN, problem, values
        return Diagnostics.OK, self._grade().name.lower().replace('_', ' '), values


def main() -> None:
    """Entry point of ``guide_node``."""
    run(GuideNode)


if __name__ == '__main__':
    main()
