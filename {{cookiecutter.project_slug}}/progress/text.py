"""Text as it can be stored and shown."""


def truncate(text: str, length: int = 500) -> str:
    """Return `text`, cut to `length` characters with an ellipsis at the end."""
    return text if len(text) <= length else text[: length - 1] + "…"


def sanitize(text: str) -> str:
    """Return `text` without what some databases refuse.

    That is the NUL character, and lone surrogates: they come from file names in another encoding.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
