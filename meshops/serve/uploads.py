"""Forms as they come in: a file streamed to disk, conditions, and every limit on the way."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from meshops.errors import did_you_mean, listing
from meshops.serve.limits import Limits, size_text
from meshops.serve.names import clean_name, ending

PARTS = ("file", "condition", "scale", "region", "level")
LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Asked:
    """A checked form.

    Attributes:
        file: Where the upload lies, under a random name; None: the mesh of the training.
        name: What it was called.
        options: ``conditions``, ``scale``, ``region``, ``level`` as far as they were given.
    """

    file: Path | None
    name: str
    options: dict[str, Any]


def refuse(code: int, text: str) -> HTTPException:
    """An answer of one line."""
    return HTTPException(code, text)


def bounded(receive: Receive, most: int, stall: float, what: str = "the request") -> Receive:
    """Receive that ends with 413 beyond ``most`` bytes, and with 408 where none come for ``stall`` seconds."""
    seen, whole = 0, False

    async def counted() -> Message:
        nonlocal seen, whole
        if whole:  # what comes now is that the client goes, whenever that is
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), stall)
        except TimeoutError:
            raise refuse(408, f"nothing came for {stall:g} s; send {what} again") from None
        seen, whole = seen + len(message.get("body", b"")), not message.get("more_body", False)
        if seen > most:
            raise refuse(413, f"{what} is larger than {size_text(most)}, the most this server takes")
        return message

    return counted


async def read_form(request: Request, folder: Path, card: Mapping[str, Any], limits: Limits) -> Asked:
    """Read a multipart form of one prediction into a folder; nothing of it is left where it fails.

    Raises:
        HTTPException: With the line for the client.
        ClientDisconnect: The client went away.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise refuse(415, f"the request is '{clean_name(kind)}'; send multipart/form-data with the part 'file'")
    try:
        form = await request.form(max_files=1, max_fields=200, max_part_size=LONGEST_TEXT)
    except (HTTPException, ClientDisconnect) as error:
        if isinstance(error, HTTPException) and error.status_code == 400:
            raise refuse(400, f"the form cannot be read ({error.detail}); {FORM_HELP}") from None
        raise
    except (MultiPartException, ValueError, KeyError, LookupError) as error:
        raise refuse(400, f"the form cannot be read ({type(error).__name__}); {FORM_HELP}") from None
    try:
        return await _checked(form, folder, card, limits)
    finally:
        await form.close()


FORM_HELP = "send one 'file' and 'condition', 'scale', 'region', 'level' as multipart/form-data"


async def _checked(form: FormData, folder: Path, card: Mapping[str, Any], limits: Limits) -> Asked:
    unknown = [name for name in form if name not in PARTS]
    if unknown:
        name = clean_name(unknown[0])
        raise refuse(422, f"the form has a part '{name}'; {did_you_mean(name, PARTS)}it takes {listing(PARTS)}")
    options = _options(form, card)
    upload = form.get("file")
    if upload is None or (isinstance(upload, UploadFile) and not upload.filename and not upload.size):
        if card["mesh"]:
            raise refuse(422, "there is no file; choose a mesh, such as an STL or VTP file")
        return Asked(None, "mesh of the training", options)
    if not isinstance(upload, UploadFile):
        raise refuse(422, "the part 'file' is text, not a file; send it with a filename")
    name = clean_name(upload.filename)
    suffix = ending(name, card["endings"])
    if suffix is None:
        raise refuse(415, f"{name}: {_wrong_ending(name, card)}")
    size = upload.size or 0
    if size == 0:
        raise refuse(422, f"{name}: the file is empty (0 bytes); export or copy it again")
    if size > limits.upload:
        raise refuse(413, f"{name}: {size_text(size)} are more than the {size_text(limits.upload)} this server takes")
    place = folder / f"{secrets.token_hex(8)}{suffix}"
    try:
        await asyncio.to_thread(_copied, upload, place)
    except OSError as error:
        raise refuse(507, f"{name}: cannot be stored ({error.strerror}); try again later") from None
    return Asked(place, name, options)


def _copied(upload: UploadFile, place: Path) -> None:
    with place.open("wb") as out:
        shutil.copyfileobj(upload.file, out, 1 << 20)


def _wrong_ending(name: str, card: Mapping[str, Any]) -> str:
    if re.search(r"(?i)\.(zip|gz|bz2|xz|zst|7z|rar|tar|tgz)$", name):
        return "archives are not unpacked; unpack it and give the mesh file in it"
    return (
        f"such files are not taken; taken are {', '.join(card['endings'])}; save a file that names "
        "other files, or a case folder, as .vtu or .vtp"
    )


def _options(form: FormData, card: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions and numbers of a form."""
    out: dict[str, Any] = {"conditions": conditions_of([str(v) for v in form.getlist("condition")], card)}
    for key, least, most in (("scale", 0.0, math.inf), ("level", 0.0, 1.0)):
        text = str(form.get(key) or "").strip()
        if text:
            value = number(text, key)
            if not least < value < most:
                raise refuse(422, f"{key} must be above {least:g}" + (f" and below {most:g}" if most < 2 else "")
                             + f", got {value:g}")  # fmt: skip
            out[key] = value
    region = str(form.get("region") or "").strip()
    return out | ({"region": region} if region else {})


def conditions_of(pairs: list[str], card: Mapping[str, Any]) -> dict[str, float]:
    """``["speed=30"]`` as numbers of conditions the model takes."""
    known = [condition["name"] for condition in (*card["conditions"], *card["flow"])]
    out: dict[str, float] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        name = clean_name(name)
        if not sign:
            raise refuse(422, f"the condition '{clean_name(pair)}' is not of the form name=number, e.g. speed=30")
        if name not in known:
            raise refuse(
                422, f"there is no condition '{name}'; {did_you_mean(name, known)}the model takes {listing(known)}"
            )
        if name in out:
            raise refuse(422, f"the condition '{name}' is given twice; give it once")
        out[name] = number(text, f"the condition '{name}'")
    return out


def number(text: str, what: str) -> float:
    """A finite number."""
    with contextlib.suppress(ValueError):
        value = float(text.strip().replace(",", "."))
        if math.isfinite(value):
            return value
    raise refuse(422, f"{what} must be a finite number, got '{clean_name(text)}'")
