# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How much a person should help now: five grades with written triggers (docs/people.md)."""
