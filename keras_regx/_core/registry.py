"""One registry class for regularizers and constraints: names to objects and back."""

import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

import keras

from keras_regx._core.config import parameters_of

_C = TypeVar("_C", bound=type)
PACKAGE = "keras_regx"


def snake_case(name: str) -> str:
    """Return the Keras string name of a class: `MaxNorm` -> `max_norm`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Registry:
    """The names of one kind of object.

    Args:
        kind: What error messages call the objects, such as `"regularizer"`.
        fallback: Keras' module of the same kind, asked for what is unknown here.
        unlike: Keras' base class of the other kind, whose objects are callable too
            and would be taken for one of this kind.
    """

    def __init__(self, kind: str, fallback: Any, unlike: type) -> None:
        self.kind = kind
        self.fallback = fallback
        self.unlike = unlike
        self.classes: dict[str, type] = {}
        self._by_name: dict[str, type] = {}

    def register(self, cls: _C) -> _C:
        """Make a class known here by name, and to Keras for saving and loading."""
        return self.saved_as(cls.__name__)(cls)

    def saved_as(self, saved_name: str) -> Callable[[_C], _C]:
        """Register as `register` does, under another name in saved models.

        Keras has one list of names for objects of every kind: a constraint that is
        called as a regularizer is needs one of its own there.
        """

        def add(cls: _C) -> _C:
            keras.saving.register_keras_serializable(PACKAGE, saved_name)(cls)
            self.classes[cls.__name__] = cls
            for name in self.names(cls):
                self._by_name[name] = cls
            return cls

        return add

    @staticmethod
    def names(known: type) -> tuple[str, ...]:
        """Return every string that stands for a class: `L1L2`, `l1_l2`, `l1l2`."""
        snake = snake_case(known.__name__)
        return known.__name__, snake, snake.replace("_", "")

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def class_of(self, name: str) -> type:
        """Return the class that a name stands for."""
        return self._by_name[name]

    def near(self, name: str) -> list[str]:
        """Return the known names that are most like `name`."""
        return difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.5)

    def get(self, identifier: Any) -> Any:
        """Return the object that `identifier` stands for.

        Args:
            identifier: `None`, an instance or any callable (returned as it is), a
                class (built with its defaults), a `"ClassName"` or `"snake_name"`,
                or a config dictionary.

        Raises:
            ValueError: If nothing is known by that name; near misses are named.
                If it is an object of the other kind.
        """
        found = self._find(identifier)
        if isinstance(found, self.unlike):
            other = self.unlike.__name__.lower()
            raise ValueError(  # noqa: TRY004  (as every rejected argument)
                f"Expected a {self.kind}, not a {other}. Received: {identifier!r}"
            )
        return found

    def _find(self, identifier: Any) -> Any:
        if identifier is None:
            return None
        if isinstance(identifier, dict):
            return self.deserialize(identifier)
        if isinstance(identifier, str):
            return self._from_name(identifier)
        if inspect.isclass(identifier):
            return self._build(identifier, identifier.__name__, {})
        if callable(identifier):
            return identifier
        raise ValueError(
            f"Could not interpret {self.kind} identifier. Expected None, a callable, "
            f"a class, a name or a config dictionary. Received: {identifier!r}"
        )

    def serialize(self, obj: Any) -> Any:
        """Return the Keras config dictionary of an object; None stays None."""
        return None if obj is None else keras.saving.serialize_keras_object(obj)

    def deserialize(
        self, config: Any, custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Return the object that a config dictionary describes.

        Args:
            config: What `serialize` returned, `None`, or the short form
                `{"class_name": "L2", "config": {"l2": 0.1}}`.
            custom_objects: Names of classes or functions of your own.

        Raises:
            ValueError: If the dictionary is malformed or names an unknown class.
        """
        if config is None:
            return None
        if not isinstance(config, dict) or "class_name" not in config:
            raise ValueError(
                f"Invalid {self.kind} config. Expected a dictionary with the keys "
                f"'class_name' and 'config'. Received: {config!r}"
            )
        name = str(config["class_name"]).removeprefix(f"{PACKAGE}>")
        if config.get("module") is None and name not in (custom_objects or {}):
            cls = self._by_name.get(name)
            if cls is not None:
                return cls.from_config(config.get("config") or {})  # type: ignore[attr-defined]
            if "module" not in config:  # Keras' short form names its own classes.
                known = self.fallback.deserialize(config, custom_objects=custom_objects)
                if not callable(known):  # Keras hands back what it does not know.
                    raise self._unknown(name)
                return known
        return keras.saving.deserialize_keras_object(
            config, custom_objects=custom_objects
        )

    def _from_name(self, name: str) -> Any:
        cls = self._by_name.get(name.removeprefix(f"{PACKAGE}>"))
        if cls is not None:
            return self._build(cls, name, getattr(cls, "string_defaults", {}))
        custom = keras.saving.get_registered_object(name)
        if custom is not None:
            return self._build(custom, name, {}) if inspect.isclass(custom) else custom
        try:
            return self.fallback.get(name)
        except ValueError:
            raise self._unknown(name) from None

    def _unknown(self, name: str) -> ValueError:
        near = self.near(name)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        return ValueError(f"Unknown {self.kind} name.{hint} Received: {name!r}")

    def _build(self, cls: type, name: str, defaults: dict[str, Any]) -> Any:
        parameters = parameters_of(cls).values()
        required = [
            p.name
            for p in parameters
            if p.default is p.empty
            and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY, p.POSITIONAL_ONLY)
            and p.name not in defaults
        ]
        if required:
            raise ValueError(
                f"The {self.kind} {name!r} cannot be built from its name alone: "
                f"argument `{required[0]}` has no default. Pass an instance, such "
                f"as {cls.__name__}({', '.join(f'{r}=...' for r in required)})."
            )
        return cls(**defaults)
