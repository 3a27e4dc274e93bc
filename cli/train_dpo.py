# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""preference optimisation: ``apprentice train dpo``, from a policy and pairs of chunks to a policy"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apprentice.learning.preference.pairs import PairBuilder
    from apprentice.learning.preference.train_config import DpoTraining
    from apprentice.policies.policy import FlowPolicy
    from apprentice.robot.spec import RobotSpec
    from apprentice.robot.types import Episode

EXAMPLES = """
Preferred and rejected chunks of the same observation move the policy, with a frozen copy of it as reference.
No simulator and no new episode is needed. Pairs come from a builder (--pairs-by):

  nora           candidates of the policy at demonstrated states, ranked by a world model and by their
                 distance from the demonstrated chunk (NORA-1.5); only pairs that differ by two standard
                 deviations
  deviation      the same, by the distance alone
  critic         candidates ranked by the critics of a version that a learner published (--critic); pairs
                 count the rows that critics judge, and differ by --sigmas of what the critics disagree
  interventions  what a person did against the shadow chunk of the policy in the log
  labelled       what people preferred of two stretches (`apprentice label`, or the page of a running robot)
  none           no builder: the pairs that are in the folder --pairs

settings, as key=value words after the options or as YAML in a file for --config; words win:
  head=flow                           or fast, for a policy with FAST tokens; this head acts afterwards
  steps=300  warm_up=20  seed=1
  algorithm.beta=250                  strength; of tokens 0.1
  algorithm.anchor=0.1                supervised loss on winners beside it
  algorithm.learning_rate=1e-5  algorithm.batch=32  algorithm.draws=4  algorithm.clip=1.0
  algorithm.freeze_backbone=true      train the head only
  algorithm.guidance=treg             or tgdpo: step rewards of the builder guide the rows of a chunk; with
                                      --contrast those that the policy gives itself
  algorithm.label_noise=0.1           share of pairs believed to be the wrong way round
  validation=0.1  validate_every=50   share of the episodes whose pairs are held out
  snapshot_every=50                   steps; a killed training goes on when it is started again like before

examples:
  apprentice train dpo --policy my_policy --data runs/demonstrations --out better
  apprentice train dpo --policy my_policy --data runs/robot/episodes --pairs-by interventions --out better
  apprentice train dpo --data runs/robot/episodes --pairs-by critic --critic runs/robot/weights/v000012
  apprentice train dpo --policy my_policy --pairs runs/pairs --pairs-by none algorithm.beta=500 --out better

Watch winner_gain: far below 0, winners get unlikely, too: raise the anchor or lower the learning rate. Choose
settings on starts that are not those you report.
Beside the policy, in OUT.training: metrics.jsonl, loss.png, train.yaml (all settings), pairs, snapshots.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train dpo``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument('--policy', default='', help='where it begins: a policy folder (default: shipped)')
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        default=[Path('runs/demonstrations')],
        help='folders of episodes (default runs/demonstrations)',
    )
    parser.add_argument(
        '--pairs-by',
        choices=('nora', 'deviation', 'critic', 'interventions', 'labelled', 'none'),
        default='nora',
        help='who makes the pairs, see below (default nora)',
    )
    parser.add_argument(
        '--pairs', type=Path, help='folder of the pairs; what is there is kept (default OUT.training/pairs)'
    )
    parser.add_argument('--out', type=Path, default=Path('runs/dpo'), help='folder of the policy')
    parser.add_argument(
        '--robot', default='', help='name of a shipped robot or a file (default: the one recorded)'
    )
    parser.add_argument('--world-model', default='', help='folder, for nora (default: shipped)')
    parser.add_argument(
        '--critic', default='', help='for critic: a published version with critics, e.g. RUN/weights/v000012'
    )
    parser.add_argument(
        '--labels', type=Path, help='file of answers, for labelled (default: preferences.jsonl beside --data)'
    )
    parser.add_argument('--candidates', type=int, default=8, help='of each observation (default 8)')
    parser.add_argument('--sigmas', type=float, default=2.0, help='of the margin (default 2)')
    parser.add_argument('--every', type=int, default=1, help='rows between observations (default 1)')
    parser.add_argument('--replan', action='store_true', help='plan the shadow chunks now, by --policy')
    parser.add_argument(
        '--contrast',
        action='store_true',
        help='step rewards from two opposite instructions (T-REG), which --policy must understand',
    )
    parser.add_argument('--build-only', action='store_true', help='make the pairs and stop')
    parser.add_argument('--config', type=Path, help='YAML file of settings')
    parser.add_argument('--threads', type=int, default=0, help='threads of torch (default: one per core)')
    parser.add_argument('words', nargs='*', default=[], metavar='key=value', help='settings, see below')


def run(args: argparse.Namespace) -> int:
    """Build the missing pairs, then train."""
    import torch
    import torch._dynamo
    from tqdm import tqdm

    from apprentice.episodes.sources import readers_by_name
    from apprentice.learning.clone import training_folder
    from apprentice.learning.preference.contrast import ContrastivePairs
    from apprentice.learning.preference.store import PairStore, collect
    from apprentice.learning.preference.train import train_dpo
    from apprentice.learning.preference.train_config import read_training
    from apprentice.policies import checkpoint
    from apprentice.robot.parts import find_weights, share

    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    _take_back_words(args)
    config = read_training(args.words, args.config)
    _check(args, config)
    if args.threads:
        torch.set_num_threads(args.threads)
    starter = find_weights(args.policy) if args.policy else share('weights', 'policy')
    policy, _ = checkpoint.load(starter)
    spec = _spec(args)
    policy.spec.require(spec)
    folder = args.pairs or training_folder(args.out) / 'pairs'
    if args.pairs_by == 'none':
        pairs = PairStore(folder).read()
    else:
        readers = readers_by_name(args.data, spec)
        identity = checkpoint.sha256(starter / checkpoint.MANIFEST)
        builder = _builder(args, policy, identity, config.head, readers, spec)
        if args.contrast:
            builder = ContrastivePairs(builder, policy, identity=identity)
        pairs = collect(builder, readers, folder, lambda names: tqdm(names, desc='pairs', unit='episode'))
    print(f'{len(pairs)} pairs of {len(set(pairs.episode))} episodes in {folder}')
    if args.build_only:
        return 0
    with tqdm(total=config.steps, desc='preferences', unit='step') as bar:

        def progress(step: int, metrics: dict[str, float]) -> None:
            bar.update(step - bar.n)
            names = ('loss', 'accuracy', 'winner_gain', 'validation_accuracy')
            shown = {name: f'{metrics[name]:.3f}' for name in names if name in metrics}
            bar.set_postfix(shown, refresh=False)

        train_dpo(starter, pairs, args.out, config, progress, command=_command(args))
    print(f'policy in {args.out}; evaluate it with: apprentice eval {args.out}')
    return 0


def _check(args: argparse.Namespace, config: DpoTraining) -> None:
    """Raise ValueError for options that do not go together."""
    if args.pairs_by == 'critic' and not args.critic:
        raise ValueError(
            '--pairs-by critic needs --critic FOLDER, a version that a learner published with its critics, '
            'such as runs/robot/weights/v000012'
        )
    if args.critic and args.pairs_by != 'critic':
        raise ValueError(f'--critic is for --pairs-by critic, not {args.pairs_by}; leave one of them out')
    if args.contrast and args.pairs_by == 'none':
        raise ValueError('--contrast needs a builder: --pairs-by none takes the pairs as they are')
    if args.contrast and not args.build_only and config.algorithm.guidance == 'none':
        raise ValueError('--contrast makes step rewards, which nothing uses; add algorithm.guidance=treg')


def _spec(args: argparse.Namespace) -> RobotSpec:
    """The robot of the data; sim_arm where there are none."""
    from apprentice.episodes.facts import recorded_robot

    return recorded_robot([] if args.pairs_by == 'none' else args.data, args.robot)


def _builder(
    args: argparse.Namespace,
    policy: FlowPolicy,
    identity: str,
    head: str,
    readers: dict[str, Callable[[], Episode]],
    spec: RobotSpec,
) -> PairBuilder:
    from apprentice.episodes.answers import answer_files
    from apprentice.episodes.facts import episode_folder
    from apprentice.learning.preference.candidates import CandidateConfig
    from apprentice.learning.preference.critic import CriticPairs, published_critics
    from apprentice.learning.preference.interventions import InterventionConfig, InterventionPairs
    from apprentice.learning.preference.labelled import LabelledPairs
    from apprentice.learning.preference.nora import NoraPairs
    from apprentice.learning.preference.shadows import Shadows, logged_shadows, replayed_shadows
    from apprentice.reward_models.world_model.reward import WorldModelReward
    from apprentice.robot.parts import find_weights, share

    if args.pairs_by == 'labelled':
        labels = [args.labels] if args.labels else answer_files(args.data)

        def read(name: str) -> Episode | None:
            return readers[name]() if name in readers else None

        return LabelledPairs(policy.spec, labels, read, spec.action_dt)
    if args.pairs_by == 'interventions':

        def logged(episode: Episode) -> Any:
            return next((found for read in logs if (found := read(episode))), {})

        logs = [logged_shadows(episode_folder(folder)) for folder in args.data]
        shadows: Shadows = replayed_shadows(policy, head=head) if args.replan else logged
        if not args.replan and head != policy.config.head:
            logging.warning(
                'the shadow chunks in the log are of the head that acted (%s here), but head=%s is trained; '
                'with --replan that head plans them',
                policy.config.head,
                head,
            )
        config = InterventionConfig(every=args.every)
        by = (identity if head == 'flow' else f'{identity} {head}') if args.replan else 'logged'
        return InterventionPairs(policy.spec, shadows, config, identity=by)
    candidates = CandidateConfig(args.candidates, sigmas=args.sigmas, every=args.every, head=head)
    if args.pairs_by == 'critic':
        critics, which = published_critics(find_weights(args.critic), spec, policy)
        candidates = replace(candidates, successes=False)
        return CriticPairs(policy, critics.values, which, candidates, identity, critics.rows)
    model = None
    if args.pairs_by == 'nora':
        place = find_weights(args.world_model) if args.world_model else share('weights', 'world_model')
        model = WorldModelReward.load(place)
    return NoraPairs(policy, model, candidates, identity)


def _take_back_words(args: argparse.Namespace) -> None:
    """Settings that ``--data FOLDER...`` took for folders."""
    given, args.data = args.data, []
    for path in given:
        if re.match(r'[A-Za-z_][\w.]*=', str(path)) and not path.exists():
            args.words = [*args.words, str(path)]
        else:
            args.data.append(path)
    if not args.data:
        raise ValueError('--data has no folder; give one, or leave it out')


def _command(args: argparse.Namespace) -> str:
    """How to repeat this training with the file of its settings."""
    words = ['apprentice', 'train', 'dpo', '--data', *map(str, args.data), '--pairs-by', args.pairs_by]
    given = {
        '--policy': args.policy,
        '--pairs': args.pairs,
        '--robot': args.robot,
        '--world-model': args.world_model,
        '--critic': args.critic,
        '--labels': args.labels,
    }
    for option, value in given.items():
        words += [option, str(value)] if value else []
    words += ['--replan'] if args.replan else []
    words += ['--contrast'] if args.contrast else []
    words += [
        '--candidates',
        str(args.candidates),
        '--sigmas',
        f'{args.sigmas:g}',
        '--every',
        str(args.every),
    ]
    words += ['--threads', str(args.threads)] if args.threads else []
    return f'repeat: {shlex.join([*words, "--config", "train.yaml", "--out", "FOLDER"])}'
