# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Published weights: immutable, numbered folders, announced by hash."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy


@dataclass(frozen=True)
class Published:
    """One published version. ``sha256`` is of the manifest, which vouches for the weights."""

    version: int
    parent: int
    folder: Path
    sha256: str
    bytes: int
    about: dict[str, Any]


class WeightStore:
    """Versions in ``root/v000001``, ``v000002``, ...; a number is never reused, a folder never changed.

    Args:
        keep: the newest so many versions stay on disk; older ones go after a newer one is complete.
    """

    def __init__(self, root: str | Path, keep: int = 20):
        self.root, self._keep = Path(root), keep

    def versions(self) -> list[int]:
        """Complete versions on disk, ascending."""
        found = [
            re.fullmatch(r'v(\d{6,})', p.name)
            for p in self.root.glob('v*')
            if (p / checkpoint.MANIFEST).is_file()
        ]
        return sorted(int(match.group(1)) for match in found if match)

    def folder(self, version: int) -> Path:
        return self.root / f'v{version:06d}'

    def publish(
        self, policy: FlowPolicy, about: dict[str, Any], beside: checkpoint.Beside | None = None
    ) -> Published:
        """Write the next version. Raises OSError (disk full) with nothing half written.

        Args:
            beside: see :func:`~apprentice.policies.checkpoint.save`.
        """
        known = self.versions()
        parent = known[-1] if known else 0
        version = parent + 1
        about = {**about, 'version': version, 'parent': about.get('parent', parent)}
        checkpoint.save(policy, self.folder(version), about, beside)
        for old in known[: max(0, len(known) + 1 - self._keep)]:
            shutil.rmtree(self.folder(old), ignore_errors=True)
        return self.describe(version)

    def describe(self, version: int) -> Published:
        """A version on disk. Raises CheckpointError if it is damaged."""
        folder = self.folder(version)
        digest = checkpoint.sha256(folder / checkpoint.MANIFEST)
        _, manifest = checkpoint.load(folder, digest)
        size = sum(p.stat().st_size for p in folder.iterdir())
        about = manifest['about']
        return Published(version, int(about.get('parent', 0)), folder, digest, size, about)
