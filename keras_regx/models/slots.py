"""Penalty and constraint of one weight: on the variable, and in its layers' slots."""

from dataclasses import dataclass
from typing import Any

from keras_regx.models.joint import OfModel
from keras_regx.models.rules import UNTOUCHED
from keras_regx.models.sites import Site

FIELDS = ("regularizer", "constraint")


@dataclass
class Before:
    """What a variable and its slots had before any policy."""

    regularizer: Any = None
    constraint: Any = None
    slots: list[tuple[Any, Any]] | None = None


@dataclass(frozen=True)
class Change:
    """What a policy gives to one weight; `UNTOUCHED` for a field it leaves alone."""

    site: Site
    regularizer: Any = UNTOUCHED
    constraint: Any = UNTOUCHED


def read(site: Site) -> Before:
    """Return what a variable and its slots have now."""
    slots = [
        (
            getattr(holder, f"{stem}_regularizer", None),
            getattr(holder, f"{stem}_constraint", None),
        )
        for holder, stem in site.holders
    ]
    return Before(site.variable.regularizer, site.variable.constraint, slots)


def write(change: Change, now: Before | None) -> None:
    """Set the variable, which training reads, and the slots, which saving reads.

    Where an equal object is there `now`, it stays, with the reference it has taken.
    """
    site = change.site
    for kind in FIELDS:
        value = getattr(change, kind)
        if value is UNTOUCHED:
            continue
        if now is not None and getattr(now, kind) == value:
            value = getattr(now, kind)
        setattr(site.variable, kind, value)
        lives_in_model = isinstance(value, OfModel)
        for holder, stem in site.holders:
            _set_slot(holder, f"{stem}_{kind}", None if lives_in_model else value)


def restore(site: Site, before: Before) -> None:
    """Give a variable and its slots back what they had."""
    site.variable.regularizer = before.regularizer
    site.variable.constraint = before.constraint
    same = (before.regularizer, before.constraint)
    slots = before.slots or [same] * len(site.holders)
    for (holder, stem), (regularizer, constraint) in zip(
        site.holders, slots, strict=True
    ):
        _set_slot(holder, f"{stem}_regularizer", regularizer)
        _set_slot(holder, f"{stem}_constraint", constraint)


def _set_slot(holder: Any, attribute: str, value: Any) -> None:
    if hasattr(holder, attribute):
        # Not Layer.__setattr__: a built layer tracks nothing new; the model does.
        object.__setattr__(holder, attribute, value)
