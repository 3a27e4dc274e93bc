# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who is in control of the robot: the modes, and the one table of transitions between them.

The priority is stop > fault > person > reset > policy.
"""

from __future__ import annotations

from apprentice.robot.types import ControlMode

_M = ControlMode
_WAITING = 'waiting for the policy to plan afresh'
_PAUSED = 'paused: call gate/pause with false'

# event -> (modes it is allowed in, mode it leads to). Nothing else changes the mode.
TRANSITIONS: dict[str, tuple[frozenset[ControlMode], ControlMode]] = {
    'stop': (frozenset(_M) - {_M.STOP}, _M.STOP),
    'fault': (frozenset(_M) - {_M.STOP, _M.FAULT}, _M.FAULT),
    'clear': (frozenset({_M.STOP, _M.FAULT}), _M.DISARMED),
    'arm': (frozenset({_M.DISARMED, _M.HOLD}), _M.PAUSED),
    'disarm': (frozenset({_M.POLICY, _M.HUMAN, _M.PAUSED, _M.RESET, _M.HOLD}), _M.DISARMED),
    'hold': (frozenset({_M.POLICY, _M.HUMAN, _M.PAUSED, _M.RESET}), _M.HOLD),
    'take': (frozenset({_M.POLICY, _M.PAUSED, _M.RESET, _M.HOLD}), _M.HUMAN),
    'release': (frozenset({_M.HUMAN}), _M.PAUSED),
    'release_unarmed': (frozenset({_M.HUMAN}), _M.HOLD),
    'reset': (frozenset({_M.POLICY, _M.PAUSED}), _M.RESET),
    'reset_done': (frozenset({_M.RESET}), _M.PAUSED),
    'pause': (frozenset({_M.POLICY}), _M.PAUSED),
    'plan': (frozenset({_M.PAUSED}), _M.POLICY),
}
# a plan is accepted *for* the present epoch; every other event makes the plans before it worthless
_SAME_EPOCH = frozenset({'plan'})


class Arbiter:
    """Mode, epoch and owner, changed by commands. Times are seconds of the robot's clock.

    Commands return (accepted, message); a refusal's message says why and what to do.

    Attributes:
        mode: who is in control.
        since: when the mode began.
        reason: cause of the mode and, where there is one, the remedy.
        epoch: increases with every change of control; plans of earlier epochs are worthless.
        takeover_id: increases with every takeover by a person.
    """

    def __init__(self) -> None:
        self.mode, self.since, self.reason = ControlMode.DISARMED, 0.0, 'not armed yet: call gate/arm'
        self.epoch, self.takeover_id = 1, 0
        self._armed = False  # HOLD takes it away; a release leads back to the policy only with it
        self._paused = False  # asked for by gate/pause

    @property
    def owner(self) -> str:
        """Who is in control: ``policy``, ``human`` or ``gate``."""
        return {ControlMode.POLICY: 'policy', ControlMode.HUMAN: 'human'}.get(self.mode, 'gate')

    @property
    def waiting_for_policy(self) -> bool:
        """PAUSED until the policy plans afresh, not because somebody asked for a pause."""
        return self.mode == ControlMode.PAUSED and not self._paused

    def arm(self, now: float) -> tuple[bool, str]:
        """Leave DISARMED or HOLD; the robot moves once the policy has planned afresh."""
        if self.mode in (ControlMode.STOP, ControlMode.FAULT):
            return False, f'{self.mode.name}: {self.reason}; call gate/clear, then gate/arm'
        self._armed = True
        if self._go('arm', now, _WAITING):
            self._paused = False
            return True, 'armed'
        return True, f'already armed ({self.mode.name})'

    def disarm(self, now: float) -> tuple[bool, str]:
        """Command nothing but the held position until armed again. STOP and FAULT stay latched."""
        self._armed = False
        self._go('disarm', now, 'disarmed: call gate/arm')
        return True, self.mode.name

    def stop(self, now: float, reason: str = 'stop requested') -> tuple[bool, str]:
        """Latched stop, from any mode."""
        self._armed = False
        self._go('stop', now, f'{reason}; call gate/clear, then gate/arm')
        return True, 'stopped'

    def clear(self, now: float) -> tuple[bool, str]:
        """Take a latched STOP or FAULT away; leads to DISARMED."""
        if self._go('clear', now, 'cleared: call gate/arm'):
            return True, 'cleared; call gate/arm'
        return False, f'nothing to clear: mode is {self.mode.name}'

    def hold(self, reason: str, now: float) -> None:
        """HOLD from any mode that moves; needs to be armed again."""
        self._go('hold', now, reason)

    def request_control(self, take: bool, now: float) -> tuple[bool, str]:
        """A person takes over (effective with the next tick) or releases."""
        if take:
            if self._go('take', now, 'a person took over'):
                self.takeover_id += 1
                return True, f'takeover {self.takeover_id}'
            if self.mode == ControlMode.HUMAN:
                return True, f'takeover {self.takeover_id} goes on'
            return False, f'{self.mode.name}: {self.reason}'
        if self.mode != ControlMode.HUMAN:
            return False, f'no person is in control: mode is {self.mode.name}'
        if self._armed:
            self._go('release', now, _PAUSED if self._paused else _WAITING)
        else:
            self._go('release_unarmed', now, 'released after a HOLD: call gate/arm to let the policy act')
        return True, self.mode.name

    def pause(self, on: bool, now: float) -> tuple[bool, str]:
        """Hold the policy back, or let it plan afresh."""
        if on:
            if not self._go('pause', now, _PAUSED) and self.mode != ControlMode.PAUSED:
                return False, f'only the policy can be paused: mode is {self.mode.name}'
            self._paused, self.reason = True, _PAUSED
            return True, 'paused'
        if self.mode != ControlMode.PAUSED:
            return False, f'nothing is paused: mode is {self.mode.name}'
        if self._paused:
            self._paused, self.since, self.reason = False, now, _WAITING
        return True, _WAITING

    def reset(self, on: bool, now: float) -> tuple[bool, str]:
        """Drive home at reduced speed, straight in joint space; off: wait for a fresh plan."""
        event, reason = ('reset', 'driving home') if on else ('reset_done', _WAITING)
        if self._go(event, now, reason):
            self._paused = False
            return True, reason
        if on and self.mode == ControlMode.RESET:
            return True, self.reason
        remedy = {
            ControlMode.HUMAN: 'a person is in control: release first',
            ControlMode.DISARMED: 'call gate/arm first',
            ControlMode.HOLD: f'call gate/arm first ({self.reason})',
        }.get(self.mode, self.reason)
        return (
            False,
            f'{self.mode.name}: {remedy}' if on else f'no reset is going on: mode is {self.mode.name}',
        )

    def _go(self, event: str, now: float, reason: str) -> bool:
        """Make the transition if the table allows it from here."""
        allowed, target = TRANSITIONS[event]
        if self.mode not in allowed:
            return False
        self.mode, self.since, self.reason = target, now, reason
        if target in (ControlMode.HOLD, ControlMode.FAULT):
            self._armed = False
        if event not in _SAME_EPOCH:
            self.epoch += 1
        return True
