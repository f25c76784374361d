"""Reading recipe files: syntax, damaged files, and the directory of the administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projectsetup.recipes.errors import InvalidRecipe, UnknownRecipe
from projectsetup.recipes.loader import RecipeBook, load_recipe, read_recipe

if TYPE_CHECKING:
    from pathlib import Path


def text_of(name: str, run: str = "make") -> str:
    return f"name: {name}\nimage: toolchain:1\nsteps: [{{name: build, status: compiling, run: '{run}'}}]\n"


def run_of(book: RecipeBook, name: str) -> str:
    return book.get(name).steps[0].run


def book_of(folder: Path, **files: str | bytes) -> RecipeBook:
    """The recipes of a directory with these files, each with the suffix `.yaml`."""
    for name, content in files.items():
        (folder / f"{name}.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return RecipeBook(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [a", "a.yaml: line 1, column 9: "),
        ("name: a\nname: b\n", "a.yaml: line 2, column 1: key 'name' is repeated"),
        ("steps:\n- {run: a, run: b}\n", "a.yaml: line 2, column 12: key 'run' is repeated"),
        ("a: 1\n---\nb: 2\n", "a.yaml: line 2, column 1: "),
        ("name: \0", "a.yaml: line 1: contains a character that YAML does not allow"),
        ("name: !!python/object:os.system a", "a.yaml: line 1, column 7: "),
        ("name: 2024-99-99", "a.yaml: contains an invalid date or number"),
        ("[" * 5000, "a.yaml: is nested too deeply"),
        ("", "a.yaml: must be a mapping with the keys name, image and steps"),
        ("- a", "a.yaml: must be a mapping with the keys name, image and steps"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(text, "a.yaml")
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name: \xff", "is not UTF-8 text (byte 6)"),
        (b"# " + b"x" * (1024 * 1024), "is larger than 1 MiB"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRecipe) as caught:
        read_recipe(path)
    assert str(caught.value) == f"{path}: {expected}"


def test_the_directory_adds_recipes_to_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(text_of("second"))
    (tmp_path / "notes.txt").write_text("no recipe")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "nowhere.yaml").symlink_to("missing")
    (tmp_path / ".hidden.yaml").write_text("name: [")
    assert book_of(tmp_path, a=text_of("first")).names() == ("first", *RecipeBook().names(), "second")


def test_an_invalid_file_does_not_uncover_the_built_in_recipe(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=r"python-service is invalid: .*own\.yaml: image: is missing"):
        book_of(tmp_path, own="name: python-service\n").get("python-service")


def test_a_name_in_two_files_is_refused(tmp_path: Path) -> None:
    book = book_of(tmp_path, a=text_of("first"), b=text_of("first"), c=text_of("other"))
    with pytest.raises(InvalidRecipe, match=r"recipe first is defined in several files: .*a\.yaml, .*b\.yaml"):
        book.get("first")
    assert book.get("other").name == "other"


def test_an_invalid_file_affects_no_other_recipe(tmp_path: Path) -> None:
    book = book_of(tmp_path, good=text_of("first"), first="name: [", third=b"\xff")
    assert book.get("first").name == "first"
    assert book.get("python-service").name == "python-service"
    with pytest.raises(InvalidRecipe, match=r"third\.yaml: is not UTF-8 text"):
        book.get("third")


def test_changes_are_seen(tmp_path: Path) -> None:
    book = book_of(tmp_path, a=text_of("first", "one"))
    assert run_of(book, "first") == "one"
    assert book.get("first") is book.get("first")
    book_of(tmp_path, a=text_of("first", "another"))
    assert run_of(book, "first") == "another"
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(UnknownRecipe):
        book.get("first")


def test_a_mounted_config_map(tmp_path: Path) -> None:
    def publish(version: str, run: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(text_of("first", run))
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish("..2025_01", "one")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    book = RecipeBook(tmp_path)
    assert run_of(book, "first") == "one"
    publish("..2025_02", "two")
    assert run_of(book, "first") == "two"
