"""Names beside marks, each where it covers least."""

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

_AWAY = 4.5
"""Points between a mark and its label."""
_SIDES = [
    (1, 0, "left", "center"), (-1, 0, "right", "center"), (0, 1, "center", "bottom"), (0, -1, "center", "top"),
    (0.7, 0.7, "left", "bottom"), (-0.7, 0.7, "right", "bottom"), (0.7, -0.7, "left", "top"),
    (-0.7, -0.7, "right", "top"),
]  # fmt: skip
_MARK = 4.0
"""Half the side of the square, in points, that a mark keeps free."""


def place_labels(
    axes: Axes, points: list[tuple[float, float, str]], needed: int, strokes: list[tuple[float, float, float, float]]
) -> None:
    """Write labels beside points, one after the other, each at the side where it covers least.

    Args:
        points: (x, y, label), in data units; the axes must have their final place on the figure.
        needed: so many of the first are written in any case, the others only where they cover nothing.
        strokes: (x0, y0, x1, y1) of lines that labels should leave free, along an axis.
    """
    figure = axes.figure
    renderer, scale = figure.canvas.get_renderer(), figure.dpi / 72
    taken = []
    for x, y, _ in points:
        across, up = axes.transData.transform((x, y))
        reach = _MARK * scale
        taken.append(Bbox.from_extents(across - reach, up - reach, across + reach, up + reach))
    for x0, y0, x1, y1 in strokes:
        (left, bottom), (right, top) = sorted(axes.transData.transform([(x0, y0), (x1, y1)]).tolist())
        taken.append(Bbox.from_extents(left - 1, min(bottom, top) - 1, right + 1, max(bottom, top) + 1))
    inside = axes.get_window_extent(renderer)
    for number, (x, y, text) in enumerate(points):
        label = axes.annotate(text, (x, y), textcoords="offset points", xytext=(0, 0), fontsize=6)
        label.set_in_layout(False)
        found = []
        for side, (right, up, horizontal, vertical) in enumerate(_SIDES):
            _put(label, right, up, horizontal, vertical)
            box = label.get_window_extent(renderer)
            outside = box.width * box.height - _shared(box, inside)
            found.append((outside + sum(_shared(box, other) for other in taken), side, box))
        covered, side, box = min(found, key=lambda each: each[:2])
        if covered > 1 and number >= needed:
            label.remove()
            continue
        _put(label, *_SIDES[side])
        taken.append(box)


def _put(label, right: float, up: float, horizontal: str, vertical: str) -> None:
    label.set_position((right * _AWAY, up * _AWAY))
    label.set(ha=horizontal, va=vertical)


def _shared(a: Bbox, b: Bbox) -> float:
    """Area in pixels that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0
