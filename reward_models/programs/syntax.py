# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a reward program may be written with: an allow-list over its syntax tree, checked before it runs.

The first lock of several: it gives the language model messages it can act on. The process that runs the
program (:mod:`.sandbox`) does not rely on it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

LONGEST = 20_000  # characters
MOST_TURNS = 1000  # of a loop over range()
DEEPEST = 3  # loops within loops
ARGUMENTS = ('state', 'previous', 'action')
ENTRIES = ('reward', 'dense', 'sparse')
KEPT_BACK = ('where', 'out')  # keywords of numpy's functions that no program may give
# words of texts, split: one a line would fill the file
BUILTINS = frozenset(
    """abs all any bool dict enumerate float int len list max min range round sum tuple zip
    True False None""".split()  # noqa: SIM905
)
METHODS = frozenset(
    """T all any astype clip copy dot max mean min ndim prod reshape shape size std sum""".split()  # noqa: SIM905
)
NUMPY = frozenset(
    """abs absolute add all allclose any arange arccos arcsin arctan arctan2 argmax argmin array asarray
    atleast_1d atleast_2d bool_ broadcast_to ceil clip column_stack concatenate cos cosh cross cumsum deg2rad
    degrees diff divide dot e einsum equal exp expand_dims expm1 float32 float64 floor full full_like
    greater greater_equal heaviside hypot inf int32 int64 isclose isfinite isinf isnan less less_equal
    linalg linspace log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor matmul max
    maximum mean median min minimum mod moveaxis multiply nan nan_to_num negative newaxis ones ones_like
    pi power prod quantile rad2deg radians ravel reciprocal repeat reshape round sign sin sinh sqrt square
    squeeze stack std subtract sum swapaxes take tan tanh tile transpose var vstack hstack where zeros
    zeros_like""".split()  # noqa: SIM905
)
MATH = frozenset(
    """acos asin atan atan2 ceil cos cosh degrees dist e exp expm1 fabs floor fmod hypot inf isclose isfinite
    isinf isnan log log10 log1p log2 nan pi pow radians sin sinh sqrt tan tanh tau
    trunc""".split()  # noqa: SIM905
)
_ALLOWED: tuple[type[ast.AST], ...] = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign,
    ast.Expr, ast.If, ast.IfExp, ast.For, ast.Break, ast.Continue, ast.Pass, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.Call, ast.keyword, ast.Name, ast.Constant, ast.Attribute, ast.Subscript,
    ast.Slice,
    ast.Tuple, ast.List, ast.Dict, ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.comprehension,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip
_REMEDY = {
    'Import': 'np and math are there already; leave imports out',
    'ImportFrom': 'np and math are there already; leave imports out',
    'While': 'use for with range(number)',
    'Lambda': 'write a function with a name',
    'JoinedStr': 'texts are not needed',
    'ClassDef': 'write functions',
    'Try': 'an error ends the program; leave it out',
    'Raise': 'an error ends the program; leave it out',
    'Global': 'return what is needed',
    'Nonlocal': 'return what is needed',
}


class ProgramError(ValueError):
    """A program may not run, or went wrong; the text says what to change and goes back to its author."""


def check_program(source: str, state: Collection[str] = ()) -> tuple[str, ...]:
    """Check a program; returns the names of the state that it reads.

    It must define ``reward``, or ``dense`` and ``sparse``, with arguments out of ``state, previous, action``.

    Args:
        state: names that can be measured; empty: any.

    Raises ProgramError naming the line and the remedy.
    """
    if len(source) > LONGEST:
        raise ProgramError(f'the program has {len(source)} characters; {LONGEST} at most')
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProgramError(f'the program is not Python: {error}') from None
    checker = _Checker(frozenset(state))
    try:
        checker.visit(tree)
    except RecursionError:
        raise ProgramError('the program is nested too deeply') from None
    _check_entries(tree)
    return tuple(sorted(checker.reads))


def _check_entries(tree: ast.Module) -> None:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if 'reward' not in functions and not {'dense', 'sparse'} <= set(functions):
        raise ProgramError('define reward(state), or both dense(state) and sparse(state)')
    for name in ENTRIES:
        if name in functions:
            given = [arg.arg for arg in functions[name].args.args]
            if not given or given[0] != 'state' or not set(given) <= set(ARGUMENTS):
                raise ProgramError(
                    f'{name} takes arguments out of {", ".join(ARGUMENTS)}, state first; got {given}'
                )
    for node in tree.body:
        documentation = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not isinstance(node, (ast.FunctionDef, ast.Assign, ast.AnnAssign)) and not documentation:
            raise ProgramError(f'line {node.lineno}: outside of functions only constants may stand')


class _Checker(ast.NodeVisitor):
    def __init__(self, state: frozenset[str]):
        self._state, self._loops, self._known = state, 0, set(BUILTINS)
        self.reads: set[str] = set()

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, _ALLOWED):
            kind = type(node).__name__
            self._refuse(node, f'{kind} may not be used', _REMEDY.get(kind, 'write it with plain arithmetic'))
        super().visit(node)

    def visit_Module(self, node: ast.Module) -> None:
        names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        for name in names:
            self._define(name, name.id)
        for each in ast.walk(node):
            if isinstance(each, ast.arg):
                self._define(each, each.arg)
            elif isinstance(each, ast.FunctionDef):
                self._define(each, each.name)
        self.generic_visit(node)

    def _define(self, node: ast.AST, name: str) -> None:
        self._check_name(node, name)
        if name in BUILTINS or name in ('np', 'math'):
            self._refuse(node, f'{name!r} may not be redefined', 'choose another name')
        self._known.add(name)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = node.args
        if node.decorator_list or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            self._refuse(
                node, 'decorators, *args and keyword-only arguments may not be used', 'leave them out'
            )
        for part in (*arguments.defaults, *node.body):
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in (node.target, node.value):  # the annotation is never evaluated
            if part is not None:
                self.visit(part)

    def visit_Name(self, node: ast.Name) -> None:
        self._check_name(node, node.id)
        if node.id in ('np', 'math'):
            self._refuse(node, f'{node.id} may only be used as {node.id}.name', 'call one of its functions')
        if node.id not in self._known:
            self._refuse(node, f'{node.id!r} is not known', f'there are np, math, {sorted(BUILTINS)}')

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg is None:
                self._refuse(node, '**names may not be given to a call', 'write the arguments out')
            if keyword.arg in KEPT_BACK:  # numpy leaves gaps, which hold numbers of an earlier call
                self._refuse(node, f'{keyword.arg}= may not be given', 'use np.where(condition, a, b)')
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._check_name(node, node.attr)
        if not isinstance(node.ctx, ast.Load):  # what hangs on a function of numpy outlasts a call
            self._refuse(node, f'.{node.attr} may not be assigned', 'assign to a name')
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in ('np', 'math'):
            if node.attr not in (NUMPY if owner.id == 'np' else MATH):
                self._refuse(node, f'{owner.id}.{node.attr} may not be used', 'use arithmetic on arrays')
            if node.attr == 'linalg':
                self._refuse(node, 'np.linalg may only be used as np.linalg.norm', 'use np.linalg.norm')
        elif _is_linalg(owner):
            if node.attr != 'norm':
                self._refuse(node, f'np.linalg.{node.attr} may not be used', 'use np.linalg.norm')
        else:
            if node.attr not in METHODS:
                self._refuse(node, f'.{node.attr} may not be used', f'there are {sorted(METHODS)}')
            self.visit(owner)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Name) and node.value.id in ('state', 'previous'):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if not isinstance(key, str):
                self._refuse(node, f'{node.value.id} must be read by a name', f'write {node.value.id}["tip"]')
            elif self._state and key not in self._state:
                self._refuse(node, f'nothing measures {key!r}', f'there are {sorted(self._state)}')
            else:
                self.reads.add(key)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, (bytes, complex)) or value is Ellipsis:
            self._refuse(node, f'{type(value).__name__} may not be used', 'use numbers and names')
        if isinstance(value, int) and abs(value) > 2**53:
            self._refuse(node, f'{str(value)[:20]}... is too large', 'use smaller numbers')

    def visit_For(self, node: ast.For) -> None:
        if node.orelse:
            self._refuse(node, 'else of a loop may not be used', 'leave it out')
        self._bounded(node.iter)
        self._loops += 1
        if self._loops > DEEPEST:
            self._refuse(node, f'loops are nested more than {DEEPEST} deep', 'use arithmetic on arrays')
        self.generic_visit(node)
        self._loops -= 1

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._bounded(node.iter)
        self.generic_visit(node)

    def _bounded(self, node: ast.expr) -> None:
        """Loops may run over numbers up to a limit and over what is written out."""
        if isinstance(node, (ast.Tuple, ast.List)):
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == 'range' and node.args and all(map(_turns, node.args)):
                return
            if node.func.id in ('enumerate', 'zip') and node.args and not node.keywords:
                for argument in node.args:
                    self._bounded(argument)
                return
        self._refuse(
            node, 'a loop must have a known end',
            f'use range(number up to {MOST_TURNS}) or a written out list; arrays need no loop',
        )  # fmt: skip

    def _check_name(self, node: ast.AST, name: str) -> None:
        if name.startswith('_') and name != '_':
            self._refuse(node, f'{name!r} begins with an underscore', 'choose another name')

    def _refuse(self, node: ast.AST, what: str, remedy: str) -> None:
        raise ProgramError(f'line {getattr(node, "lineno", 0)}: {what}; {remedy}')


def _is_linalg(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == 'linalg'
        and isinstance(node.value, ast.Name)
        and node.value.id == 'np'
    )


def _turns(node: ast.expr) -> bool:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    value = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    return isinstance(value, ast.Constant) and type(value.value) is int and value.value <= MOST_TURNS
