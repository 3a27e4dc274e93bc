# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Labels given after an episode was sealed, and the list of sealed episodes.

Sealed files never change, so a later label lies beside them: ``<id>.label.json`` overrides the outcome.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from apprentice.episodes.files import PART_SUFFIX, SUFFIX, EpisodeFileError, sync_folder
from apprentice.robot.files import replacing
from apprentice.robot.types import Outcome


def label_path(path: str | Path) -> Path:
    """Where the label of an episode file lies."""
    path = Path(path)
    for suffix in (PART_SUFFIX, SUFFIX):
        if path.name.endswith(suffix):
            return path.with_name(path.name[: -len(suffix)] + '.label.json')
    return path.with_name(path.name + '.label.json')


def write_label(path: str | Path, outcome: Outcome, annotator: str) -> Path:
    """Label the episode file ``path`` after the fact; replaces an earlier label atomically."""
    label = label_path(path)
    content = {'outcome': Outcome(outcome).name, 'annotator': annotator, 'time': time.time()}
    with replacing(label) as temporary, open(temporary, 'w') as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(label.parent)
    return label


def read_label(path: str | Path) -> Outcome | None:
    """The later label of an episode file, None if there is none. Raises EpisodeFileError if unreadable."""
    label = label_path(path)
    try:
        return Outcome[json.loads(label.read_text())['outcome']]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        names = ', '.join(outcome.name for outcome in Outcome)
        raise EpisodeFileError(
            f'label {label} is unreadable ({error!r}); it needs "outcome", '
            f'one of {names}: correct or remove it'
        ) from None


def iter_sealed(folder: str | Path) -> Iterator[Path]:
    """Sealed episode files of a folder, by name. A folder that does not exist has none."""
    yield from sorted(Path(folder).glob('*' + SUFFIX))
