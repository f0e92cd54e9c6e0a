"""The clinician's page speaks every language wholly: the same texts, with the same figures in them, and none unused."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

import core
from core.diagnoses import CODES, DIAGNOSES
from dashboard import clinic
from dashboard.clinic.app import SITES
from dashboard.clinic.texts import ENGLISH, LANGUAGES, preferred, text, texts

CLINIC, CORE = Path(clinic.__file__).parent, Path(core.__file__).parent
OTHERS = [language for language in LANGUAGES if language != ENGLISH]
SAME_AS_ENGLISH = {
    "de": {"title", "png"},
    "es": {"title", "name_mel", "name_df", "point_melanoma", "site_abdomen"},
    "fr": {"title", "report_versions", "site_abdomen", "image_side"},
    "zh": {"title"},
    "ar": {"title"},
}
PROPER_NAMES = (
    "DermLens", "DICOM", "JPEG", "PNG", "TIFF", "WebP", "BMP", "PDF", "JSON", "CSV", "ZIP", "SHA-256", "NICE", "NG12",
    "NG14", "British Association of Dermatologists, Br J Dermatol", "Higgins et al., Am Fam Physician", "show_anyway",
)  # fmt: skip
MADE_OF_CODES = {  # keys that the sources put together, and from what
    "name_": CODES,
    "sentence_": CODES,
    "done_": CODES,
    "kind_": [diagnosis.code for diagnosis in DIAGNOSES if diagnosis.malignant],
    "site_": SITES,
    "point_": ["melanoma", "malignant"],
}
ASKING = ("text", "say", "button", "fine", "title")  # what takes a key first


def filled(words: str) -> set[str]:
    """The names in braces."""
    pieces = [piece for piece in Formatter().parse(words) if piece[1] is not None]
    assert all(name and not form and not conversion for _, name, form, conversion in pieces), words
    return {str(name) for _, name, _, _ in pieces}


def nodes(*folders: Path) -> Iterator[ast.AST]:
    """Everything in the sources of folders."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


@cache
def written() -> frozenset[object]:
    """Every constant in the sources that could ask for a text."""
    return frozenset(node.value for node in nodes(CLINIC, CORE) if isinstance(node, ast.Constant))


def key_asked_for(node: ast.AST) -> str | None:
    """The key in `text("key", ...)`, `sheet.say("key")`, `partial(markup.title, "key")` and their like."""
    if not isinstance(node, ast.Call):
        return None
    called, given = node.func, node.args
    if isinstance(called, ast.Name) and called.id == "partial" and given:
        called, given = given[0], given[1:]
    name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
    first = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return first if name in ASKING and isinstance(first, str) else None


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_in_the_same_order(language: str) -> None:
    assert list(texts(language)) == list(texts(ENGLISH))
    assert [key for key, words in texts(language).items() if not words.strip() or words != words.strip()] == []


def test_every_file_is_a_language_of_the_page() -> None:
    assert {path.stem for path in (CLINIC / "languages").iterdir()} == set(LANGUAGES)
    assert len({text("language", language) for language in LANGUAGES}) == len(LANGUAGES)


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_left_in_english(language: str) -> None:
    english = texts(ENGLISH)
    assert {key for key, words in texts(language).items() if words == english[key]} == SAME_AS_ENGLISH[language]


@pytest.mark.parametrize("language", OTHERS)
def test_figures_and_names_are_those_of_the_english(language: str) -> None:
    for key, english in texts(ENGLISH).items():
        words = text(key, language)
        assert filled(words) == filled(english), key
        assert sorted(re.findall("[0-9]+", words)) == sorted(re.findall("[0-9]+", english)), key
        assert re.fullmatch(r"[^٠-٩۰-۹０-９]*", words), key
        assert words.count("\n") == english.count("\n"), key
        assert [name for name in PROPER_NAMES if name in english and name not in words] == [], key


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_filled_in(language: str) -> None:
    for key, words in texts(language).items():
        values = {name: f"[{name}]" for name in filled(words)}
        said = text(key, language, **values)
        assert "{" not in said and "}" not in said, key
        assert all(value in said for value in values.values()), key


@pytest.mark.parametrize("prefix", MADE_OF_CODES)
def test_every_code_has_its_text_and_no_text_is_of_another(prefix: str) -> None:
    made = {f"{prefix}{code}" for code in MADE_OF_CODES[prefix]}
    found = {key for key in texts(ENGLISH) if key.startswith(prefix)}
    assert made <= found and found - made <= written()


def test_no_text_is_unused() -> None:
    made = tuple(MADE_OF_CODES)
    assert [key for key in texts(ENGLISH) if key not in written() and not key.startswith(made)] == []


def test_every_text_that_is_asked_for_exists() -> None:
    asked = {key for key in map(key_asked_for, nodes(CLINIC)) if key is not None}
    assert len(asked) > 50
    assert asked - set(texts(ENGLISH)) == set()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("pt,fr;q=0.5", "fr"),
        ("fr;q=0.5,es;q=0.7", "es"),
        ("en-GB,de;q=0.9", "en"),
        ("zh-Hans-CN", "zh"),
        ("ar-EG", "ar"),
        ("DE", "de"),
        ("pt-BR, it;q=0.3", "en"),
        ("*", "en"),
        (";;q=,=,q=0.5;", "en"),
        ("de;q=much,fr;q=0.1", "fr"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_a_browser_is_answered_in_its_language(accepted: str | None, language: str) -> None:
    assert preferred(accepted) == language
