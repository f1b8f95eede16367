"""Voxels to targets: decoders, the choice of alpha, calibration. A file with a class of `Regressor` is one kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
