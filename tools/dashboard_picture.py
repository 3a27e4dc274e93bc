# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Takes the picture of the dashboard for the README, from a graph that runs.

    apprentice demo --trials 5 --episodes 10
    python tools/dashboard_picture.py http://127.0.0.1:8765 docs/images/dashboard.png

Waits until a person drives in an episode whose curves have begun; look at the picture before you keep it.
Needs `pip install playwright` and a Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

# a person drives, cameras and curves are there, and episodes ended before
READY = """() => [
  document.body.dataset.mode === 'HUMAN',
  document.querySelectorAll('#legend button').length >= 2,
  document.querySelectorAll('.camera canvas').length >= 1 && !document.querySelector('.camera.late'),
  Number(document.getElementById('step').textContent) >= STEPS,
  Number(document.getElementById('episodes').textContent) >= EPISODES,
].every(Boolean)"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('url', help='of the dashboard')
    parser.add_argument('out', type=Path, help='PNG file')
    parser.add_argument('--episodes', type=int, default=3, help='that must have ended before')
    parser.add_argument('--step', type=int, default=20, help='of the episode, at least')
    parser.add_argument('--wait', type=float, default=600.0, help='for the moment [s]')
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    ready = READY.replace('STEPS', str(args.step)).replace('EPISODES', str(args.episodes))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page(viewport={'width': 1360, 'height': 860})
        page.goto(args.url)
        deadline = time.monotonic() + args.wait
        while not page.evaluate(ready):
            if time.monotonic() > deadline:
                print('nobody drove in time; is a person helping?', file=sys.stderr)  # noqa: T201
                return 1
            page.wait_for_timeout(50)
        page.screenshot(path=str(args.out))
        browser.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
