# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One position servo for each joint of the robot file, from whatever actuators a model comes with.

A control of ours is a position in the unit of the robot file. MuJoCo's position-like actuators compute
``force = gain * control + bias0 + bias1 * length + bias2 * velocity``; with another unit of control,
``control = shift + factor * position``, the same force comes from ``gain * factor`` and
``bias0 + gain * shift``. So a gripper that wants 0 to 255 is rewritten, exactly, to want metres.
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

    model, given = robot.specification, robot.spec.simulator.get('actuators', {})
    replace = given == 'position' or robot.urdf
    if not replace and not isinstance(given, Mapping):
        raise robot.error(
            f"actuators must be a mapping from joints to actuators, or 'position'; got {given!r}"
        )
    if isinstance(given, Mapping):
        robot.mapping('actuators', robot.spec.joint_names)
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
        _check_servo(robot, actuator)
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
    fixed = int(actuator.gaintype) == int(mujoco.mjtGain.mjGAIN_FIXED)
    servo = int(actuator.biastype) == _POSITION_LIKE and actuator.biasprm[1] < 0
    integrates = int(actuator.dyntype) == int(mujoco.mjtDyn.mjDYN_INTEGRATOR)
    if fixed and servo and not integrates:
        return
    raise robot.error(
        f'actuators: {actuator.name!r} of the model does not take a position (a motor takes a torque, a '
        'velocity servo a speed); say actuators: position, and position servos replace those of the joints'
    )


def _use_our_unit(robot: RobotModel, actuator: Any, grip: dict[str, Any]) -> None:
    """``gripper.control``: what the actuator is told for closed and opened; default the joint's positions."""
    joints = [joint for joint in robot.spec.joints if joint.gripper]
    if 'control' in grip:
        closed, opened = robot.vector(grip['control'], 2, 'gripper.control [closed, opened]')
    elif int(actuator.trntype) == _TENDON:
        low, high = (float(v) for v in actuator.ctrlrange)
        raise robot.error(
            f'gripper.control is missing: {actuator.name!r} pulls a tendon; say what it is told for '
            f'[closed, opened], e.g. control: [{low:g}, {high:g}]'
        )
    elif 'position' in grip:
        closed, opened = robot.vector(grip['position'], 2, 'gripper.position [closed, opened]')
    else:
        return
    lower, upper = joints[0].lower, joints[0].upper
    factor = (opened - closed) / (upper - lower)
    shift, gain = closed - factor * lower, float(actuator.gainprm[0])
    actuator.gainprm[0] = gain * factor
    actuator.biasprm[0] = float(actuator.biasprm[0]) + gain * shift
    actuator.ctrlrange = [lower, upper]


def _add_servos(robot: RobotModel, missing: list[int]) -> None:
    """Servos with the gains of ``simulator.gains`` ({kp, damping}, or joint -> {kp, damping})."""
    model, section = robot.specification, robot.spec.simulator
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
            chosen = robot.mapping('gains', ('kp', 'damping'))
        else:
            each = robot.mapping('gains', robot.spec.joint_names)
            chosen = robot.mapping(f'gains.{joint.name}', ('kp', 'damping'), each.get(joint.name, {}))
        default = inertia[index] * NATURAL_FREQUENCY**2
        if joint.gripper:
            default = max(default, _squeeze(robot, index))
        kp = float(chosen.get('kp', default))
        damping = float(chosen.get('damping', 2 * np.sqrt(max(kp, 0.0) * inertia[index])))
        if not (kp > 0 and damping >= 0):
            raise robot.error(f'gains of {joint.name}: kp must be positive and damping not negative')
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
