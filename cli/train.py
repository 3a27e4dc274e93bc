# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""train a policy (bc) or reward models (clip, critic) from recorded episodes"""

from __future__ import annotations

import argparse
import importlib

from apprentice.cli import train_bc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train``: a subcommand per kind of model."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    train_bc.add_arguments(kinds.add_parser('bc', help='behaviour cloning of a VLA policy'))
    preferences = importlib.import_module('apprentice.cli.train_dpo')
    preferences.add_arguments(kinds.add_parser('dpo', help='preference optimisation of a policy'))
    reinforcement = importlib.import_module('apprentice.cli.train_rl')
    reinforcement.add_arguments(kinds.add_parser('rl', help='reinforcement learning in simulation'))
    rewards = importlib.import_module('apprentice.cli.train_rewards')
    rewards.clip_arguments(
        kinds.add_parser('clip', help='CLIP reward model on simulator renders and captions')
    )
    rewards.critic_arguments(kinds.add_parser('critic', help='pairwise progress critic on frozen embeddings'))
    world = importlib.import_module('apprentice.cli.train_world_model')
    world.add_arguments(kinds.add_parser('world-model', help='world model that ranks action chunks'))
    judges = importlib.import_module('apprentice.cli.train_judges')
    judges.perceptual_arguments(kinds.add_parser('perceptual', help='staged reward from a few clips'))
    judges.preference_arguments(kinds.add_parser('preference', help='reward from comparisons of clips'))
    calibration = importlib.import_module('apprentice.cli.train_calibration')
    calibration.add_arguments(kinds.add_parser('calibration', help='calibration of a reward model'))


def run(args: argparse.Namespace) -> int:
    """Dispatch on the kind."""
    if args.kind == 'bc':
        return train_bc.run(args)
    if args.kind == 'dpo':
        return importlib.import_module('apprentice.cli.train_dpo').run(args)
    if args.kind == 'rl':
        return importlib.import_module('apprentice.cli.train_rl').run(args)
    if args.kind == 'calibration':
        return importlib.import_module('apprentice.cli.train_calibration').run(args)
    if args.kind == 'world-model':
        return importlib.import_module('apprentice.cli.train_world_model').run(args)
    if args.kind in ('perceptual', 'preference'):
        judges = importlib.import_module('apprentice.cli.train_judges')
        return judges.perceptual_run(args) if args.kind == 'perceptual' else judges.preference_run(args)
    rewards = importlib.import_module('apprentice.cli.train_rewards')
    return rewards.clip_run(args) if args.kind == 'clip' else rewards.critic_run(args)
