# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The arms of `apprentice bench dpo`: their episodes, their pairs, their training, their trials."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch._dynamo  # noqa: F401 - before the first GL context, see docs/architecture.md
from tqdm import tqdm

from apprentice.cli import demonstrate
from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.learning.preference.candidates import CandidateConfig
from apprentice.learning.preference.interventions import InterventionConfig, InterventionPairs
from apprentice.learning.preference.nora import NoraPairs
from apprentice.learning.preference.pairs import PairBuilder, Pairs
from apprentice.learning.preference.shadows import replayed_shadows
from apprentice.learning.preference.store import collect
from apprentice.learning.preference.train import train_dpo
from apprentice.learning.preference.train_config import TOKEN_BETA, DpoTraining, read_training
from apprentice.learning.sampling import load_policy, seeded
from apprentice.policies import checkpoint
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.files import write_text
from apprentice.robot.parts import find_robot, find_weights, share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.people import PersonConfig, ScriptedPerson
from apprentice.sim.pool import WorldPool
from apprentice.sim.rollout import RolloutConfig, rollouts
from apprentice.sim.worlds import Worlds

TOGETHER = 40  # trials at once
# beta and anchor of the flow were chosen, of few, on the starts 650000 to 650199
DEFAULTS = (
    'steps=250', 'warm_up=20', 'algorithm.learning_rate=3e-4', 'algorithm.batch=16', 'algorithm.draws=2',
    'algorithm.beta=50', 'algorithm.anchor=1',
)  # fmt: skip
SUPERVISED = {'beta': 1e-6, 'anchor': 1.0}  # so little preference that only the anchor is left
PERSON = PersonConfig(patience_s=1.5, reaction_s=1.0, mistakes=0.1, wobble=0.004)
HELPED = 20_000  # first start of the episodes in which a person helps


@dataclass(frozen=True)
class Arm:
    """What differs from the settings of all.

    Attributes:
        ranked: who ranks: ``nora``, ``deviation``; or ``demonstration``, where what was demonstrated wins, or
            ``person``, where what a person did in place of the policy wins.
        of: the demonstrations that the policy was cloned from, the further ones, or the helped episodes.
        algorithm: settings that are other than those of all.
    """

    ranked: Literal['nora', 'deviation', 'demonstration', 'person']
    of: Literal['old', 'new', 'helped'] = 'old'
    algorithm: dict[str, Any] = dataclasses.field(default_factory=dict)


ARMS: dict[str, Arm | None] = {
    'before': None,
    'nora': Arm('nora'),
    'deviation': Arm('deviation'),
    'no-anchor': Arm('nora', algorithm={'anchor': 0.0}),
    'unshared': Arm('nora', algorithm={'share_noise': False}),
    'winners': Arm('nora', algorithm=SUPERVISED),
    'self-play': Arm('demonstration'),
    'clone': Arm('demonstration', algorithm=SUPERVISED),
    'new-nora': Arm('nora', 'new'),
    'new-deviation': Arm('deviation', 'new'),
    'new-no-anchor': Arm('nora', 'new', {'anchor': 0.0}),
    'new-unshared': Arm('nora', 'new', {'share_noise': False}),
    'new-winners': Arm('nora', 'new', SUPERVISED),
    'new-self-play': Arm('demonstration', 'new'),
    'new-clone': Arm('demonstration', 'new', SUPERVISED),
    'helped': Arm('person', 'helped'),
    'helped-winners': Arm('person', 'helped', SUPERVISED),
}


def demonstrations(folder: Path, count: int, seed: int, robot: str) -> dict[str, Path]:
    """Name -> file of ``count`` scripted demonstrations; those that are missing are made."""
    names = argparse.Namespace(episodes=count, seed=seed, out=folder, robot=robot)
    if demonstrate.run(names):
        raise RuntimeError('no demonstration was made; does `apprentice demonstrate` work here?')
    return {path.stem: path for path in list(iter_sealed(folder))[:count]}


class Bench:
    """What the arms of one training seed share; ``args`` are those of the command."""

    def __init__(self, args: argparse.Namespace, seed: int):
        self.args, self.work, self.seed = args, args.work, seed
        self.spec = RobotSpec.load(find_robot(args.robot))
        self.starter = find_weights(args.policy) if args.policy else share('weights', 'policy')
        self.policy, _ = checkpoint.load(self.starter)
        self.identity = checkpoint.sha256(self.starter / checkpoint.MANIFEST)
        self.policy.spec.require(self.spec)
        tokens = [f'algorithm.beta={TOKEN_BETA}'] if 'head=fast' in args.words else []
        self.config = read_training([*DEFAULTS, 'validation=0', f'seed={seed}', *tokens, *args.words])

    @property
    def _acting(self) -> str:
        """What acts first: begin of the policy's hash, and the head that is trained."""
        return f'{self.identity[:8]}_{self.config.head}'

    def helped(self) -> dict[str, Path]:
        """Name -> file of episodes of the policy in which a simulated person takes over; made once."""
        folder, count = self.work / f'helped_episodes_{self._acting}', self.args.helped
        known = {path.stem: path for path in iter_sealed(folder)} if folder.is_dir() else {}
        starts = [HELPED + i for i in range(count)]
        missing = [start for start in starts if f'helped-{start}' not in known]
        if missing:
            worlds, text = Worlds(self.spec, 4), find_robot(self.args.robot).read_text()

            def person(start: int) -> ScriptedPerson:
                return ScriptedPerson(worlds.expert(), PERSON, start, self.spec)

            act = seeded(self.policy, 0, self.config.head)
            for episode in tqdm(rollouts(worlds, missing, act, person=person), 'helped', len(missing)):
                named = replace(episode, episode_id=f'helped-{episode.seed}')
                known[named.episode_id] = write_episode(folder, named, self.spec, text)
        return {f'helped-{start}': known[f'helped-{start}'] for start in starts}

    def _episodes(self, arm: Arm) -> dict[str, Path]:
        if arm.of == 'helped':
            return self.helped()
        count, seed = (self.args.further, 1) if arm.of == 'new' else (self.args.demonstrations, 0)
        return demonstrations(self.work / f'{arm.of}_demonstrations', count, seed, self.args.robot)

    def _builder(self, arm: Arm) -> PairBuilder:
        identity, head = self.identity, self.config.head
        if arm.ranked == 'person':
            shadows, by = replayed_shadows(self.policy, self.seed, head), f'{identity} {head}'
            return InterventionPairs(self.policy.spec, shadows, InterventionConfig(), identity=by)
        config = CandidateConfig(
            every=2 if arm.of == 'new' else 1, demonstrated=arm.ranked == 'demonstration', head=head,
            seed=self.seed,
        )  # fmt: skip
        model = None
        if arm.ranked == 'nora':
            place = self.args.world_model
            model = WorldModelReward.load(find_weights(place) if place else share('weights', 'world_model'))
        return NoraPairs(self.policy, model, config, identity)

    def pairs(self, arm: Arm) -> Pairs:
        """The pairs of an arm; what was built is not built again."""
        paths = self._episodes(arm)
        readers = {stem: partial(read_episode, path, self.spec) for stem, path in paths.items()}
        folder = self.work / f'{arm.of}_pairs_{arm.ranked}_{len(paths)}_{self._acting}_{self.seed}'

        def watch(names: Iterable[str]) -> Iterable[str]:
            return tqdm(list(names), desc=f'pairs of {folder.name}', unit='episode')

        return collect(self._builder(arm), readers, folder, watch)

    def train(self, name: str, arm: Arm) -> tuple[Path, int]:
        """The folder of the trained policy and how many pairs there were."""
        pairs = self.pairs(arm)
        algorithm = dataclasses.replace(self.config.algorithm, **arm.algorithm)
        config: DpoTraining = dataclasses.replace(self.config, algorithm=algorithm)
        out = self.work / f'{name}_{_key(config.to_dict(), pairs.digest())}'
        if not (out / checkpoint.MANIFEST).is_file():
            with tqdm(total=config.steps, desc=name, unit='step') as bar:
                train_dpo(self.starter, pairs, out, config, lambda step, _: bar.update(step - bar.n))
        return out, len(pairs)

    def evaluate(self, folder: Path) -> dict[int, bool]:
        """Seed of each start -> success of the head that is trained."""
        args, head = self.args, self.config.head
        # a starter's critics chose among its own chunks, and no arm has any
        policy = load_policy(str(folder), self.spec, self.seed, head, critics=False)
        kept = self.work / f'trials_{policy.sha256[:12]}_{head}_{args.first_seed}_{self.seed}.json'
        known = json.loads(kept.read_text()) if kept.is_file() else {}
        wanted = range(args.first_seed, args.first_seed + args.trials)
        missing = [seed for seed in wanted if str(seed) not in known]
        if missing:
            config = RolloutConfig(eval_only=True)
            with (
                WorldPool(self.spec, min(TOGETHER, len(missing))) as worlds,
                tqdm(total=len(missing), desc=folder.name, unit='trial') as bar,
            ):
                for episode in rollouts(worlds, missing, policy.act, config):
                    known[str(episode.seed)] = episode.outcome == Outcome.SUCCESS
                    bar.update()
            write_text(kept, json.dumps(known))
        return {seed: bool(known[str(seed)]) for seed in wanted}


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]
