"""Every text of the clinician's page: one JSON file for each language in `languages/`, with the same keys in each."""

import json
from functools import cache
from pathlib import Path

ENGLISH = "en"
LANGUAGES = ("en", "de", "es", "fr", "zh", "ar")
RIGHT_TO_LEFT = ("ar",)
_FOLDER = Path(__file__).parent / "languages"


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of a language, key -> text; a text may hold {names} that are filled in.

    Args:
        language: one of `LANGUAGES`.
    """
    return json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))


def text(key: str, language: str = ENGLISH, **values: object) -> str:
    """One text of the page.

    Args:
        key: its name in the files.
        language: one of `LANGUAGES`.
        values: what fills its {names}.
    """
    found = texts(language)[key]
    return found.format(**values) if values else found


def preferred(accepted: str | None) -> str:
    """The first language of a browser's `Accept-Language` that the page speaks; else English.

    Args:
        accepted: such as "de-CH,de;q=0.9,en;q=0.8".
    """
    ranked: list[tuple[float, str]] = []
    for part in (accepted or "").replace(" ", "").split(","):
        name, _, quality = part.partition(";q=")
        try:
            wanted = float(quality or 1)
        except ValueError:
            continue
        if 0 < wanted <= 1:
            ranked.append((wanted, name.split("-")[0].lower()))
    best = sorted(ranked, key=lambda pair: -pair[0])
    return next((name for _, name in best if name in LANGUAGES), ENGLISH)
