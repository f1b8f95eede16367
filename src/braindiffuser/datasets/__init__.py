"""Recordings: where they lie, how they are read, how betas become responses. A file with a class of `Dataset` is one kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
