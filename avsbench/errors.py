"""The one error that a user is meant to read: which file or key, what was found, what was expected, what to do next."""


class AvsbenchError(Exception):
    """A problem the user can mend. The command line prints it without a traceback and exits with 2.

    Args:
        what: one sentence that names the file, key or clip.
        found: what was there.
        expected: what should have been there.
        hint: what to do next.
    """

    def __init__(self, what: str, *, found: object = None, expected: object = None, hint: str | None = None):
        self.what, self.found, self.expected, self.hint = what, found, expected, hint
        lines = [what]
        if found is not None:
            lines.append(f"  found:    {found}")
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if hint is not None:
            lines.append(f"  next:     {hint}")
        super().__init__("\n".join(lines))

    def __reduce__(self):
        # Keyword arguments survive the way back from a worker process.
        return _rebuild, (type(self), self.what, self.found, self.expected, self.hint)


def _rebuild(cls, what, found, expected, hint):
    return cls(what, found=found, expected=expected, hint=hint)
