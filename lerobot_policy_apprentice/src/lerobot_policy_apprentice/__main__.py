# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Make a folder that LeRobot and Apprentice both read from a checkpoint of Apprentice."""

from __future__ import annotations

import argparse

from lerobot_policy_apprentice import ApprenticePolicy, make_apprentice_pre_post_processors


def main() -> None:
    """Entry point of ``python -m lerobot_policy_apprentice``."""
    parser = argparse.ArgumentParser(prog='python -m lerobot_policy_apprentice', description=__doc__)
    parser.add_argument('checkpoint', help='folder made by `apprentice train bc`')
    parser.add_argument('out', help='folder to write')
    parsed = parser.parse_args()
    policy = ApprenticePolicy.from_pretrained(parsed.checkpoint)
    policy.save_pretrained(parsed.out)
    for processor in make_apprentice_pre_post_processors(policy.config):
        processor.save_pretrained(parsed.out)


if __name__ == '__main__':
    main()
