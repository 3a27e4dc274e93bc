# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What was asked, answered and measured while a reward was written: a folder that work resumes from.

One file a question and one a result. A question that was answered before, word for word, is not asked
again, so a search that was cut off goes on where it stopped, and a finished one can be read and repeated
without an endpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from apprentice.reward_models.files import read_json, write_json
from apprentice.reward_models.programs.endpoint import Endpoint, Message


class Journal:
    """The log of one search.

    Attributes:
        asked, reused: questions sent to the endpoint, and answered from the folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.asked = self.reused = 0
        folder.mkdir(parents=True, exist_ok=True)

    def ask(
        self, name: str, endpoint: Endpoint, messages: Sequence[Message], temperature: float | None = None
    ) -> str:
        """The reply to messages, from ``NAME.json`` or from the endpoint. Raises EndpointError."""
        plain = [asdict(message) for message in messages]
        digest = _sha([endpoint.model, plain, temperature])
        found = self._found(name, digest)
        if found is not None:
            self.reused += 1
            return str(found['reply'])
        reply = endpoint.ask(messages, temperature)
        self.asked += 1
        self._write(name, digest, {'model': endpoint.model, 'messages': plain, 'reply': reply})
        return reply

    def once(self, name: str, given: Any, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``measure`` returned for ``given`` (plain data), now or when it was first asked for."""
        digest = _sha(given)
        found = self._found(name, digest)
        if found is not None:
            return dict(found['result'])
        result = measure()
        self._write(name, digest, {'result': result})
        return result

    def note(self, name: str, data: dict[str, Any]) -> None:
        """Write something down; it replaces what had that name."""
        self._write(name, '', data)

    def _found(self, name: str, digest: str) -> dict[str, Any] | None:
        path = self._path(name)
        if not path.exists():
            return None
        data = read_json(path)
        return data if data.get('sha256') == digest else None

    def _write(self, name: str, digest: str, data: dict[str, Any]) -> None:
        when = datetime.now(timezone.utc).isoformat(timespec='seconds')
        write_json(self._path(name), {'sha256': digest, 'time': when, **data})

    def _path(self, name: str) -> Path:
        return self.folder / f'{re.sub(r"[^A-Za-z0-9_.-]", "_", name)}.json'


def _sha(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
