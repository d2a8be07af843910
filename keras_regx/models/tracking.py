"""The state of objects on a model: whose it is, who tracks it, and moving it on.

An object that remembers something serves one variable or one model. What was given
as the argument of a layer learns which at the first look: `adopt` is called by
everything that looks at a model, by `Policy.apply`, by saving, and for the variables
of every Keras optimizer that is built.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_regx import keras_internals as internals
from keras_regx._core import validation as check
from keras_regx._core.config import Configurable, bound, fresh, parts
from keras_regx._core.counter import StepReader, TrackedNumber
from keras_regx._core.dtypes import dtype_of
from keras_regx._core.memory import Tenant, View
from keras_regx.constraints.every import Every
from keras_regx.models.sites import require_weights
from keras_regx.regularizers.scheduled import Scheduled

FIELDS = ("regularizer", "constraint")


@dataclass
class Holder:
    """A place that has a penalty or constraint: a field of a variable or layer."""

    owner: Any
    field: str

    @property
    def value(self) -> Any:
        """What is there."""
        return getattr(self.owner, self.field, None)

    @value.setter
    def value(self, value: Any) -> None:
        # Not Layer.__setattr__: a built layer tracks nothing new.
        is_layer = isinstance(self.owner, keras.Layer)
        (object.__setattr__ if is_layer else setattr)(self.owner, self.field, value)


def holders(model: Any) -> list[Holder]:
    """Return every place of a model that has a penalty or constraint of ours."""
    places = [Holder(variable, field) for variable in model.weights for field in FIELDS]
    layers = internals.all_layers(model)
    places += [Holder(layer, "activity_regularizer") for layer in layers]
    return [place for place in places if any(True for _ in parts(place.value))]


def adopt(model: Any) -> bool:
    """Let every object on a model serve it alone, and remember what it has to.

    Returns:
        Whether anything changed that a compiled step may have seen.
    """
    places = [p for p in holders(model) if _has_state(p.value) or _is_by_role(p.value)]
    frozen = {id(v) for v in model.weights} - {id(v) for v in model.trainable_weights}
    # A frozen weight has no penalty until it is trained.
    places = [
        p for p in places if p.field != "regularizer" or id(p.owner) not in frozen
    ]
    if not places and not internals.tracked(model):
        return False
    if internals.is_traced_by_jax():
        require_adoption(model)  # What is taken in a trace cannot be kept.
        return False
    layers = internals.all_layers(model)
    known = {id(item) for item in (*model.weights, *layers)}
    copies = _settle(places, known)
    for layer in layers if copies else ():
        _replace_arguments(layer, copies)
    changed = bool(copies) | _track(model, layers, places)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        for reader in step_readers(model):
            reader.attach_first(optimizer)
    return changed


def require_adoption(model: Any) -> None:
    """Raise a ValueError if an object on a variable would be bound by `adopt`."""
    if any(
        part.memory is None and part.remembers(View.of(place.owner))
        for place in holders(model)
        if place.field in FIELDS
        for part in parts(place.value)
    ):
        raise ValueError(
            "A constraint or penalty of the model has not met its weight yet, which it "
            "has to remember. Call keras_regx.advance(model, 0) once before this is "
            "compiled."
        )


def adopt_variables(variables: Iterable[Any]) -> None:
    """Do for variables alone what `adopt` does for a model."""
    variables = list(variables)
    places = [Holder(v, field) for v in variables for field in FIELDS]
    _settle(places, {id(variable) for variable in variables})


def _settle(places: list[Holder], known: set[int]) -> dict[int, Any]:
    """Give each place an object that serves it; return copies by the original's id."""
    copies: dict[int, Any] = {}

    def own(obj: Any) -> Any:
        """Return an object, or the copy that this model has of it."""
        if id(obj) not in copies:
            mine = fresh(obj, lambda part: not _is_foreign(part, known))
            if mine is obj:
                return obj
            copies[id(obj)] = mine
            originals.append(obj)  # Alive as long as its `id` is used.
        return copies[id(obj)]

    originals: list[Any] = []
    for place in places:
        old = place.value
        new = own(old)
        for part in parts(new):  # Before it is bound: shallow copies share this.
            if isinstance(part, Tenant):
                part.serve([place.owner])
        if place.field in FIELDS:
            new = bound(new, place.owner)
        if new is not old:
            place.value = new
    return copies


def _is_foreign(part: Any, known: set[int]) -> bool:
    return isinstance(part, Tenant) and part.serves_another(known)


def _has_state(obj: Any) -> bool:
    """Return whether an object remembers something, or would for a variable."""
    return any(
        part.has_state or type(part).remembers is not Configurable.remembers
        for part in parts(obj)
    )


def _is_by_role(obj: Any) -> bool:
    return any(isinstance(getattr(part, "axis", None), str) for part in parts(obj))


def _replace_arguments(layer: Any, copies: dict[int, Any]) -> None:
    """Put the copies where a layer keeps its arguments, and out of its tracker."""
    for name, value in list(vars(layer).items()):
        if id(value) in copies:
            set_argument(layer, name, copies[id(value)])


def set_argument(layer: Any, name: str, value: Any) -> None:
    """Change what a layer keeps as an argument; it tracks nothing of the old one."""
    for part in parts(getattr(layer, name)):
        if isinstance(part, TrackedNumber):
            internals.untrack(layer, part)
    # Not Layer.__setattr__: a built layer tracks nothing new; the model does.
    object.__setattr__(layer, name, value)


def _track(model: Any, layers: list[Any], places: list[Holder]) -> bool:
    """Let the model track the numbers in use that no layer does, and no others.

    Layers track what they were constructed with; not what was attached to a variable
    later, nor what is inside a sum. Nothing is let go of that somebody else tracked.
    """
    used = _numbers(places)
    known = {id(g.state) for layer in layers for g in internals.tracked(layer)}
    missing = [number for key, number in used.items() if key not in known]
    for number in missing:
        internals.track(model, number)
        number.is_adopted = True
    kept = {*used, *_numbers(holders(model))}  # A frozen weight may be trained again.
    for number in list(internals.tracked(model)):
        if getattr(number, "is_adopted", False) and id(number.state) not in kept:
            internals.untrack(model, number)
    return bool(missing)


def _numbers(places: list[Holder]) -> dict[int, TrackedNumber]:
    """Return the numbers of different states in some places."""
    return {
        id(part.state): part
        for place in places
        for part in parts(place.value)
        if isinstance(part, TrackedNumber)
    }


def scheduled_penalties(model: Any) -> Iterator[tuple[str, Scheduled]]:
    """Yield `(path, penalty)` for every scheduled penalty of a built model.

    Penalties inside sums and multiples are found too. One instance on several
    variables is yielded for each of them; frozen variables have none.
    """
    trainable = {id(variable) for variable in model.trainable_variables}
    for place in holders(model):
        is_layer = isinstance(place.owner, keras.Layer)
        path = f"{place.owner.path}/activity" if is_layer else place.owner.path
        if is_layer or id(place.owner) in trainable:
            for part in parts(place.value):
                if isinstance(part, Scheduled):
                    yield path, part


def step_readers(model: Any) -> Iterator[StepReader]:
    """Yield every constraint, or part of one, that depends on the step."""
    for place in holders(model):
        for part in parts(place.value):
            if isinstance(part, StepReader):
                yield part


def distinct(penalties: Iterable[Scheduled]) -> list[Scheduled]:
    """Return the penalties of different strengths."""
    return list({id(penalty.state): penalty for penalty in penalties}.values())


def advance(model: Any, step: int) -> Any:
    """Set every schedule of a model to a training step, in a loop of your own.

    Strengths of `Scheduled` penalties become `schedule(step)`. Constraints that
    depend on the step (`Every`, `TopK` with a schedule) stand there when they are
    called with a tensor, as `keras_regx.project` does; where a Keras optimizer calls
    them, its own count is what counts. It holds until the next call or `fit`.

    Args:
        model: Built model or layer.
        step: Int >= 0, or a scalar such as `optimizer.iterations`. The number of
            updates made before this one.

    Returns:
        The model: the same object.

    Raises:
        ValueError: If an argument is invalid, or a schedule gives a number that is
            negative or not finite.

    Example:

    >>> import keras
    >>> import keras_regx
    >>> from keras.optimizers.schedules import PiecewiseConstantDecay
    >>> from keras_regx.regularizers import L2, Scheduled
    >>> warm_up = Scheduled(L2(0.5), PiecewiseConstantDecay([9], [0.0, 1.0]))
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones",
    ...     kernel_regularizer=warm_up)
    >>> model = keras.Sequential([keras.Input((4,)), layer])
    >>> [float(keras_regx.total_penalty(keras_regx.advance(model, step)))
    ...  for step in (0, 10)]
    [0.0, 2.0]
    """
    require_weights(model, complete=True)
    if hasattr(step, "dtype") and "int" in dtype_of(step):
        step = int(ops.convert_to_numpy(step))
    step = check.integer("advance", "step", step, minimum=0)
    adopt(model)
    for penalty in distinct(p for _, p in scheduled_penalties(model)):
        penalty.advance(step)
    for reader in step_readers(model):
        reader.set_step(step)
    return model


def check_step(owner: str, step: Any) -> None:
    """Raise a ValueError unless a step is None, an int >= 0, or an integer scalar."""
    if step is not None and not hasattr(step, "dtype"):
        check.integer(owner, "step", step, minimum=0)
    elif step is not None and ("int" not in dtype_of(step) or len(step.shape)):
        check.fail(
            owner, "step", "an integer scalar", check.describe(step, dtype_of(step))
        )


def stateless_advance(model: Any, non_trainable_variables: Any, step: Any) -> list[Any]:
    """Return the non-trainable values of a model at a training step: a pure function.

    For a JAX loop of your own: what it returns goes into `model.stateless_call`, or
    `stateless_compute_loss`, in place of what it was given. Works under `jit`.

    Args:
        model: Built model.
        non_trainable_variables: The values of `model.non_trainable_variables`, in
            that order.
        step: Int or integer scalar, which may be traced: the number of updates made
            before this one.

    Returns:
        A list like `non_trainable_variables`, with the strength of each `Scheduled`
        penalty at that step; all other values as they were.

    Raises:
        ValueError: If the values are not those of the model, or if nothing tracks the
            strength of a schedule yet: call `keras_regx.advance(model, 0)` once,
            before the values are read.
    """
    require_weights(model, complete=True)
    check_step("stateless_advance", step)
    values = list(non_trainable_variables)
    places = {id(v): i for i, v in enumerate(model.non_trainable_variables)}
    if len(values) != len(places):
        expected = f"the {len(places)} values of `model.non_trainable_variables`"
        received = f"{len(values)} values"
        check.fail("stateless_advance", "non_trainable_variables", expected, received)
    for path, penalty in scheduled_penalties(model):
        if id(penalty.state) not in places:
            raise ValueError(
                f"Nothing tracks the strength of the schedule on {path!r} yet. Call "
                "keras_regx.advance(model, 0) once, before the values of "
                "`model.non_trainable_variables` are read."
            )
        values[places[id(penalty.state)]] = penalty.at(step)
    return values


def begin(optimizer: Any, variables: list[Any]) -> None:
    """Take what is to be remembered when an optimizer has been built.

    While a file is read, the weights are not there yet: it brings what was remembered.
    """
    if not internals.is_in_file("obj") and not internals.is_traced_by_jax():
        adopt_variables(variables)
    for variable in variables:
        for part in parts(variable.constraint):
            if isinstance(part, StepReader):
                part.attach_first(optimizer)


def end(optimizer: Any, variables: list[Any]) -> None:  # noqa: ARG001
    """Apply each `Every` that was applied during a `fit` once more when it ends."""
    rare = {
        id(part): part
        for variable in variables
        for part in parts(variable.constraint)
        if isinstance(part, Every)
    }
    due = {key for key, part in rare.items() if part.was_due()}
    for variable in variables:
        constraint = variable.constraint
        if any(id(part) in due for part in parts(constraint)):
            variable.assign(constraint(variable.value))


internals.on_training(begin, end)
