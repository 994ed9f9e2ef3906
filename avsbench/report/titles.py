"""Headings of all pages and figures."""


def titled(title: str, scale: str) -> str:
    """A heading; numbers of a small scale are never shown without its name."""
    return title if scale == "full" else f"{title} · {scale}"
