"""YAML files read into pydantic models, with errors that name file, line and field.

For a file whose model is known from the start, :func:`load_yaml_model` does it all. Where the model
depends on what the file says (the kind of a board), read a :class:`YamlDocument`, look at its
``data``, then validate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hil_agent.errors import FileError

Model = TypeVar("Model", bound=BaseModel)

MAX_FILE_SIZE = 256 * 1024
"""Bytes. No file that a person writes is larger; a device node or a disk image by mistake is."""

_MAX_REPORTED = 5


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One YAML file: its plain data, and the lines where each part of it stands."""

    path: Path
    data: dict[str, Any]
    _root: yaml.MappingNode

    @classmethod
    def read(cls, path: Path) -> YamlDocument:
        """Reads and parses a file whose top level is a mapping.

        Raises:
            FileError: unreadable, too large, no YAML, a key twice, an alias, or no mapping.
        """
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_FILE_SIZE + 1)
        except OSError as error:
            raise FileError(f"cannot be read: {error.strerror}", path=path) from error
        if len(content) > MAX_FILE_SIZE:
            raise FileError(f"is larger than {MAX_FILE_SIZE // 1024} KiB", path=path)
        try:
            root, data = _parse(content)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            message = " ".join(filter(None, [error.context, error.problem]))
            raise FileError(message, path=path, line=mark.line + 1 if mark else None) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise FileError(f"is not YAML: {error}", path=path) from error
        if not isinstance(root, yaml.MappingNode):
            raise FileError("must hold fields and values (a mapping)", path=path)
        return cls(path, data, root)

    def validate(self, model: type[Model]) -> Model:
        """The data as a ``model``.

        Raises:
            FileError: names the first wrong field and its line; others follow in the hint.
        """
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise self._report(details) from error

    def error(self, message: str, *location: str | int, hint: str | None = None) -> FileError:
        """An error about the part at ``location``, for checks that a model cannot make itself."""
        field = ".".join(map(str, location))
        return FileError(message, path=self.path, line=self._line(location), field=field or None, hint=hint)

    def _report(self, details: Sequence[ErrorDetails]) -> FileError:
        # A field that is missing is often one that is misspelt elsewhere: what is there comes first.
        order = sorted(details, key=lambda each: (each["type"] == "missing", self._line(each["loc"])))
        first, *others = order
        also = [
            f"line {self._line(other['loc'])}: {'.'.join(map(str, other['loc']))}: {_explain(other)}"
            for other in others[:_MAX_REPORTED]
        ]
        hint = "\n  ".join(["also wrong:", *also]) if also else None
        return self.error(_explain(first), *first["loc"], hint=hint)

    def _line(self, location: Sequence[str | int]) -> int:
        """The line of a part, counted from 1; of the nearest enclosing part if it is not there.

        Pydantic also puts the tags of unions into locations; they match no key and are passed over.
        """
        node: yaml.Node = self._root
        line = node.start_mark.line
        for step in location:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(step):
                        node, line = value, key.start_mark.line
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
        return line + 1


def load_yaml_model(path: Path, model: type[Model]) -> Model:
    """Reads a YAML file into a pydantic model.

    Raises:
        FileError: the file cannot be read, is no YAML mapping, or does not fit the model.
    """
    return YamlDocument.read(path).validate(model)


class _Loader(yaml.SafeLoader):
    """The safe loader, less the surprises: no key twice, no aliases (they can expand without end)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.current_event.start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not allowed here", problem_mark=mark)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: dict[str, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a field's name must be text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"'{key.value}' is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return node


def _parse(content: bytes) -> tuple[yaml.Node | None, Any]:
    loader = _Loader(content)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


_EXPLANATIONS = {"extra_forbidden": "there is no such field", "missing": "is missing"}


def _explain(detail: ErrorDetails) -> str:
    """Pydantic's message in words for who wrote the file, with the value where it is short."""
    if known := _EXPLANATIONS.get(detail["type"]):
        return known
    message = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    return f"{message} (it is {value!r})" if isinstance(value, str | int | float) else message
