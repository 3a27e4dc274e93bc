# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One position servo for each joint of the robot file, from whatever actuators a model comes with.

A control of ours is a position in the unit of the robot file. MuJoCo's position-like actuators compute
``force = gain * control + bias0 + bias1 * length + bias2 * velocity``; with another unit of control,
``control = shift + factor * position``, the same force comes from ``gain * factor`` and
``bias0 + gain * shift``. So a gripper that wants 0 to 255 is rewritten, exactly, to want metres, and a servo
behind a gear, or told degrees or the torque of its spring, to want the joint's radians.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from apprentice.sim.robots.model_file import compile_model

if TYPE_CHECKING:
    from apprentice.sim.robots.robot_model import RobotModel

# a servo without gains: natural frequency with the inertia that the joint has at home, no overshoot
NATURAL_FREQUENCY = 25.0  # rad/s
# ... and at least this much at a gripper that is told to close from fully open, whatever its fingers weigh
SQUEEZE = {'slide': 40.0, 'hinge': 4.0}  # N, N m
_POSITION_LIKE = int(mujoco.mjtBias.mjBIAS_AFFINE)
_TENDON = int(mujoco.mjtTrn.mjTRN_TENDON)
_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))


def adopt(robot: RobotModel, grip: dict[str, Any]) -> list[str]:
    """Make sure that every joint of the robot file has a servo; names in its order.

    ``simulator.actuators`` maps joints to actuators, or says ``position``: then new servos replace what
    drives the joints. URDF has no actuators, so there they are always new. Raises RobotFileError.
    """
    from apprentice.sim.robots.robot_model import delete

    model, given = robot.specification, robot.section.get('actuators', {})
    replace = given == 'position' or robot.urdf
    if not replace and not isinstance(given, Mapping):
        raise robot.section.error(
            f"actuators must be a mapping from joints to actuators, or 'position'; got {given!r}"
        )
    if isinstance(given, Mapping):
        robot.section.mapping('actuators', robot.spec.joint_names)
    names, missing = [], []
    for index, joint in enumerate(robot.spec.joints):
        named = grip.get('actuator') if joint.gripper else None
        named = given.get(joint.name, named) if isinstance(given, Mapping) else named
        if named is None and replace:
            missing.append(index)
            names.append(robot.joints[index])
            continue
        actuator = _find(robot, index, named)
        if not actuator.name:
            actuator.name = robot.joints[index]
        if actuator.name in names:
            raise robot.section.error(
                f'actuators: {actuator.name!r} of the model is named twice, the second time for '
                f'{joint.name!r}; give each joint an actuator of its own'
            )
        _check_servo(robot, actuator)
        if not joint.gripper:
            _check_target(robot, actuator, index)
        if int(actuator.trntype) in _JOINT and not (joint.gripper and 'control' in grip):
            _use_position(actuator)
        if joint.gripper:
            _use_our_unit(robot, actuator, grip)
        names.append(actuator.name)
    for actuator in list(model.actuators):
        driven = actuator.target in (*(robot.joints[i] for i in missing), *robot.followers)
        if driven and int(actuator.trntype) in _JOINT and actuator.name not in _kept(names, missing):
            delete(model, actuator)
    if missing:
        _add_servos(robot, missing)
    return names


def _kept(names: list[str], missing: list[int]) -> set[str]:
    return {name for index, name in enumerate(names) if index not in missing}


def _find(robot: RobotModel, index: int, named: str | None) -> Any:
    """The actuator of a joint: as named, else of the joint's name, else the one that pulls at it."""
    model, joint, target = robot.specification, robot.spec.joints[index], robot.joints[index]
    remedy = f'Say simulator.actuators: {{{joint.name}: its actuator}}, or actuators: position for new servos'
    if named is not None:
        return robot.find(model.actuators, str(named), 'actuator', remedy)
    for actuator in model.actuators:
        if actuator.name == joint.name:
            return actuator
    for actuator in model.actuators:
        if int(actuator.trntype) in _JOINT and actuator.target == target:
            return actuator
    return robot.find(model.actuators, joint.name, 'actuator', remedy)


def _check_servo(robot: RobotModel, actuator: Any) -> None:
    """Refuse what does not take a position: torque, velocity, muscles."""
    fixed = int(actuator.gaintype) == int(mujoco.mjtGain.mjGAIN_FIXED) and actuator.gainprm[0] != 0
    servo = int(actuator.biastype) == _POSITION_LIKE and actuator.biasprm[1] < 0
    servo = servo and (int(actuator.trntype) not in _JOINT or actuator.gear[0] != 0)
    integrates = int(actuator.dyntype) == int(mujoco.mjtDyn.mjDYN_INTEGRATOR)
    if fixed and servo and not integrates:
        return
    raise robot.section.error(
        f'actuators: {actuator.name!r} of the model does not take a position (a motor takes a torque, a '
        'velocity servo a speed); say actuators: position, and position servos replace those of the joints'
    )


def _check_target(robot: RobotModel, actuator: Any, index: int) -> None:
    """Refuse what pulls at something else than the joint: its control is no position of the joint."""
    if int(actuator.trntype) in _JOINT and actuator.target == robot.joints[index]:
        return
    raise robot.section.error(
        f'actuators: {actuator.name!r} of the model drives {actuator.target!r}, not the joint '
        f'{robot.joints[index]!r}, so it cannot be told the position of {robot.spec.joints[index].name!r}; '
        'name another, or say actuators: position, and position servos replace those of the joints'
    )


def _use_position(actuator: Any) -> None:
    """Let the control be the joint's position, where ``length = gear * position``, from whatever it was."""
    gear, gain = float(actuator.gear[0]), float(actuator.gainprm[0])
    factor, shift = -float(actuator.biasprm[1]) * gear / gain, -float(actuator.biasprm[0]) / gain
    if np.allclose([factor, shift], [1, 0], atol=1e-9):
        return
    if actuator.inheritrange > 0:  # MuJoCo gives this to plain position servos only
        actuator.inheritrange = 0
    elif actuator.ctrlrange[0] < actuator.ctrlrange[1]:
        actuator.ctrlrange = sorted((np.asarray(actuator.ctrlrange) - shift) / factor)
    _substitute(actuator, factor, shift)


def _substitute(actuator: Any, factor: float, shift: float) -> None:
    """Another unit for the control, see above: what was told is ``shift + factor *`` what is told now."""
    gain = float(actuator.gainprm[0])
    actuator.gainprm[0] = gain * factor
    actuator.biasprm[0] = float(actuator.biasprm[0]) + gain * shift


def _use_our_unit(robot: RobotModel, actuator: Any, grip: dict[str, Any]) -> None:
    """``gripper.control``: what the actuator is told for closed and opened; default the joint's positions."""
    joints = [joint for joint in robot.spec.joints if joint.gripper]
    if 'control' in grip:
        closed, opened = robot.section.vector(grip['control'], 2, 'gripper.control [closed, opened]')
    elif int(actuator.trntype) == _TENDON:
        low, high = (float(v) for v in actuator.ctrlrange)
        raise robot.section.error(
            f'gripper.control is missing: {actuator.name!r} pulls a tendon; say what it is told for '
            f'[closed, opened], e.g. control: [{low:g}, {high:g}]'
        )
    elif 'position' in grip:
        closed, opened = robot.section.vector(grip['position'], 2, 'gripper.position [closed, opened]')
    else:
        return
    lower, upper = joints[0].lower, joints[0].upper
    factor = (opened - closed) / (upper - lower)
    _substitute(actuator, factor, closed - factor * lower)
    actuator.ctrlrange = [lower, upper]


def _add_servos(robot: RobotModel, missing: list[int]) -> None:
    """Servos with the gains of ``simulator.gains`` ({kp, damping}, or joint -> {kp, damping})."""
    model, section = robot.specification, robot.section
    if section.get('gravity_compensation', True):
        for body in model.bodies:
            if body.name != 'world' and _belongs(robot, body):
                body.gravcomp = 1.0  # as the controllers of real arms do
    if robot.urdf:  # says nothing of integrators; this one takes stiff servos
        model.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    inertia = _inertia_at_home(robot)
    gains = section.get('gains', {})
    common = not isinstance(gains, Mapping) or set(gains) & {'kp', 'damping'} or not gains
    for index in missing:
        joint, target = robot.spec.joints[index], robot.joints[index]
        if common:
            chosen = robot.section.mapping('gains', ('kp', 'damping'))
        else:
            each = robot.section.mapping('gains', robot.spec.joint_names)
            own = each.get(joint.name, {})
            chosen = robot.section.mapping(f'gains.{joint.name}', ('kp', 'damping'), own)
        default = inertia[index] * NATURAL_FREQUENCY**2
        if joint.gripper:
            default = max(default, _squeeze(robot, index))
        kp = robot.section.number(chosen.get('kp', default), f'gains of {joint.name}: kp')
        critical = 2 * np.sqrt(kp * inertia[index])
        about = f'gains of {joint.name}: damping'
        damping = robot.section.number(chosen.get('damping', critical), about, positive=False)
        if damping < 0:
            raise robot.section.error(f'{about} must not be negative, got {damping}')
        scale, offset = robot.scale[index], robot.offset[index]  # model position = (ours - offset) / scale
        servo = model.add_actuator()
        servo.name, servo.target = target, target
        servo.trntype = mujoco.mjtTrn.mjTRN_JOINT
        servo.gaintype, servo.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
        servo.gainprm[0] = kp / scale
        servo.biasprm[:3] = [-kp * offset / scale, -kp, -damping]
        servo.ctrlrange, servo.ctrllimited = [joint.lower, joint.upper], 1


def _squeeze(robot: RobotModel, index: int) -> float:
    """Stiffness of a gripper's servo, in the unit of the model's joint."""
    joint = robot.spec.joints[index]
    element = next(j for j in robot.specification.joints if j.name == robot.joints[index])
    kind = 'slide' if int(element.type) == int(mujoco.mjtJoint.mjJNT_SLIDE) else 'hinge'
    return SQUEEZE[kind] * abs(float(robot.scale[index])) / (joint.upper - joint.lower)


def _belongs(robot: RobotModel, body: Any) -> bool:
    """Whether a body moves with the robot: it or one above it, below or at a joint of the robot file."""
    while body is not None and body.name != 'world':
        if any(joint.name in robot.joints or joint.name in robot.followers for joint in body.joints):
            return True
        body = _parent(robot, body)
    return False


def _parent(robot: RobotModel, body: Any) -> Any:
    parent = getattr(body, 'parent', None)
    if parent is not None and not callable(parent):
        return parent
    return next((b for b in robot.specification.bodies if any(c.name == body.name for c in b.bodies)), None)


def _inertia_at_home(robot: RobotModel) -> np.ndarray:
    """Inertia that each joint moves at the home position [dim], with the other joints held."""
    model = compile_model(robot.specification.copy(), f'robot {robot.spec.name!r}: simulator.model')
    data = mujoco.MjData(model)
    home = (robot.spec.vector('home') - robot.offset) / robot.scale
    for name, value in zip(robot.joints, home, strict=True):
        data.qpos[int(model.joint(name).qposadr[0])] = value
    mujoco.mj_forward(model, data)
    moved, unit = np.zeros(model.nv), np.zeros(model.nv)
    inertia = np.zeros(robot.spec.dim)
    for index, name in enumerate(robot.joints):
        degree = int(model.joint(name).dofadr[0])
        unit[:] = 0
        unit[degree] = 1
        mujoco.mj_mulM(model, data, moved, unit)
        inertia[index] = moved[degree]
    return np.maximum(inertia, 1e-6)
