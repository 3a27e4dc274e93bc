# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Labels given after an episode was sealed, and the list of sealed episodes.

Sealed files never change, so a later label lies beside them: ``<id>.label.json`` overrides the outcome.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from apprentice.episodes.files import PART_SUFFIX, SUFFIX, EpisodeFileError, replacing_durably, sync_folder
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
    restore_label(path, json.dumps(content, indent=1).encode())
    return label


def restore_label(path: str | Path, content: bytes | None) -> None:
    """Put the content of a label file back, None: that there was none."""
    label = label_path(path)
    if content is None:
        label.unlink(missing_ok=True)
        sync_folder(label.parent)
        return
    with replacing_durably(label) as temporary:
        temporary.write_bytes(content)


def take_label(source: str | Path, target: str | Path) -> bool:
    """Copy the label of one episode file to another, unless that one's is as new; whether it was copied.

    A label that does not say its time has that of its file.

    Raises EpisodeFileError for one that is unreadable.
    """
    found, known = (_time(path) for path in (source, target))
    if found is None or (known is not None and known >= found):
        return False
    restore_label(target, label_path(source).read_bytes())
    return True


def _time(path: str | Path) -> float | None:
    """When an episode file was labelled; None: it was not."""
    if read_label(path) is None:
        return None
    label = label_path(path)
    said = json.loads(label.read_text()).get('time')
    return float(said) if isinstance(said, (int, float)) else label.stat().st_mtime


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
