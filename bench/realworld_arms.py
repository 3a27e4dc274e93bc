# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One run of `apprentice bench realworld-rl`: its starter policy, its arms, its settings."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md
from tqdm import tqdm

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.clone import clone
from apprentice.learning.clone_config import CloneConfig
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.practice import Evaluation, Judge, Practice, PracticeConfig, evaluate
from apprentice.learning.recipe import load_recipe
from apprentice.learning.sampling import seeded
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.policies import checkpoint
from apprentice.policies.spec import PolicySpec
from apprentice.robot.files import sha256
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome
from apprentice.sim.people import PersonConfig
from apprentice.sim.rollout import rollouts
from apprentice.sim.worlds import Worlds

GROUP = 4  # episodes between two rounds of updates
DEMONSTRATIONS = 60
DEVELOPMENT = 600_000  # starts to choose settings on
HELD_OUT = 900_000
LAST = 950_000  # starts of the last evaluation
UPDATES = 50  # gradient steps of the flow for an episode
PERSON = PersonConfig(patience_s=1.5, reaction_s=1.0, follows=0.9, mistakes=0.1, wobble=0.004)
CLUMSY = {'mistakes': 0.5, 'wobble': 0.02}  # every other takeover begins with 1.5 s of wrong driving
LEAVE = 20  # episodes after which people go
# an arm in simulation is stuck sooner than a real one; a takeover that almost won teaches how a task ends
GUIDANCE = GuidanceConfig(stall_s=2.0, hand_back_gain=0.8)


@dataclass(frozen=True)
class Arm:
    """What differs from the full recipe.

    Attributes:
        everywhere: on every task, not on the first alone.
        online: changes of the critics' settings; None: no critics.
        settings: changes of the algorithm's; windows: of the transitions.
        advantage: changes of what weighs the steps of the flow, where critics do not; consolidation: where
            they do.
        own_actor: the algorithm needs no policy: of the recipe's settings it takes those of the critics, and
            gets a critic of the gripper.
        person: changes of who helps; people_until: episodes after which they go, 0: never.
        kill_every: episodes after which the learner is killed.
    """

    everywhere: bool = False
    people: bool = True
    preference: bool = True
    online: dict[str, Any] | None = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, Any] = field(default_factory=dict)
    advantage: dict[str, Any] = field(default_factory=dict)
    consolidation: dict[str, Any] = field(default_factory=dict)
    own_actor: bool = False
    person: dict[str, Any] = field(default_factory=dict)
    people_until: int = 0
    kill_every: int = 0
    dead: tuple[int, ...] = ()


# every step of a person weighs 1, however the episode ended, and no step of the policy (arXiv 1810.02890)
HG_DAGGER = Arm(preference=False, online=None, advantage={'ceiling': 0.0, 'human_failed': 1.0})
ARMS: dict[str, Arm] = {
    'full': Arm(everywhere=True),
    # nobody else teaches: what succeeded is imitated
    'alone': Arm(people=False, consolidation={'own': 1.0}),
    'hg-dagger': HG_DAGGER,
    'weighted': Arm(preference=False, online=None),
    # its own actor from the beginning, and about two updates a step
    'rlpd': Arm(
        preference=False,
        online={'part': 'apprentice.learning.rl.rlpd_sac:RlpdSac', 'act_after': 0, 'updates': 4},
        own_actor=True,
    ),
    'no-edit': Arm(settings={'scale': 0.0}),
    'own-success': Arm(consolidation={'own': 1.0, 'human_failed': 0.0}),
    'no-preference': Arm(preference=False),
    'raw-progress': Arm(windows={'raw_differences': True}),
    'full-left': Arm(people_until=LEAVE),
    'hg-dagger-left': replace(HG_DAGGER, people_until=LEAVE),
    'full-clumsy': Arm(person=CLUMSY),
    'hg-dagger-clumsy': replace(HG_DAGGER, person=CLUMSY),
    'killed': Arm(kill_every=20),
    'dead-reward': Arm(dead=(40, 50)),
}


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        position: where its progress bar stands.
        policy: folder of the policy it begins with; empty: that of :func:`starter`.
    """

    task: str
    arm: str
    seed: int
    episodes: int
    trials: int
    every: int
    until: float
    work: str
    position: int = 0
    policy: str = ''

    @property
    def folder(self) -> Path:
        """Of its results, by its settings; remove it where the code has changed."""
        name = f'{self.task}_{self.arm}_{self.seed}_{self.episodes}_{self.trials}_{self.every}_{self.until:g}'
        if self.policy:  # by its content, too
            name += f'_{Path(self.policy).name}_{sha256(Path(self.policy) / checkpoint.MANIFEST)[:8]}'
        return Path(self.work) / name


def robot(task: str) -> RobotSpec:
    """The simulated arm at a task of sim/tasks."""
    spec = RobotSpec.load(find_robot('sim_arm'))
    return spec if task == 'pick' else spec.with_task(task)


def shown(task: str, worlds: Worlds) -> list[Episode]:
    """The demonstrations that the starter was cloned from, and every learner replays."""
    made = rollouts(worlds, range(DEMONSTRATIONS), None, expert=worlds.expert())
    return [
        replace(episode, episode_id=f'{task}-demonstration-{episode.seed}')
        for episode in made
        if episode.outcome == Outcome.SUCCESS
    ]


def starter(task: str, work: Path, say: Callable[[str], None] = lambda text: None) -> Path:
    """Folder of the policy every run of a task begins with: shipped for pick, else cloned here, once.

    Cloning ends with the first number of steps that succeeds in a fifth of the development starts.
    """
    if task == 'pick':
        return share('weights', 'policy')
    out = work / f'starter_{task}'
    if (out / checkpoint.MANIFEST).is_file():
        return out
    spec = robot(task)
    worlds = Worlds(spec, GROUP)
    episodes = shown(task, worlds)
    shipped, _ = checkpoint.load(share('weights', 'policy'))
    for steps in (300, 500, 700, 1000, 2000, 4000, 8000):
        made = work / f'starter_{task}_{steps}'
        config = CloneConfig(steps=steps, policy=shipped.config, algorithm=WeightedFlowConfig(batch=32))
        clone(episodes, spec, made, config)
        policy, _ = checkpoint.load(made)
        found = evaluate(worlds, seeded(policy), range(DEVELOPMENT, DEVELOPMENT + 50))
        say(f'starter of {task}: {steps} steps, {found.successes} of {found.trials} development starts')
        if found.rate >= 0.2:
            made.rename(out)
            break
    else:
        raise RuntimeError(f'no starter of {task} succeeds in a fifth of the trials; look at the task')
    return out


def learner_config(arm: Arm, spec: PolicySpec, duration_s: float) -> LearnerConfig:
    """The shipped recipe with what the arm changes, for a policy and a task of ``duration_s``."""
    base = LearnerConfig(
        updates_per_episode=UPDATES,
        warm_up=2,
        force_rewards=True,
        advantage=AdvantageConfig(model='judge', **arm.advantage),
        algorithm=WeightedFlowConfig(learning_rate=4e-4, batch=32, ema=0.99),
    )
    config = load_recipe('flow_edit', base)
    if not arm.preference:
        config = replace(config, preference=None)
    if arm.online is None or config.online is None:
        return replace(config, online=None)
    settings = config.online.settings
    if arm.own_actor:
        settings = {'critic': settings['critic'], **gripper(spec)}
    settings = {**settings, **arm.settings}
    windows = replace(config.online.windows, duration_s=duration_s, **arm.windows)
    consolidation = replace(config.online.consolidation, **arm.consolidation)
    online = replace(
        config.online, settings=settings, windows=windows, consolidation=consolidation, **arm.online
    )
    return replace(config, online=online)


def gripper(spec: PolicySpec) -> dict[str, Any]:
    """HIL-SERL's discrete critic of the gripper: its column, closed and open as demonstrated."""
    (column,) = np.flatnonzero(~np.asarray(spec.relative)).tolist()
    action = spec.action
    ends = (np.array([action.low[column], action.high[column]]) - action.mean[column]) / action.std[column]
    return {'gripper': (column,), 'gripper_positions': tuple(ends.tolist())}


def practise(run: Run) -> dict[str, Any]:
    """Do a run; what is written to its folder is the learner's."""
    logging.getLogger('apprentice').setLevel(logging.WARNING)
    torch.set_num_threads(1)
    arm, spec, folder = ARMS[run.arm], robot(run.task), run.folder
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    folder.mkdir(parents=True)
    worlds = Worlds(spec, GROUP)
    judge = Judge(dead=arm.dead)
    rng = np.random.default_rng(run.seed)
    # rewards of one kind: demonstrations are measured as well
    episodes = [judge.judge(episode, -1, rng) for episode in shown(run.task, worlds)]
    begin = Path(run.policy) if run.policy else starter(run.task, Path(run.work))
    config = learner_config(arm, checkpoint.load(begin)[0].spec, worlds.max_duration_s)

    def make() -> Learner:
        learner = Learner(spec, folder, begin, config, run.seed)
        learner.show(episodes)
        return learner

    def write_and_ingest(learner: Learner, episode: Episode) -> None:
        (folder / 'episodes').mkdir(parents=True, exist_ok=True)
        text = find_robot('sim_arm').read_text()
        write_episode(folder / 'episodes' / f'{episode.episode_id}.mcap', episode, spec, text)
        learner.ingest()

    practice = Practice(
        make,
        worlds,
        worlds.expert,
        PracticeConfig(
            episodes=run.episodes,
            group=GROUP,
            evaluate_every=run.every,
            trials=run.trials,
            first_seed=HELD_OUT,
            seed=run.seed,
            person=replace(PERSON, **arm.person) if arm.people else None,
            people_until=arm.people_until,
            guidance=GUIDANCE if arm.people else None,
            judge=judge,
        ),
        **({'take': write_and_ingest} if arm.kill_every else {}),
    )
    kills = 0
    with tqdm(total=run.episodes, desc=run.folder.name, unit='episode', position=1 + run.position) as bar:
        for result in practice.run():
            done = len(result.alone)
            bar.update(done - bar.n)
            bar.set_postfix_str(f'{result.evaluations[-1].rate:.0%} at {result.evaluations[-1].episodes}')
            if arm.kill_every and done // arm.kill_every > kills:
                kills = done // arm.kill_every
                practice.restart()  # what was learned since the last version is lost, and owed again
            elif arm.kill_every:
                practice.learner.publish()
            last = result.evaluations[-2:]
            if len(last) == 2 and last[-1].episodes == done and min(e.rate for e in last) >= run.until:
                break
    held = list(practice.result.evaluations)
    final = practice.evaluate(len(practice.result.alone), LAST)
    return {
        'start': _entry(held[0]),
        'evaluations': [_entry(found) for found in held],
        'final': _entry(final),
        'to80': practice.result.episodes_to(0.8),
        'to90': practice.result.episodes_to(0.9),
        'episodes_done': len(practice.result.alone),
        'alone': practice.result.alone,
        'human': practice.result.human,
        'steps': practice.result.steps,
        'grades': practice.result.grades,
        'metrics': practice.result.metrics,
        'kills': kills,
    }


def _entry(found: Evaluation) -> dict[str, Any]:
    return {**asdict(found), 'interval': list(found.interval)}
