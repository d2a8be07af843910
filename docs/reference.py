"""Prepares the package for the reference pages: what is exported, and docstrings.

A griffe extension. `from module import Name as Name` exports a name, and a
docstring's labels (`Prox: ...`) and examples become Markdown.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

_LABEL = re.compile(r"^([A-Z][\w ]*(?: \([^)]*\))?):(?: (.*))?$")
_READ_BY_GRIFFE = ("Args", "Attributes", "Returns", "Yields", "Raises")


def markdown(text: str) -> str:
    """Return a docstring with its labels in bold and its examples as code."""
    lines: list[str] = []
    is_code = is_label = False
    for line in text.splitlines():
        match = _LABEL.match(line)
        if is_code and not line:
            lines.append("```")
            is_code = False
        elif line.startswith(">>>") and not is_code:
            lines.append("```pycon")
            is_code = True
        if match and (match[2] or match[1] not in _READ_BY_GRIFFE):
            lines += ["", f"**{match[1]}:** {match[2] or ''}".rstrip()]
            is_label = True
            continue
        is_label = is_label and line.startswith("    ")
        lines.append(line.strip() if is_label else line)
    return "\n".join([*lines, "```"] if is_code else lines)


def objects(root: Any) -> Iterator[Any]:
    """Yield a module and everything that is defined in it."""
    yield root
    for member in root.members.values():
        if not member.is_alias:
            yield from (
                objects(member) if member.is_module or member.is_class else [member]
            )


class Reference(griffe.Extension):
    """Marks what packages export as public, and turns docstrings into Markdown."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:  # noqa: ARG002
        """Change a loaded package before its pages are made."""
        for obj in objects(pkg):
            if obj.docstring:
                obj.docstring.value = markdown(obj.docstring.value)
            if obj.is_module and obj.is_init_module:
                obj.exports = [
                    name
                    for name, member in obj.members.items()
                    if member.is_alias
                    and member.target_path.startswith(f"{obj.path}.")
                    and member.target_path.endswith(f".{name}")
                ]
