"""Penalties and constraints from text, read and never evaluated: `L1(1e-4) + L2(0.1)`.

The grammar is that of Python expressions, cut down to calls of registered names
with literal arguments, sums of penalties, and multiples of one:

    object   = name | name(argument, name=argument, ...) | None
             | object + object | number * object | (object)
    argument = number | string | True | False | None | [...] | (...) | object
"""

import ast
import json
from typing import Any, NoReturn

from keras_regx import constraints, regularizers
from keras_regx.policy.rule import Rule

_LONGEST = 10_000
_MODULES = ("keras.regularizers", "keras.constraints", "keras.optimizers.schedules")
_Sequence = ast.List | ast.Tuple


def parse_object(text: str) -> Any:
    """Return the penalty or constraint that a text describes, or None.

    Args:
        text: Such as `"L2(1e-4)"`, `"0.5 * L2(0.1) + L1(0.01)"`, `"max_norm"`.

    Raises:
        ValueError: If the text is anything else. Nothing of it is run.

    Example:

    >>> from keras_regx.policy.text import parse_object
    >>> parse_object("L1(0.1) + 0.5 * L2(l2=0.2)")
    Sum(regularizers=[L1(l1=0.1), Scaled(regularizer=L2(l2=0.2), factor=0.5)])
    >>> parse_object("MaxNorm(3, axis='units')")
    MaxNorm(max_value=3.0, axis='units')
    """
    if len(text) > _LONGEST:
        raise ValueError(f"An expression of {len(text)} characters is too long.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return _object(tree, text)
    except SyntaxError as error:
        return _fail(text, f"it cannot be read ({error.msg})")
    except (RecursionError, MemoryError):
        return _fail(text, "it is nested too deeply")


def parse_rule(text: str) -> Rule:
    """Return the rule that `PATTERN=EXPRESSION` describes.

    The expression decides whether it is about the penalty or the constraint;
    `None` clears both. `=` ends the pattern.

    Raises:
        ValueError: If the text is anything else. Nothing of it is run.

    Example:

    >>> from keras_regx.policy.text import parse_rule
    >>> parse_rule("*/kernel=L2(1e-4)")
    Rule('*/kernel', regularizer=L2(l2=0.0001))
    >>> parse_rule("*/head/*=None")
    Rule('*/head/*', regularizer=None, constraint=None)
    """
    pattern, equals, expression = text.partition("=")
    if not equals or not pattern.strip() or not expression.strip():
        raise ValueError(
            "Expected a rule such as '*/kernel=L2(1e-4)': a pattern, '=', and a "
            f"penalty, a constraint or None. Received: {text!r}"
        )
    return Rule(pattern.strip(), **fields_of(parse_object(expression)))


def rules_from_json(text: str) -> list[Rule]:
    """Return the rules of a policy file. Nothing of it is run.

    Raises:
        ValueError: If the text is not the JSON of a policy.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The policy is not valid JSON: {error}") from None
    items = data.get("rules") if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise ValueError(
            'Expected a policy such as {"rules": [{"pattern": "*/kernel", '
            f'"regularizer": "L2(1e-4)"}}]}}. Received: {text[:200]!r}'
        )
    return [_rule(item) for item in items]


def _rule(item: dict[str, Any]) -> Rule:
    allowed = set(Rule.argument_names()) - {"predicate"}
    unknown = sorted(set(item) - allowed)
    if unknown:
        raise ValueError(
            f"A rule of a policy file has no {unknown[0]!r}. It may have: "
            f"{', '.join(sorted(allowed))}. Received: {item!r}"
        )
    arguments = dict(item)
    for name, registry in (
        ("regularizer", regularizers.registry),
        ("constraint", constraints.registry),
        ("activity_regularizer", regularizers.registry),
    ):
        value = arguments.get(name)
        if isinstance(value, str):
            arguments[name] = parse_object(value)
        elif value is not None:
            _check_config(value)
            arguments[name] = registry.deserialize(value)
    return Rule(**arguments)


def _check_config(value: Any) -> None:
    """Raise if a config names anything that is not a penalty or constraint."""
    if isinstance(value, list):
        for item in value:
            _check_config(item)
    elif isinstance(value, dict):
        name = value.get("class_name")
        known = any(
            str(name).removeprefix("keras_regx>") in registry
            for registry in (regularizers.registry, constraints.registry)
        )
        if name is not None and not known and value.get("module") not in _MODULES:
            raise ValueError(
                f"A policy file may name penalties and constraints only, not {name!r}."
            )
        for item in value.values():
            _check_config(item)


def fields_of(obj: Any) -> dict[str, Any]:
    """Return the fields of a rule that an object is for."""
    if obj is None:
        return {"regularizer": None, "constraint": None}
    is_constraint = isinstance(obj, constraints.Constraint)
    return {"constraint" if is_constraint else "regularizer": obj}


def _object(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Name):
        return _class_or_name(node.id, text)(_Arguments((), {}))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        make = _class_or_name(node.func.id, text)
        named = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                _fail(text, "`**` is not allowed")
            named[keyword.arg] = _argument(keyword.value, text)
        return make(_Arguments(tuple(_argument(a, text) for a in node.args), named))
    if isinstance(node, ast.BinOp):
        return _operation(node, text)
    return _fail(text, f"a {type(node).__name__} is not allowed")


class _Arguments:
    """The arguments of one call, as read."""

    def __init__(self, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.positional = positional
        self.named = named


def _class_or_name(name: str, text: str) -> Any:
    """Return a function that builds the named object from `_Arguments`."""
    in_regularizers = name in regularizers.registry
    registry = regularizers.registry if in_regularizers else constraints.registry
    if not in_regularizers and name not in constraints.registry:
        near = [*regularizers.registry.near(name), *constraints.registry.near(name)]
        # Aliases are in lower case: the classes say enough.
        near = [n for n in dict.fromkeys(near) if n[0].isupper()] or near
        hint = f"; the nearest are {', '.join(near[:3])}" if near else ""
        _fail(text, f"{name!r} is no penalty and no constraint{hint}")

    def make(arguments: _Arguments) -> Any:
        if not arguments.positional and not arguments.named:
            return registry.get(name)
        cls: Any = registry.class_of(name)
        try:
            return cls(*arguments.positional, **arguments.named)
        except TypeError as error:
            reason = str(error).replace(f"{cls.__name__}.__init__()", name)
            known = ", ".join(cls.argument_names())
            _fail(text, f"{reason}; its arguments are {known or 'none'}")

    return make


def _argument(node: ast.expr, text: str) -> Any:
    if isinstance(node, _Sequence):
        items = [_argument(item, text) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand, text)
    if isinstance(node, ast.Constant) and isinstance(
        node.value, int | float | str | bool | None
    ):
        return node.value
    return _object(node, text)


def _number(node: ast.expr, text: str) -> float:
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _fail(text, "a number was expected")
    return value


def _operation(node: ast.BinOp, text: str) -> Any:
    if isinstance(node.op, ast.Add):
        left, right = _object(node.left, text), _object(node.right, text)
        if isinstance(left, regularizers.Regularizer) and right is not None:
            return left + right
        return _fail(text, "only penalties can be added")
    if isinstance(node.op, ast.Mult):
        number, other = node.left, node.right
        if isinstance(other, ast.Constant):
            number, other = other, number
        obj = _object(other, text)
        if isinstance(obj, regularizers.Regularizer):
            return _number(number, text) * obj
        return _fail(text, "only penalties can be multiplied")
    return _fail(text, "only + and * are allowed")


def _fail(text: str, reason: str) -> NoReturn:
    raise ValueError(f"Cannot read the penalty or constraint {text!r}: {reason}.")
