# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Substitutions of ROS 2 launch files: ``$(var x)``, ``$(env X default)``, ``$(find-pkg-share p)`` and so on.

The grammar is that of the ``launch`` package: arguments are separated by spaces, may be quoted, and may
hold further substitutions; a backslash takes the next character literally.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apprentice.cli.environment import ament_prefixes
from apprentice.robot.parts import share


class LaunchError(ValueError):
    """The launch file is wrong or asks for something unsupported; the text says where and what to do."""


@dataclass
class Scope:
    """What a substitution can see: launch variables, the environment and the file it stands in."""

    variables: dict[str, str]
    environment: dict[str, str]
    file: Path


def truth(text: str) -> bool:
    """A condition's value, as ROS reads it: true, 1, false or 0. Raises LaunchError for anything else."""
    lowered = text.strip().lower()
    if lowered in ('true', '1'):
        return True
    if lowered in ('false', '0'):
        return False
    raise LaunchError(f'condition is {text!r}; it must be true, false, 1 or 0')


def substitute(text: str, scope: Scope) -> str:
    """Replace every substitution in ``text``. Raises LaunchError naming the substitution and the remedy."""
    value, _ = _template(text, 0, None, scope)
    return value


def _template(text: str, at: int, quote: str | None, scope: Scope) -> tuple[str, int]:
    """Read up to the closing quote (or the end); returns the value and the position after it."""
    out: list[str] = []
    while at < len(text):
        if text[at] == quote:
            return ''.join(out), at + 1
        piece, at = _piece(text, at, scope)
        out.append(piece)
    if quote is not None:
        raise LaunchError(f'{text!r}: quote {quote} is not closed')
    return ''.join(out), at


def _piece(text: str, at: int, scope: Scope) -> tuple[str, int]:
    if text.startswith('$(', at):
        return _call(text, at + 2, scope)
    if text[at] == '\\' and at + 1 < len(text):
        return text[at + 1], at + 2
    return text[at], at + 1


def _call(text: str, at: int, scope: Scope) -> tuple[str, int]:
    name = ''
    arguments: list[str] = []
    while at < len(text) and (text[at].isalnum() or text[at] in '_-'):
        name, at = name + text[at], at + 1
    while at < len(text):
        if text[at] == ')':
            return _perform(name, arguments, scope), at + 1
        if text[at] == ' ':
            at += 1
            continue
        if text[at] in '\'"':
            value, at = _template(text, at + 1, text[at], scope)
        else:
            value = ''
            while at < len(text) and text[at] not in ' )':
                piece, at = _piece(text, at, scope)
                value += piece
        arguments.append(value)
    raise LaunchError(f'{text!r}: $({name} is not closed with )')


def _perform(name: str, arguments: list[str], scope: Scope) -> str:
    if name not in _FUNCTIONS:
        raise LaunchError(
            f'substitution $({name}) is not supported without a ROS installation; '
            f'use one of {", ".join(sorted(_FUNCTIONS))}, or run the file with ros2 launch'
        )
    low, high, function = _FUNCTIONS[name]
    if not low <= len(arguments) <= high:
        raise LaunchError(f'$({name}) takes {low} to {high} arguments, got {len(arguments)}: {arguments}')
    return function(arguments, scope)


def _var(arguments: list[str], scope: Scope) -> str:
    if arguments[0] in scope.variables:
        return scope.variables[arguments[0]]
    if len(arguments) == 2:
        return arguments[1]
    known = ', '.join(sorted(scope.variables)) or 'none'
    raise LaunchError(f'$(var {arguments[0]}): no such variable; declare it with arg or let (known: {known})')


def _env(arguments: list[str], scope: Scope) -> str:
    if arguments[0] in scope.environment:
        return scope.environment[arguments[0]]
    if len(arguments) == 2:
        return arguments[1]
    raise LaunchError(
        f'$(env {arguments[0]}): not set; export it, or give a default: $(env {arguments[0]} value)'
    )


def package_share(package: str, environment: dict[str, str]) -> Path:
    """The share folder of a package: a checkout of this one, or share/<package> in the ROS prefixes."""
    if package == 'apprentice':
        return share('package.xml').parent
    for prefix in ament_prefixes(environment):
        if (prefix / 'share' / package).is_dir():
            return prefix / 'share' / package
    looked = environment.get('AMENT_PREFIX_PATH', '') or 'nothing (AMENT_PREFIX_PATH is empty)'
    raise LaunchError(f'package {package!r} is not installed; looked in {looked}. Source its workspace first')


def _compare(function: Callable[[object, object], bool]) -> Callable[[list[str], Scope], str]:
    return lambda arguments, scope: str(function(_typed(arguments[0]), _typed(arguments[1]))).lower()


def _typed(text: str) -> object:
    """Compare 1 and 1.0, true and True as equal, as launch does."""
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    try:
        return float(text)
    except ValueError:
        return text


_OPERATORS: dict[type, Callable] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}


def _value(node: ast.expr) -> object:
    """Literals, comparisons, arithmetic, and/or/not and if/else; no names, no calls."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.IfExp):
        return _value(node.body) if _value(node.test) else _value(node.orelse)
    if isinstance(node, ast.BoolOp):
        combine = all if isinstance(node.op, ast.And) else any
        return combine(bool(_value(item)) for item in node.values)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.Compare) and all(type(op) in _OPERATORS for op in node.ops):
        operands = [_value(item) for item in (node.left, *node.comparators)]
        pairs = zip(node.ops, operands, operands[1:])
        return all(_OPERATORS[type(op)](left, right) for op, left, right in pairs)
    raise SyntaxError(f'{ast.unparse(node)} is not allowed')


def _eval(arguments: list[str], scope: Scope) -> str:
    try:
        return str(_value(ast.parse(arguments[0].strip(), mode='eval').body))
    except (SyntaxError, TypeError, ArithmeticError) as error:
        raise LaunchError(
            f'$(eval {arguments[0]}): {error}. Without a ROS installation eval knows literals, comparisons, '
            'arithmetic, and/or/not and if/else; quote text, e.g. $(eval \'"$(var mode)" == "fast"\')'
        ) from None


_MANY = 99
_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[str], Scope], str]]] = {
    'var': (1, 2, _var),
    'env': (1, 2, _env),
    'dirname': (0, 0, lambda _, scope: str(scope.file.parent)),
    'filename': (0, 0, lambda _, scope: str(scope.file)),
    'find-pkg-share': (1, 1, lambda a, scope: str(package_share(a[0], scope.environment))),
    'eval': (1, 1, _eval),
    'not': (1, 1, lambda a, _: str(not truth(a[0])).lower()),
    'and': (2, 2, lambda a, _: str(truth(a[0]) and truth(a[1])).lower()),
    'or': (2, 2, lambda a, _: str(truth(a[0]) or truth(a[1])).lower()),
    'all': (1, _MANY, lambda a, _: str(all(truth(x) for x in a)).lower()),
    'any': (1, _MANY, lambda a, _: str(any(truth(x) for x in a)).lower()),
    'equals': (2, 2, _compare(operator.eq)),
    'not-equals': (2, 2, _compare(operator.ne)),
}
