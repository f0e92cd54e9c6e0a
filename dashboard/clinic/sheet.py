"""One A4 page of a PDF: letters of every language, and blocks that know their height before they are drawn."""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.fonts import TTFFont
from fpdf.output import OutputProducer, PDFInfo

from core.data.images import at_most
from dashboard.clinic.pictures import jpeg
from dashboard.clinic.texts import RIGHT_TO_LEFT, text

# ---- letters -------------------------------------------------------------------------------------

FONTS = Path(__file__).parent / "fonts"
FAMILIES = {"latin": "NotoSans", "arabic": "NotoSansArabic", "chinese": "NotoSansSC"}  # tried in this order
BOX = "□"  # stands for a character that no font has
LINE = 0.49  # mm from line to line for each point of size
ELLIPSIS = "…"
MOST_OF_A_COMMENT = 2000  # characters: far more than fit

# Chinese breaks between any two characters, but not before a closing mark or after an opening one
_HAN, _OPEN, _CLOSE = (
    r"\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff",
    r"（《〈「『【“‘(",
    r"，。、；：？！）》〉」』】”’％…,.;:!?)%",
)
_PIECES = re.compile(
    rf"[{_OPEN}]*[{_HAN}][{_CLOSE}]*[ ]*|[^ {_HAN}]+?(?=[{_OPEN}]*[{_HAN}]|[ ]|$)[ ]*",
)


# a figure keeps its order of signs among words that run from right to left
LEFT_TO_RIGHT, AS_BEFORE = "\u2066", "\u2069"
_FIGURE = re.compile(r"(?<![\w-])[<>]?\d[\d.,:TZ-]*%?(?<![.,:])")


@cache
def _covered(family: str) -> frozenset[int]:
    """The code points that a family has letters for."""
    with TTFont(FONTS / f"{FAMILIES[family]}-Regular.ttf", lazy=True) as font:
        return frozenset(font.getBestCmap())


def _family_of(character: str) -> str | None:
    return next((family for family in FAMILIES if ord(character) in _covered(family)), None)


def plain(words: str) -> str:
    """One paragraph of characters that can be set: no control characters, no letters that no font has."""
    # marks of direction would let a comment turn what stands beside it; the non-joiner is part of words
    kept = (c for c in unicodedata.normalize("NFC", words) if c == "\u200c" or unicodedata.category(c) != "Cf")
    spaced = "".join(" " if c.isspace() and c != "\u00a0" or unicodedata.category(c) == "Cc" else c for c in kept)
    return "".join(c if _family_of(c) else BOX for c in re.sub(" +", " ", spaced).strip(" "))


# ---- the sheet -----------------------------------------------------------------------------------

WIDTH, HEIGHT = 210.0, 297.0  # mm, A4
MARGIN, INNER = 14.0, 182.0
GUTTER = 8.0
HALF = (INNER - GUTTER) / 2
FOOT = 282.0  # nothing but the notice below

Colour = tuple[int, int, int]
INK, GREY, RULE, RED, WARNING, TRACK = (
    (25, 28, 33), (90, 96, 105), (200, 204, 210), (165, 28, 28), (255, 245, 221), (232, 234, 238),
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    size: float = 8.5  # points
    bold: bool = False
    ink: Colour = INK


BODY, STRONG, FINE = Style(), Style(bold=True), Style(7.2, ink=GREY)
TITLE, HEADLINE, HEADING, LARGE = Style(15, True), Style(15, True), Style(9, True), Style(10.5)


@dataclass(frozen=True)
class Block:
    """A piece of the page that knows its height in mm, and draws itself below a given y."""

    height: float
    draw: Callable[[float], None]


def stack(blocks: Sequence[Block], gap: float = 0.0) -> Block:
    blocks = [block for block in blocks if block.height]

    def draw(y: float) -> None:
        for block in blocks:
            block.draw(y)
            y += block.height + gap

    return Block(sum(block.height for block in blocks) + gap * max(0, len(blocks) - 1), draw)


def beside(*blocks: Block) -> Block:
    def draw(y: float) -> None:
        for block in blocks:
            block.draw(y)

    return Block(max(block.height for block in blocks), draw)


def space(height: float) -> Block:
    return Block(height, lambda y: None)


class _Nameless(OutputProducer):
    """Leaves the date out of the PDF's metadata: a report says its time where people read it."""

    def _add_info(self) -> PDFInfo:
        info = super()._add_info()
        info.creation_date = None  # type: ignore[assignment]  # fpdf2 leaves out what is None, and types a date
        return info


PICTURES = (900, 640, 450, 320)  # pixels, the longer side; at first over 250 dots an inch
HEAVIEST = 200_000  # bytes: a picture of mere noise is made smaller


class Sheet:
    """One A4 page. x is in mm from the margin where reading begins: the left one, or the right one in Arabic.

    Args:
        language: of the words.

    Attributes:
        size: of all letters, beside their own; it may change until something is drawn.
    """

    def __init__(self, language: str) -> None:
        self.language, self.size = language, 1.0
        self.mirrored = language in RIGHT_TO_LEFT
        self.direction = "rtl" if self.mirrored else "ltr"
        self.pdf = FPDF(unit="mm", format="A4")
        self.pdf.set_auto_page_break(False)
        self.pdf.alias_nb_pages("")  # or "{nb}" in a comment became a number
        self.pdf.set_margins(0, 0)
        self.pdf.c_margin = 0
        self.pdf.file_id = lambda: None  # type: ignore[method-assign]  # made of the time; fpdf2 asks to replace it
        self.pdf.add_page()
        self._fonts: set[tuple[str, str]] = set()
        self._widths: dict[tuple[str, bool], float] = {}

    def say(self, key: str, **values: object) -> str:
        """A text in the sheet's language."""
        return text(key, self.language, **values)

    def bytes(self, title: str) -> bytes:
        """The page as a PDF file."""
        self.pdf.set_title(title)
        self.pdf.set_producer("DermLens")
        self.pdf.set_lang(self.language)
        return bytes(self.pdf.output(output_producer_class=_Nameless))

    def close(self) -> None:
        """Let go of the font files."""
        for font in self.pdf.fonts.values():
            if isinstance(font, TTFFont):
                font.close()

    def _set(self, words: str, style: Style, direction: str | None) -> None:
        """Choose fonts and direction for a line; a font is read when a line first needs it."""
        families = {"latin"} | {family for character in set(words) if (family := _family_of(character))}
        weight = "B" if style.bold else ""
        missing = {(family, weight) for family in families} - self._fonts
        for family, _ in sorted(missing):
            file = f"{FAMILIES[family]}-{'Bold' if style.bold else 'Regular'}.ttf"
            self.pdf.add_font(family, weight, FONTS / file)
        if missing:
            self._fonts |= missing
            loaded = {family for family, _ in self._fonts}
            self.pdf.set_fallback_fonts([family for family in FAMILIES if family in loaded])
        # the spaces between Arabic words are Arabic, so that a line is shaped in one piece
        self.pdf.set_font("arabic" if "arabic" in families else "latin", weight, style.size * self.size)
        self.pdf.set_text_shaping(True, direction=direction)

    def width(self, words: str, style: Style) -> float:
        """Of a line, in mm."""
        key = (words, style.bold)
        if key not in self._widths:
            self._set(words, style, self.direction)
            self._widths[key] = self.pdf.get_string_width(words) / (style.size * self.size)  # grows with the size
        return self._widths[key] * style.size * self.size

    def lines(self, words: str, width: float, style: Style, most: int = 99) -> list[str]:
        """Words broken to a width in mm; where they need more lines than allowed, the last ends with an ellipsis."""
        lines, line, used = [], "", 0.0
        for piece in self._pieces(words, width, style):
            if line and used + self.width(piece.rstrip(" "), style) > width:
                lines.append(line.rstrip(" "))
                line, used = "", 0.0
            line, used = line + piece, used + self.width(piece, style)
            if len(lines) > most:
                break
        lines.append(line.rstrip(" "))
        if len(lines) <= most:
            return lines
        kept = _PIECES.findall(lines[most - 1])
        while self.width("".join(kept).rstrip(" ") + ELLIPSIS, style) > width:
            kept = kept[:-1] if len(kept) > 1 else [kept[0][:-1]]
        return [*lines[: most - 1], "".join(kept).rstrip(" ") + ELLIPSIS]

    def _pieces(self, words: str, width: float, style: Style) -> list[str]:
        """Words with the space behind them; what is wider than a line is cut to fit."""
        pieces = []
        for piece in _PIECES.findall(words):
            parts = -(-self.width(piece, style) // (0.9 * width)) if self.width(piece, style) > width else 1
            step = max(1, int(-(-len(piece) // parts)))
            pieces += [piece[start : start + step] for start in range(0, len(piece), step)]
        return pieces

    def paragraph(
        self,
        words: str,
        x: float = 0.0,
        width: float = INNER,
        style: Style = BODY,
        most: int = 99,
        own: bool = False,
        end: bool = False,
    ) -> Block:
        """Words in lines.

        Args:
            words: any; what cannot be set is shown as a box.
            x, width: in mm.
            style: of the letters.
            most: lines.
            own: the words have a direction of their own, whatever the page's: a person's comment, a checksum.
            end: set them against the side where lines end.
        """
        letters = plain(words)
        if self.mirrored and not own:
            letters = _FIGURE.sub(f"{LEFT_TO_RIGHT}\\g<0>{AS_BEFORE}", letters)
        lines = self.lines(letters, width, style, most) if letters else []
        step = style.size * self.size * LINE
        align = "R" if self.mirrored != end else "L"

        def draw(y: float) -> None:
            self.pdf.set_text_color(*style.ink)
            for number, line in enumerate(lines):
                self._set(line, style, None if own else self.direction)
                # fpdf2 forgets that a line ended in another font, unless the state is put back
                with self.pdf.local_context():
                    self.pdf.set_xy(self._left(x, width), y + number * step)
                    self.pdf.cell(width, step, line, align=align)

        return Block(step * len(lines), draw)

    def fitted(self, words: str, width: float, style: Style) -> Style:
        """The style, smaller where the words would not fit on one line."""
        return dataclasses.replace(style, size=style.size * min(1.0, width / max(self.width(plain(words), style), 1)))

    def heading(self, words: str, x: float = 0.0, width: float = INNER) -> Block:
        """A section's name over a thin rule."""
        return stack([self.paragraph(words, x, width, HEADING), self.box(x, width, 0.25, RULE), space(1.4)])

    def box(self, x: float, width: float, height: float, fill: Colour) -> Block:
        """A filled rectangle."""

        def draw(y: float) -> None:
            self.pdf.set_fill_color(*fill)
            self.pdf.rect(self._left(x, width), y, width, height, "F")

        return Block(height, draw)

    def panel(self, inside: Block, edge: Colour, fill: Colour) -> Block:
        """A block on a coloured ground over the whole width, with a strong edge where reading begins."""
        pad = 1.8
        height = inside.height + 2 * pad
        ground, bar = self.box(0, INNER, height, fill), self.box(0, 1.4, height, edge)
        return beside(ground, bar, stack([space(pad), inside, space(pad)]))

    def picture(self, image: np.ndarray, x: float, width: float, height: float) -> Block:
        """(H, W, 3) uint8 RGB as large as fits, with a thin frame."""
        rows, columns = image.shape[:2]
        scale = min(width / columns, height / rows)
        wide, high = columns * scale, rows * scale
        file = as_file(image)

        def draw(y: float) -> None:
            left = self._left(x, wide)
            self.pdf.image(BytesIO(file), left, y, wide, high)
            self.pdf.set_draw_color(*GREY)
            self.pdf.set_line_width(0.15)
            self.pdf.rect(left, y, wide, high)

        return Block(high, draw)

    def _left(self, x: float, width: float) -> float:
        return WIDTH - MARGIN - x - width if self.mirrored else MARGIN + x


def as_file(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG file that leaves the report small."""
    files = (jpeg(at_most(image, longest)) for longest in PICTURES)
    return next((file for file in files if len(file) <= HEAVIEST), jpeg(at_most(image, PICTURES[-1])))
