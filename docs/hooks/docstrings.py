"""Docstrings, which are plain text, as Markdown for the reference pages."""

import re
import textwrap
from itertools import groupby

import griffe

COLUMNS = re.compile(r"\S {2,}\S")
INDENTED = re.compile(r"^  ", re.MULTILINE)
SIGNATURE = re.compile(r"\w+\(.*\) -> ")
ENTRY = re.compile(r"^([a-z]\w*(?:, \w+)*|\w+\(.*?\) -> \S+): ", re.MULTILINE)


class PlainText(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
        if obj.is_class:
            fields_first(obj)
        if obj.is_module:
            leave_out(obj, [a.name for a in attributes(obj) if a.name.isupper() and not a.docstring])


def fields_first(cls: griffe.Class) -> None:
    """The fields of a record as one block, as a function has its signature."""
    fields = [a for a in attributes(cls) if a.annotation and "property" not in a.labels]
    if not fields:
        return
    lines = [f"{a.name}: {a.annotation}" + (f" = {a.value}" if a.value else "") for a in fields]
    text = cls.docstring.value if cls.docstring else ""
    block = fenced("\n".join(lines), "python")
    cls.docstring = griffe.Docstring(f"{block}\n\n{text}", parent=cls)
    leave_out(cls, [a.name for a in fields])


def attributes(obj: griffe.Object) -> list[griffe.Attribute]:
    return [member for member in obj.members.values() if isinstance(member, griffe.Attribute)]


def leave_out(obj: griffe.Object, names: list[str]) -> None:
    for name in names:
        del obj.members[name]


def markdown(text: str) -> str:
    """Signatures, aligned and indented lines as code, entries `name: text` as a list, the rest as it is."""
    parts: list[str] = []
    for verbatim, group in groupby(re.split(r"\n\s*\n", text), is_verbatim):
        paragraphs = list(group)
        parts += [fenced("\n\n".join(paragraphs))] if verbatim else map(prose, paragraphs)
    return "\n\n".join(parts)


def is_verbatim(paragraph: str) -> bool:
    if ENTRY.match(paragraph):
        return False
    return bool(SIGNATURE.match(paragraph) or COLUMNS.search(paragraph) or INDENTED.search(paragraph))


def prose(paragraph: str) -> str:
    if ENTRY.match(paragraph):
        paragraph = ENTRY.sub(r"- `\1`: ", re.sub(f"^(?!{ENTRY.pattern}) *", "    ", paragraph, flags=re.M))
    # An underscore is an index, never emphasis.
    return re.sub(r"(`[^`]*`)|_", lambda found: found[1] or r"\_", paragraph)


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{textwrap.dedent(text)}\n```"
