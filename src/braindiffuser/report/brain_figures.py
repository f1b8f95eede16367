"""Maps over the brain, drawn by nilearn, as figures of a page."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from braindiffuser.errors import DependencyError
from braindiffuser.report.sections import EMBEDDED

How = Literal["mosaic", "glass", "surface"]
DOTS = 90
"""Dots per inch of the drawings."""
TOP = 99.0
"""Percentile of absolute values at which the colours end."""
COLOURS = "RdBu_r"
VIEWS = (("left", "lateral"), ("left", "ventral"), ("right", "ventral"), ("right", "lateral"))
"""Hemisphere and side that it is seen from."""


def require_nilearn(what: str) -> None:
    """Check that nilearn is installed.

    Raises:
        DependencyError: if not.
    """
    try:
        import nilearn.plotting  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            f"{what} need the package nilearn to be drawn, which is not installed: pip install 'braindiffuser[brain]'"
        ) from error


def brain_figure(
    volume: Float[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"] | None, how: How, description: str
) -> str:
    """Draw a map, red above 0 and blue below, as an `<svg>` element that holds a PNG.

    Args:
        volume: numbers, NaN where there are none.
        affine: of the volume; None draws it as if its axes pointed to the right, front and top.
        how: slices in three directions; or a glass brain or fsaverage's surface, whose outlines are those of MNI space.
        description: for those who cannot see it.

    Raises:
        DependencyError: nilearn is not installed.
    """
    require_nilearn("maps")
    import matplotlib as mpl
    import nibabel as nib
    from matplotlib.figure import Figure

    finite = np.abs(volume[np.isfinite(volume)])
    top = float(np.percentile(finite, TOP)) if len(finite) and finite.max() > 0 else 1.0
    image = nib.Nifti1Image(np.nan_to_num(volume).astype(np.float32), np.eye(4) if affine is None else affine)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context({"font.size": 8, "figure.max_open_warning": 0}):
        warnings.simplefilter("ignore")  # nilearn's advice on its own future
        figure = Figure(figsize=(7.2, 4.6 if how == "mosaic" else 2.6))
        _DRAWERS[how](figure, image, top or 1.0)
        figure.savefig(buffer, format="png", dpi=DOTS, facecolor="white", metadata={"Software": None})
    width, height = DOTS * figure.get_size_inches()
    content = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(description)}">'
        f'<image width="{width:g}" height="{height:g}" href="{EMBEDDED}{content}"/></svg>'
    )


def _mosaic(figure: Any, image: Any, top: float) -> None:
    from nilearn.plotting import plot_stat_map

    plot_stat_map(image, **_shared(figure, top), bg_img=None, display_mode="mosaic", cut_coords=4, draw_cross=False)


def _glass(figure: Any, image: Any, top: float) -> None:
    from nilearn.plotting import plot_glass_brain

    plot_glass_brain(image, **_shared(figure, top), plot_abs=False, display_mode="lyrz")


def _surface(figure: Any, image: Any, top: float) -> None:
    """Draw the inflated fsaverage5, which comes with nilearn, from the sides and from below."""
    from nilearn.datasets import fetch_surf_fsaverage
    from nilearn.plotting import plot_surf_stat_map
    from nilearn.surface import vol_to_surf

    meshes = fetch_surf_fsaverage("fsaverage5")
    for place, (side, view) in enumerate(VIEWS, start=1):
        axes = figure.add_subplot(1, len(VIEWS), place, projection="3d")
        plot_surf_stat_map(
            meshes[f"infl_{side}"],
            vol_to_surf(image, meshes[f"pial_{side}"]),
            hemi=side,
            view=view,
            bg_map=meshes[f"sulc_{side}"],
            axes=axes,
            figure=figure,
            colorbar=False,
            vmax=top,
            cmap=COLOURS,
            engine="matplotlib",
        )


def _shared(figure: Any, top: float) -> dict[str, Any]:
    """Return what slices and glass brain are drawn with; exact zeros, where there is no voxel, stay white."""
    return {
        "figure": figure,
        "colorbar": True,
        "vmax": top,
        "cmap": COLOURS,
        "threshold": 1e-9 * top,
        "black_bg": False,
    }


_DRAWERS: Mapping[How, Callable[[Any, Any, float], None]] = {"mosaic": _mosaic, "glass": _glass, "surface": _surface}
