"""``hil-agent guest``: the guest images that are known, one made, what one was made of."""

from __future__ import annotations

from pathlib import Path

import click

from hil_agent.cli.output import json_option, print_json, print_table
from hil_agent.cli.progress import building
from hil_agent.errors import FileError
from hil_agent.guest import catalogue, image
from hil_agent.guest.catalogue import Recipe
from hil_agent.guest.image import GuestImage


@click.group
def guest() -> None:
    """Guests: the kernels and root file systems that boards boot."""


@guest.command("list")
@json_option
def list_command(*, as_json: bool) -> None:
    """List the guests that can be made, your own and those that came along."""
    rows = [_summary(name, folder) for name, folder in catalogue.folders().items()]
    if as_json:
        print_json(rows)
    else:
        cells = [
            (row["name"], "yes" if row["built"] else "no", row["description"] or row["error"]) for row in rows
        ]
        print_table(["guest", "built", "description"], cells)


@guest.command("build")
@click.argument("name")
@click.option("--refresh", is_flag=True, help="Make it anew, from the newest packages.")
@json_option
def build_command(name: str, *, refresh: bool, as_json: bool) -> None:
    """Make the image of guest NAME, if it is not in the cache yet."""
    with building() as progress:
        made = image.build(catalogue.find(name), progress, refresh=refresh)
    _show(made.recipe, made, as_json=as_json)


@guest.command("show")
@click.argument("name")
@json_option
def show_command(name: str, *, as_json: bool) -> None:
    """Show how guest NAME is made, and the packages and hashes of its image."""
    recipe = catalogue.find(name)
    _show(recipe, image.cached(recipe), as_json=as_json)


def _summary(name: str, folder: Path) -> dict[str, object]:
    """What ``list`` tells about a guest; a broken one is listed with its error."""
    summary = {"name": name, "path": str(folder), "built": False, "description": None, "error": None}
    try:
        recipe = Recipe.read(folder)
    except FileError as error:
        return summary | {"error": error.message}
    built = image.cached(recipe) is not None
    return summary | {"built": built, "description": recipe.description.description}


def _show(recipe: Recipe, made: GuestImage | None, *, as_json: bool) -> None:
    document: dict[str, object] = {
        "name": recipe.name,
        **recipe.description.model_dump(mode="json"),
        "path": str(recipe.folder),
        "image": made and {"folder": str(made.folder), **made.manifest.model_dump(mode="json")},
    }
    if as_json:
        print_json(document)
        return
    rows = [
        ("guest", recipe.name),
        ("description", recipe.description.description),
        ("path", recipe.folder),
    ]
    if made is None:
        rows.append(("image", f"not made yet: hil-agent guest build {recipe.name}"))
    else:
        rows += [("image", made.folder), ("made", made.manifest.built)]
        rows += [(each.package, f"{each.version}  sha256 {each.sha256}") for each in made.manifest.inputs]
        rows += [(each.file, f"{each.size} bytes  sha256 {each.sha256}") for each in made.manifest.outputs]
    print_table(["", ""], rows)
