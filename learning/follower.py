# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner in every process but the first: it does what the first one tells, and writes nothing."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import torch
import torch.distributed as dist

from apprentice.learning.distributed import Ranks, RanksApart, connect, join, leave
from apprentice.learning.health import Health
from apprentice.learning.leader import PATIENCE, said
from apprentice.learning.learner import Learner
from apprentice.learning.learner_config import LearnerConfig
from apprentice.reward_models.monitor.detector import Level
from apprentice.robot.settings import from_dict
from apprentice.robot.spec import RobotSpec

log = logging.getLogger(__name__)


def follow(ranks: Ranks) -> Learner:
    """Do what the :class:`.leader.LeadingLearner` of the first process does until it stops; the learner.

    Waiting costs no processor time. Raises RanksApart when the first process is gone, and what an update
    raises: the others cannot go on without this one.
    """
    begin = ranks.tell()
    torch.set_num_threads(begin['threads'])
    os.nice(max(0, begin['nice'] - os.nice(0)))
    robot, config = RobotSpec.from_dict(begin['robot']), from_dict(LearnerConfig, begin['config'])
    learner = Learner(
        robot, begin['run_dir'], begin['starter'], config, begin['seed'], begin['robots'], ranks
    )
    while True:
        what, *arguments = ranks.tell()
        if what == 'stop':
            return learner
        if what == 'update':
            learner.update()
        elif what != 'wait':
            failure = None
            try:
                _do(learner, what, arguments)
            except RanksApart:
                raise
            except Exception as error:
                failure = error  # the first process looks whether it had the same
            ranks.say(said(failure))


def _do(learner: Learner, what: str, arguments: list) -> None:
    if what == 'learn':
        learner.follow(*arguments)
    elif what == 'hear':
        learner.hear(Health(**{**arguments[0], 'level': Level(arguments[0]['level'])}))
    elif what == 'demonstrate':
        learner.demonstrate(map(Path, arguments[0]))
    elif what == 'train_from':
        learner.train_from(Path(arguments[0]))
    else:
        raise ValueError(f'{what!r} is not known here; all processes need the same version of this package')


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    log.error('error: the first process of the learner has ended')
    os._exit(1)  # whatever else this process waits for


def main(arguments: list[str] | None = None) -> None:
    """What a process runs that follows; it ends with the first one, not by itself.

    Args:
        arguments: rank, number of processes and port of a process that :func:`.follower_processes.started`
            started; none for one of torchrun.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for number in (signal.SIGINT, signal.SIGTERM):  # also sent to the first one, which still needs this one
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.ERROR, format='%(message)s')  # the first one says the same
    code = 1
    try:
        if arguments:
            threading.Thread(target=_end_with_input, daemon=True).start()
            rank, world, port = map(int, arguments)
            store = dist.TCPStore('127.0.0.1', port, is_master=False)
            store.set(f'here {rank}', '')
            connected = connect(store, rank, world, None, PATIENCE)
        else:
            connected = join(None, PATIENCE)
        with connected as ranks:
            follow(ranks)
        code = 0
    except (ValueError, OSError, ImportError) as error:
        log.error('error: a process of the learner ends: %s', error)
    except Exception:
        log.exception('a process of the learner ends')
    leave(code)


if __name__ == '__main__':
    main()
