"""Pictures with matplotlib, which is an extra; without pyplot, so that nothing global is touched."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_class() -> type[Figure]:
    """Return matplotlib's Figure; raise ImportError, which names the extra, when it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'a plot needs matplotlib: install it with pip install "pyrnnfast[cli]"', name="matplotlib"
        ) from error
    return Figure


def png(figure: Figure) -> bytes:
    """Draw a figure, by Agg; characters that the font does not have are boxes."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
