# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""score recorded episodes (score); reward programs by a language model (write, check, approve, show)"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice.cli import reward_score

if TYPE_CHECKING:
    from apprentice.learning.planned import PlannedConfig
    from apprentice.reward_models.programs.admission import Check, GoldenEpisode
    from apprentice.reward_models.programs.folder import Written
    from apprentice.robot.spec import RobotSpec

GOLDEN_SEEDS, TRIAL_SEEDS = 41_000_000, 42_000_000
_WRITE = """
Asks a language model for a reward of one instruction, in one of two forms:

  terms   JSON over named residuals (distance, height, gripper opening, ...): a cost. Nothing is
          executed. The default.
  python  a function reward(state): runs in a process without network, files and other processes.

What it does, in this order:
  1. simulates episodes of known result (the golden buffer) with the task's scripted expert and failures;
  2. shows the model the instruction and the state as typed stubs; a reply with an error goes back with the
     error, at most --retries times; a second pass criticises what passes;
  3. with --trials: lets each sample drive the simulated arm through a sampling planner, tells the model
     what the components did, keeps the sample with the most success (--samples of --iterations);
  4. tests the best: finite, bounded, deterministic, order of success, near miss, start and failure, no
     reward in a frozen scene, wrong units refused, latency, correlation with the program in use;
  5. writes the folder. It is loaded only after a person approved it: read it, then
     apprentice reward approve FOLDER --by NAME.

The language model is any OpenAI-compatible endpoint:

  export APPRENTICE_LLM_URL=http://127.0.0.1:8080/v1
  export APPRENTICE_LLM_MODEL=my-model
  export APPRENTICE_LLM_KEY=...                  # where the server wants one; never written or shown

Every question and answer is in OUT/journal; after a break the same command goes on where it stopped.

  apprentice reward write --sim-task pick --instruction "pick up the red cube" --out runs/reward
  apprentice reward write --sim-task reach --instruction "reach the red marker" --form python \\
      --trials 3 --samples 4 --iterations 2 --out runs/reach

The reward node takes the folder: model:=apprentice.reward_models.programs.model:TermsReward (or CodeReward),
weights:=FOLDER.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice reward``."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    raw: Any = {'formatter_class': argparse.RawDescriptionHelpFormatter}
    write = actions.add_parser('write', help='ask a language model for a reward', description=_WRITE, **raw)
    _simulation(write)
    write.add_argument('--out', type=Path, required=True, help='folder of the program')
    write.add_argument('--form', choices=('terms', 'python'), default='terms', help='default terms')
    write.add_argument('--url', default='', help='of the endpoint (default: APPRENTICE_LLM_URL)')
    write.add_argument('--model', default='', help='its model (default: APPRENTICE_LLM_MODEL)')
    write.add_argument('--timeout', type=float, default=120.0, help='seconds for one reply (default 120)')
    write.add_argument(
        '--retries', type=int, default=3, help='replies that may go back with an error (default 3)'
    )
    write.add_argument(
        '--critics', type=int, default=1, help='times the critic may send one back (default 1)'
    )
    write.add_argument('--samples', type=int, default=1, help='rewards an iteration (default 1)')
    write.add_argument('--iterations', type=int, default=1, help='of improving the best (default 1)')
    write.add_argument(
        '--trials', type=int, default=0, help='planned episodes for each sample (default 0: none)'
    )
    write.add_argument('--threads', type=int, default=1, help='of the planner (default 1)')
    write.add_argument(
        '--feedback', action='append', default=[], metavar='TEXT', help='what you saw; may be repeated'
    )
    write.add_argument('--notes', default='', help='what else the model should know of the scene')
    write.add_argument(
        '--residual', action='append', default=[], metavar='NAME=package.module:function',
        help='a further residual that terms may use; may be repeated',
    )  # fmt: skip
    write.add_argument(
        '--bounds', type=float, nargs=2, metavar=('LOW', 'HIGH'),
        help='values it may give (default: terms 0 to 1000, python -10 to 10)',
    )  # fmt: skip
    write.add_argument('--previous', type=Path, help='folder of the program in use, to compare with')
    write.add_argument('--approve', default='', metavar='NAME', help='approve at once, as this person')

    check = actions.add_parser('check', help='test a program again, e.g. after an edit by hand')
    check.add_argument('folder', type=Path)
    _simulation(check)
    check.add_argument('--previous', type=Path, help='folder of the program in use, to compare with')
    approve = actions.add_parser('approve', help='a person takes responsibility for a tested program')
    approve.add_argument('folder', type=Path)
    approve.add_argument('--by', required=True, metavar='NAME', help='who approves')
    show = actions.add_parser('show', help='print a program, its tests and who approved it')
    show.add_argument('folder', type=Path)
    score = actions.add_parser(
        'score', help='measure recorded episodes', description=reward_score.TEXT, **raw
    )
    reward_score.add_arguments(score)


def _simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--robot', default='sim_arm', help='shipped robot or a file with a simulator (default sim_arm)'
    )
    parser.add_argument('--sim-task', default='', help="task in simulation (default: the robot file's)")
    parser.add_argument('--instruction', default='', help='what the robot is told; fixed for the program')
    parser.add_argument('--golden', type=int, default=30, help='simulated episodes of the tests (default 30)')


def run(args: argparse.Namespace) -> int:
    """Dispatch. Exit codes: 0 done, 1 the program failed its tests, 2 wrong usage or no endpoint."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        'write': _write, 'check': _check, 'approve': _approve, 'show': _show,
        'score': reward_score.run,
    }  # fmt: skip
    return actions[args.action](args)


def _write(args: argparse.Namespace) -> int:
    from apprentice.learning.planned import trial
    from apprentice.reward_models.programs import folder as folders
    from apprentice.reward_models.programs.author import Author, AuthorConfig
    from apprentice.reward_models.programs.endpoint import Endpoint
    from apprentice.reward_models.programs.journal import Journal
    from apprentice.reward_models.programs.task import RewardTask, described

    endpoint = Endpoint.from_environment(args.url, args.model, timeout_s=args.timeout)
    if not args.instruction:
        raise ValueError('say what the robot is told: --instruction "pick up the red cube"')
    spec, task, golden = _golden(args)
    bounds = tuple(args.bounds or ((0.0, 1000.0) if args.form == 'terms' else (-10.0, 10.0)))
    examples = {name: _joined(golden, name) for name in golden[0].state}
    residuals = dict(_named(word) for word in args.residual)
    told = RewardTask(args.instruction, described(examples), spec.name, args.notes, residuals)
    config = AuthorConfig(args.form, bounds, args.retries, args.critics, args.samples, args.iterations)
    journal = Journal(args.out / 'journal')
    author = Author(told, endpoint, journal, config, _probe(golden))
    seeds = range(TRIAL_SEEDS, TRIAL_SEEDS + args.trials)

    def tried(program: Written) -> Any:
        return trial(program, spec, seeds, _planning(args.threads), task)

    found = author.search(tried if args.trials else None, args.feedback)
    for line in found.history:
        print(f'{line["name"]}: {line.get("error") or _success(line.get("success"))}')
    folders.write(args.out, found.best.program)
    print(f'{journal.asked} questions asked, {journal.reused} answered from {journal.folder}')
    passed = _admit(args.out, golden, args.previous)
    if passed and args.approve:
        folders.approve(args.out, args.approve)
        print(f'approved by {args.approve}')
    elif passed:
        print(f'read {args.out}, then: apprentice reward approve {args.out} --by NAME')
    return 0 if passed else 1


def _check(args: argparse.Namespace) -> int:
    from apprentice.reward_models.programs import folder as folders

    args.instruction = args.instruction or folders.read(args.folder).task.instruction
    _, _, golden = _golden(args)
    return 0 if _admit(args.folder, golden, args.previous) else 1


def _approve(args: argparse.Namespace) -> int:
    from apprentice.reward_models.programs import folder as folders

    folders.approve(args.folder, args.by)
    print(f'{args.folder} approved by {args.by}')
    return 0


def _show(args: argparse.Namespace) -> int:
    from apprentice.reward_models.files import read_json
    from apprentice.reward_models.programs import folder as folders

    program = folders.read(args.folder)
    print(f'{program.form}, for: {program.task.instruction}\nsha256 {program.sha256}\n\n{program.source}')
    path = args.folder / folders.ADMISSION
    data = read_json(path) if path.exists() else {}
    if data.get('sha256') != program.sha256:
        print('not tested, or changed since: apprentice reward check')
        return 0
    for check in data['checks']:
        print(_line(check['name'], check['passed'], check['found']))
    held = [name for name, holds in data.get('locks', {}).items() if holds]
    if held:
        print(f'locks that held: {", ".join(held)}')
    print(f'approved by {data["approver"]}, {data["approved"]}' if data['approver'] else 'not approved')
    return 0


def _golden(args: argparse.Namespace) -> tuple[RobotSpec, Any, list[GoldenEpisode]]:
    from apprentice.learning.golden import golden_buffer
    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec
    from apprentice.sim.tasks import load_task

    spec = RobotSpec.load(find_robot(args.robot))
    task = load_task(args.sim_task) if args.sim_task else None
    seeds = range(GOLDEN_SEEDS, GOLDEN_SEEDS + args.golden)
    return spec, task, golden_buffer(spec, args.instruction, seeds, task)


def _probe(golden: list[GoldenEpisode]) -> Callable[[Written], None]:
    """The admission tests for a draft; what failed goes back to the language model as text."""
    from apprentice.reward_models.base import RewardModelError
    from apprentice.reward_models.programs.admission import admit, with_ranges

    def probe(program: Written) -> None:
        checks, _ = admit(with_ranges(program, golden), golden)
        failed = [f'{check.name}: {check.found}' for check in checks if not check.passed]
        if failed:
            raise RewardModelError('it fails its tests on simulated episodes. ' + '; '.join(failed))

    return probe


def _admit(folder: Path, golden: list[GoldenEpisode], previous: Path | None) -> bool:
    from dataclasses import asdict

    from apprentice.reward_models.programs import folder as folders
    from apprentice.reward_models.programs.admission import admit, with_ranges

    program = with_ranges(folders.read(folder), golden)
    folders.write(folder, program)
    before = folders.read(previous) if previous else None
    checks, locks = admit(program, golden, before=before)
    folders.write_admission(folder, program, [asdict(check) for check in checks], locks)
    _print(checks, len(golden))
    return all(check.passed for check in checks)


def _planning(threads: int) -> PlannedConfig:
    from apprentice.learning.planned import PlannedConfig

    return PlannedConfig(threads=threads)


def _joined(golden: list[GoldenEpisode], name: str) -> Any:
    import numpy as np

    return np.concatenate([episode.state[name] for episode in golden])


def _named(word: str) -> tuple[str, str]:
    name, _, reference = word.partition('=')
    if not name.isidentifier() or ':' not in reference:
        raise ValueError(f'--residual {word!r} is not of the form NAME=package.module:function')
    return name, reference


def _success(share: float | None) -> str:
    return 'usable' if share is None else f'success {share:.0%}'


def _print(checks: list[Check], episodes: int) -> None:
    print(f'tests on {episodes} simulated episodes:')
    for check in checks:
        print(_line(check.name, check.passed, check.found))


def _line(name: str, passed: bool, found: str) -> str:
    text = textwrap.fill(found, 90, subsequent_indent=' ' * 24)
    return f'  {"passed" if passed else "FAILED"}  {name:<14}{text}'
