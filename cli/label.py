# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""label recorded episodes on a local page: preferences, doubtful successes, an audit; needs no ROS"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprentice.episodes.audits import AuditFile
    from apprentice.episodes.doubts import Ending
    from apprentice.learning.preference.answered import StretchFeatures
    from apprentice.learning.preference.desk import Desk
    from apprentice.nodes.asking import Asking
    from apprentice.robot.spec import RobotSpec
    from apprentice.robot.types import Episode
    from apprentice.sim.people import PersonConfig

EXAMPLES = """
Without an option you are asked which of two short stretches is better. Answers lie in preferences.jsonl
beside the episodes and are read by `apprentice train preference --data FOLDER` and by `apprentice train dpo
--data FOLDER --pairs-by labelled`. Keys: arrows left and right, down for equal, up for can't tell, z to go
back to the last one, space to stop the clips.

  --success   episodes whose outcome is doubtful: nobody said it, a reward model disagrees, or another
              instruction fits as well. Labels lie beside the episodes; they count from the next start of the
              learner.
  --audit     a tenth of the automatic successes. If more than 1 of the last 20 was none, the exit code is 1,
              and the episode node takes no success without a person until you begin again.

Ctrl-C is safe at any moment; started again it goes on where it was.

examples:
  apprentice label runs/robot --person anna
  apprentice label runs/robot --success
  apprentice label runs/robot --audit
  apprentice label runs/demonstrations --scripted --pairs 40   # a simulated person, by the simulator's truth
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice label``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument('folder', type=Path, help='run folder or folder of episodes')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--success', action='store_true', help='judge episodes whose outcome is doubtful')
    what.add_argument('--audit', action='store_true', help='look at a tenth of the automatic successes')
    parser.add_argument(
        '--begin-again', action='store_true', help='with --audit: earlier audits count no more'
    )
    parser.add_argument('--person', default='', help='your name, kept with what you say')
    parser.add_argument(
        '--pairs',
        type=int,
        default=0,
        help='end when so many pairs are answered, earlier ones included (default: never)',
    )
    parser.add_argument('--seconds', type=float, default=2.0, help='length of a stretch (default 2)')
    parser.add_argument(
        '--rule', default='information', choices=('information', 'disagreement', 'random'), help='which pairs'
    )
    parser.add_argument('--repeat-every', type=int, default=10, help='one in so many is asked twice; 0: none')
    parser.add_argument('--clip', default='clip', help='CLIP weights by which pairs are chosen, or none')
    parser.add_argument('--robot', help='name of a shipped robot or a file (default: the one recorded)')
    parser.add_argument(
        '--port', type=int, default=8767, help='of the page; 0 takes a free one (default 8767)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the draws')
    parser.add_argument(
        '--scripted',
        nargs='?',
        const='',
        metavar='FILE',
        help="no page: a simulated person answers from the simulator's truth; FILE: YAML of PersonConfig",
    )


def run(args: argparse.Namespace) -> int:
    """Ask until everything is answered or Ctrl-C."""
    from apprentice.episodes.facts import episode_folder, recorded_robot, sealed_files

    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    if args.begin_again and not args.audit:
        raise ValueError('--begin-again belongs to --audit')
    files = sealed_files([args.folder])
    spec, folder = recorded_robot([args.folder], args.robot), episode_folder(args.folder)
    if args.success or args.audit:
        return _verdicts(args, files, spec, folder)
    return _pairs(args, spec, folder)


def _pairs(args: argparse.Namespace, spec: RobotSpec, folder: Path) -> int:
    from apprentice.cli.label_panels import PairPanel
    from apprentice.episodes.answers import FILE, AnswerFile
    from apprentice.episodes.sources import readers_by_name
    from apprentice.learning.preference.desk import Desk, DeskConfig
    from apprentice.learning.preference.selection import SelectionConfig

    readers = readers_by_name([folder], spec)
    file = AnswerFile(folder / FILE)
    selection = SelectionConfig(rule=args.rule, seconds=args.seconds, seed=args.seed)
    config = DeskConfig(repeat_every=args.repeat_every)
    desk = Desk(file, spec.action_dt, _features(args.clip, spec), selection, config)
    try:
        if args.scripted is not None:
            _scripted_pairs(args, desk, readers)
        else:
            panel = PairPanel(desk, readers, spec, [folder], args.person, args.pairs)
            _serve(args, panel, spec, panel.work, lambda: panel.finished and bool(args.pairs))
    finally:
        progress = desk.progress()
        agreed = (
            f', {progress["agreed"]} of {progress["repeats"]} repeats agreed' if progress['repeats'] else ''
        )
        print(f'{progress["answered"]} pairs answered{agreed}, in {file.path}')
    return 0


def _scripted_pairs(args: argparse.Namespace, desk: Desk, readers: dict[str, Callable[[], Episode]]) -> None:
    from tqdm import tqdm

    from apprentice.episodes.answers import Answer
    from apprentice.learning.preference.teacher import Teacher, true_progress

    teacher, person = Teacher(_person(args.scripted), args.seed), args.person or 'simulated'
    desk.look(readers)
    wanted = args.pairs or 20
    with tqdm(total=wanted, desc='answers', unit='pair') as bar:
        while (done := desk.progress()['answered']) < wanted:
            bar.update(done - bar.n)
            desk.prepare()
            found = desk.next(person)
            if found is None:
                print('no further pair to ask about')
                return
            pair, repeat = found
            left, right = (true_progress(readers[s.episode](), s) for s in (pair.left, pair.right))
            desk.answer(Answer(pair, teacher.compare(left, right), person, repeat=repeat))
        bar.update(wanted - bar.n)


def _verdicts(args: argparse.Namespace, files: list[Path], spec: RobotSpec, folder: Path) -> int:
    from tqdm import tqdm

    from apprentice.cli.label_panels import VerdictPanel
    from apprentice.episodes.audits import FILE, SHARE, AuditFile, drawn, precision, stop_reason
    from apprentice.episodes.doubts import doubt, ending_of
    from apprentice.episodes.files import EpisodeFileError

    audits = AuditFile(folder / FILE) if args.audit else None
    if audits is not None and args.begin_again:
        audits.begin_again(args.person)
        print('earlier audits count no more')
    endings = []
    for path in tqdm(files, desc='reading', unit='episode', leave=False):
        try:
            endings.append(ending_of(path))
        except EpisodeFileError as error:
            tqdm.write(f'left out: {error}', file=sys.stderr)
    asked: list[tuple[Ending, str]]
    if audits is not None:
        known = {audit.episode for audit in audits.read(all_of_them=True)}
        automatic = [ending for ending in endings if ending.automatic]
        chosen = set(drawn((ending.name for ending in automatic), SHARE, args.seed)) - known
        asked = [
            (ending, 'ended as a success automatically') for ending in automatic if ending.name in chosen
        ]
        print(f'{len(automatic)} automatic successes, {len(known)} audited, {len(asked)} to look at')
    else:
        doubts = sorted(((doubt(e), e) for e in endings), key=lambda found: (-found[0][0], found[1].name))
        asked = [(ending, why) for (value, why), ending in doubts if value > 0]
        print(f'{len(asked)} of {len(endings)} outcomes are doubtful')
    if asked:
        if args.scripted is not None:
            _scripted_verdicts(args, asked, audits)
        else:
            panel = VerdictPanel(asked, spec, [folder], args.person, audits)
            _serve(args, panel, spec, None, lambda: panel.finished)
            print(f'{panel.corrected} outcomes corrected')
    if audits is None:
        return 0
    found = precision(audits.read())
    low, high = found.interval
    if found.audited:
        print(
            f'{found.right} of the last {found.audited} audited successes were right, {low:.0%} to {high:.0%}'
        )
    stopped = stop_reason(audits.read())
    if stopped:
        print(f'AUTOMATIC SUCCESS IS STOPPED: {stopped}')
    return 1 if stopped else 0


def _scripted_verdicts(
    args: argparse.Namespace, asked: list[tuple[Ending, str]], audits: AuditFile | None
) -> None:
    from apprentice.cli.label_panels import judge
    from apprentice.learning.preference.teacher import Teacher
    from apprentice.robot.types import Outcome

    teacher, corrected, silent = Teacher(_person(args.scripted), args.seed), 0, 0
    for ending, _ in asked:
        if ending.truth is None:
            raise ValueError(f'{ending.name} holds no truth of a simulator; judge it on the page')
        said = teacher.judge(ending.truth)
        if said is None:
            silent += 1
            continue
        outcome = Outcome.SUCCESS if said else Outcome.FAILURE
        corrected += judge(ending, outcome, args.person or 'simulated', audits)
    print(f'{len(asked) - silent} judged, {corrected} outcomes corrected')


def _serve(
    args: argparse.Namespace,
    panel: Asking,
    spec: RobotSpec,
    work: Callable[[], bool] | None,
    finished: Callable[[], bool],
) -> None:
    from apprentice.cli.label_server import LabelServer

    server = LabelServer(panel, spec, args.port)
    print(f'open {server.url} (Ctrl-C ends it, nothing is lost)', flush=True)

    def told() -> None:
        progress = panel.progress()
        wanted = f' of {progress["wanted"]}' if progress.get('wanted') else ''
        print(f'\r{progress["answered"]}{wanted} answered', end='', flush=True)

    try:
        server.serve(work, finished, told)
    except KeyboardInterrupt:
        pass
    finally:
        print()


def _features(weights: str, spec: RobotSpec) -> StretchFeatures | None:
    """What pairs are chosen by; None: nothing."""
    if weights == 'none':
        return None
    from apprentice.learning.preference.answered import StretchFeatures, cameras_of
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.robot.parts import find_weights

    clip = ClipReward.load(find_weights(weights))
    return StretchFeatures(clip, cameras_of(clip, spec), spec.action_dt)


def _person(file: str) -> PersonConfig | None:
    """How the simulated person behaves; None: without an error."""
    from apprentice.sim.people import PersonConfig

    return PersonConfig.load(file) if file else None
