"""Configuration, representation, equality and structure, derived from `__init__`."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Self

import keras

from keras_regx._core.memory import Memory, Tenant, View

_signature = lru_cache(maxsize=1024)(inspect.signature)


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class; models ask for those of a few, often."""
    return _signature(cls).parameters


class Configurable:
    """Keeps every `__init__` argument under its own name, and nothing else.

    A subclass stores each argument as a plain Python value (or as another
    serializable Keras object) and gets `get_config`, `from_config`, `repr`,
    `==` and `hash` from here. Arguments hold no tensors, so an instance may be
    built inside a traced function or on one device and used on another.

    An object that is made of others (a sum, a chain, a view) needs nothing more
    to hand a variable on to them: `parts`, `replace` and `for_variable` go through
    the arguments. One that measures from a reference says in `remembers` what it
    keeps about a variable; the tensors are then in `memory`.

    Attributes:
        memory: What this object remembers about its variable; None if nothing.
    """

    # NumPy scalars leave `np.float32(2) * obj` to `obj.__rmul__`.
    __array_ufunc__ = None
    memory: Memory | None = None
    _shared: tuple[str, ...]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "call" in vars(cls) and "__call__" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} defines `call`, which Keras never uses: the "
                "object would do nothing, silently. Define `__call__` instead."
            )

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """Return the names of the `__init__` arguments, in order."""
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = parameters_of(cls).values()
        return tuple(p.name for p in parameters if p.kind not in variadic)

    def arguments(self) -> dict[str, Any]:
        """Return the `__init__` arguments by name, as they were stored.

        Raises:
            NotImplementedError: If a subclass did not keep one of them.
        """
        names = self.argument_names()
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise NotImplementedError(
                f"{type(self).__name__} does not keep its argument `{missing[0]}` as "
                f"`self.{missing[0]}`. Keep it, or override `get_config`."
            )
        return {name: getattr(self, name) for name in names}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this object, as plain JSON values."""
        return {name: _serialize(value) for name, value in self.arguments().items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an object from what `get_config` returned."""
        arguments = {name: _deserialize(value) for name, value in config.items()}
        shared = ()
        if "shared" not in cls.argument_names():  # Version 0.1.0: see policy.legacy.
            shared = tuple(arguments.pop("shared", ()))
        instance = cls(**arguments)
        if shared:
            instance._shared = shared
        return instance

    def children(self) -> Iterator[Any]:
        """Yield the objects of this package that this one is directly made of."""
        try:
            values = self.arguments().values()
        except NotImplementedError:
            return
        for value in values:
            for item in value if isinstance(value, list | tuple) else (value,):
                if isinstance(item, Configurable):
                    yield item

    def parts(self) -> Iterator[Any]:
        """Yield this object and everything that it is made of, outermost first."""
        yield self
        for child in self.children():
            yield from child.parts()

    def replace(self, function: Callable[[Any], Any]) -> Self:
        """Return a copy with `function` applied to each child; itself if all stay.

        The copy is shallow: what else the instance holds is shared with it.
        """
        try:
            arguments = self.arguments()
        except NotImplementedError:
            return self
        new = {name: _mapped(value, function) for name, value in arguments.items()}
        new = {name: v for name, v in new.items() if v is not arguments[name]}
        return self.copied(**new) if new else self

    def copied(self, **attributes: Any) -> Self:
        """Return a shallow copy with some attributes changed."""
        copy = object.__new__(type(self))
        copy.__dict__.update({**vars(self), **attributes})
        return copy

    def for_variable(self, variable: Any) -> Self:
        """Return this object as it applies to one variable from now on.

        Most objects know nothing of variables and return themselves. One that
        measures from a reference, such as `Anchor` or `AnchorBall`, returns a copy
        that remembers the value of `variable` at this moment; one that is made of
        others returns a copy made of their copies. An embedding's `"units"` are its
        rows, so that an axis given by role is resolved for it too.

        Whoever attaches an object to a variable calls this: a `Policy`, and for the
        arguments of layers the first look at the model or the first optimizer that
        is built for it.

        Args:
            variable: A `keras.Variable`.
        """
        view = variable if isinstance(variable, View) else View.of(variable)
        if self.memory is not None and self.memory.is_of(view.variable):
            return self
        bound = self._laid_out(view).parts_for(view)
        kept = bound.remembers(view)
        return bound.copied(memory=Memory(view, kept)) if kept else bound

    def remembers(self, view: View) -> dict[str, Callable[[], Any]]:  # noqa: ARG002
        """Return what this object keeps about a variable: functions, by name.

        Each returns the first value of one tensor, computed where Keras initializes
        variables. Nothing by default; parts keep what is theirs.
        """
        return {}

    def state_tensors(self) -> dict[str, Any]:
        """Return the variables that a model saves for this itself, by name."""
        return {} if self.memory is None else self.memory.tensors

    def saved_state(self) -> dict[str, Any]:
        """Return what a model saves for this itself: arrays by name."""
        count = self.count() if isinstance(self, Tenant) else None
        return {**self.state_tensors(), **({} if count is None else {"step": count})}

    def load_state(self, name: str, value: Any) -> bool:
        """Take one of what `saved_state` returned; return whether it fits."""
        if name == "step" and isinstance(self, Tenant):
            self.set_step(int(value))
            return True
        tensor = self.state_tensors().get(name)
        if tensor is None or tuple(tensor.shape) != tuple(value.shape):
            return False
        tensor.assign(value)
        return True

    @property
    def has_state(self) -> bool:
        """Whether this itself, not its parts, holds something besides arguments."""
        return self.memory is not None or isinstance(self, Tenant)

    def _inner_view(self, view: View) -> View:
        """Return the variable as the parts see it: as it is, unless this reshapes."""
        return view

    def parts_for(self, view: View) -> Self:
        """Return this with its parts as they apply to one variable."""
        inner = self._inner_view(view)
        return self.replace(lambda part: part.for_variable(inner))

    def _laid_out(self, view: View) -> Self:
        """Return this with its axis resolved, where the variable tells its layout."""
        axis = view.resolved(getattr(self, "axis", None))
        return self if axis is None else self.copied(axis=axis)

    def __repr__(self) -> str:
        try:
            arguments = self.arguments()
        except NotImplementedError:
            return f"<{type(self).__name__}>"
        inner = ", ".join(f"{name}={_text(v)}" for name, v in arguments.items())
        return f"{type(self).__name__}({inner})"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Configurable):
            return NotImplemented
        try:
            return self.arguments() == other.arguments()
        except NotImplementedError:
            return False

    def __hash__(self) -> int:
        try:
            return hash((type(self), _freeze(self.arguments())))
        except (NotImplementedError, TypeError):
            return hash(type(self))


def _serialize(value: Any) -> Any:
    """Return `value` as JSON: tuples become lists, objects their Keras config."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_serialize(item) for item in value]
    return keras.saving.serialize_keras_object(value)


def _deserialize(value: Any) -> Any:
    """Reverse `_serialize`."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, list):
        return [_deserialize(item) for item in value]
    return value


def _freeze(value: Any) -> Any:
    """Return a hashable value that is equal for equal arguments."""
    if isinstance(value, dict):
        return tuple((name, _freeze(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


def _text(value: Any) -> str:
    """Return the text for an argument: schedules of Keras have none of their own."""
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        config = value.get_config().items()
        inner = ", ".join(f"{k}={v!r}" for k, v in config if k != "name")
        return f"{type(value).__name__}({inner})"
    if inspect.isfunction(value):
        return value.__name__
    return repr(value)


def parts(obj: Any) -> Iterator[Any]:
    """Yield an object of this package and all that it is made of; else nothing."""
    if isinstance(obj, Configurable):
        yield from obj.parts()


def fresh(obj: Any, keep: Callable[[Any], bool] = lambda part: False) -> Any:  # noqa: ARG005
    """Return an equal object that shares no state with `obj`.

    Args:
        obj: Anything; what is not of this package is returned as it is.
        keep: Tells of a part with state whether it may stay.
    """
    if not any(part.has_state and not keep(part) for part in parts(obj)):
        return obj

    def renewed(part: Any) -> Any:
        return fresh(part, keep)

    if not obj.has_state or keep(obj):
        return obj.replace(renewed)
    arguments = obj.arguments()
    return type(obj)(**{name: _mapped(v, renewed) for name, v in arguments.items()})


def bound(obj: Any, variable: Any) -> Any:
    """Return what `obj.for_variable` returns; what is not of this package stays."""
    return obj.for_variable(variable) if isinstance(obj, Configurable) else obj


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to an argument that is an object, or to those in a list."""
    if isinstance(value, Configurable):
        return function(value)
    if isinstance(value, list):
        items = [_mapped(item, function) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    return value
