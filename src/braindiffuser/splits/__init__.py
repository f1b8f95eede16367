"""Splits: which stimuli train and which test. A file with a class of `Split` is one kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
