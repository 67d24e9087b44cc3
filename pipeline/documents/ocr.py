"""Text in pictures, recognised by RapidOCR (PP-OCRv6 on onnxruntime). Its models come with its wheel: no network.

The lines are read column by column, as those of a PDF's page are. What was recognised is less sure than what was
written, so that a document's notes say how sure, page by page.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.documents.limits import OCR_PAGES, max_pages
from pipeline.documents.page_layout import Line, lay_out_page
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.errors import DocumentError
from pipeline.types import Document

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
_MIN_SCORE = 0.5  # a line below it is a picture's grain rather than text
_SURE = 0.9
_UPSIDE_DOWN = 0.75  # a page that is recognised less surely is tried the other way round


@dataclass(frozen=True, slots=True)
class Recognised:
    """The lines of a picture as a text, and their mean confidence in [0, 1]; ("", 0) for one without text."""

    text: str
    confidence: float


def is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def load_picture(path: Path, data: bytes, use_ocr: bool = True) -> Document:
    """The text in a picture, each frame of a TIFF a page. Raises DocumentError for a broken picture."""
    from PIL import Image, ImageSequence, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS * 4
    try:
        with Image.open(io.BytesIO(data)) as image:
            frames = ImageSequence.Iterator(image) if image.format == "TIFF" else [image]
            limit = max_pages(OCR_PAGES)
            pages = [recognise(frame) for frame in islice(frames, limit)]
            n_left = max(getattr(image, "n_frames", 1) - limit, 0) if image.format == "TIFF" else 0
    except UnidentifiedImageError:
        raise DocumentError(f"{path}: a broken picture, or one of an unread kind: save it as PNG") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DocumentError(f"{path}: a broken picture ({error}): save it again as PNG") from None
    writer = Writer()
    for page in pages:
        writer.pages.append(writer.start_of_next)
        writer.block(page.text)
    notes = note(dict(enumerate(pages, 1))) if any(page.text for page in pages) else ["no text was recognised in it"]
    notes += left(n_left, len(pages) + n_left, OCR_PAGES)
    document = writer.document(path, "picture", readable_name(path), notes)
    return replace(document, limits=(OCR_PAGES,) if n_left else ())


def note(pages: dict[int, Recognised]) -> list[str]:
    """One note on the pages, by number, that were recognised, with the confidence of the least sure."""
    read = {number: page.confidence for number, page in pages.items() if page.text}
    if not read:
        return []
    unsure = [f"{number} ({confidence:.2f})" for number, confidence in read.items() if confidence < _SURE]
    mean = sum(read.values()) / len(read)
    more = f"; least sure: {', '.join(unsure[:10])}" if unsure else ""
    return [f"{len(read)} page{'s' if len(read) > 1 else ''} read by OCR with a confidence of {mean:.2f}{more}"]


def left(n_left: int, n: int, limit: str) -> list[str]:
    """A note on pages beyond a limit, which were not read; none where there are none."""
    return [f"the last {n_left} of {n} pages were not read: set {limit} higher to read them"] if n_left else []


def recognise(image: Image) -> Recognised:
    """What stands in a picture, which is made smaller where it is very large, and turned where it is upside down."""
    picture = image.convert("RGB")
    shrink = (picture.width * picture.height / MAX_PIXELS) ** 0.5
    if shrink > 1:
        picture = picture.resize((int(picture.width / shrink), int(picture.height / shrink)))
    upright = _recognise(picture)
    if not upright.text or upright.confidence >= _UPSIDE_DOWN:
        return upright
    return max(upright, _recognise(picture.rotate(180)), key=lambda page: page.confidence)


def _recognise(picture: Image) -> Recognised:
    import numpy as np

    result = _engine()(np.asarray(picture)[:, :, ::-1])  # BGR, as OpenCV has it
    if result is None or result.txts is None or result.boxes is None:
        return Recognised("", 0.0)
    lines: list[Line] = []
    scores: list[float] = []
    for box, text, score in zip(result.boxes, result.txts, result.scores, strict=True):
        if score >= _MIN_SCORE and text.strip():
            (left, top), (right, bottom) = box.min(axis=0).tolist(), box.max(axis=0).tolist()
            lines.append(Line(text.strip(), left, top, right, bottom))
            scores.append(score)
    return Recognised(lay_out_page(lines), float(sum(scores) / len(scores))) if lines else Recognised("", 0.0)


@lru_cache(maxsize=1)
def _engine() -> Any:
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    from rapidocr import RapidOCR

    # Its classifier of upside-down lines turned 2 of 40 upright lines of a page at 150 dpi: 0.955 of the characters
    # right with it, 1.0 without. Whole pages are turned by `recognise`.
    return RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False})
