"""Data and code inside one HTML file."""

import base64
import hashlib
import json
import re

_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def embedded(data: object) -> str:
    """JSON that can stand inside a <script> element, whatever texts it holds.

    It is ASCII (lone surrogates and U+2028 come as escapes) and holds neither a tag nor a comment nor an entity.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def read_embedded(page: str) -> object:
    """The data of a page.

    Raises:
        ValueError: it holds none.
    """
    found = re.search(r'<script type="application/json" id="data">([^<]*)</script>', page)
    if found is None:
        raise ValueError("no data in this page")
    return json.loads(found[1])


def content_hash(text: str) -> str:
    """What a Content-Security-Policy calls the text of an element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
