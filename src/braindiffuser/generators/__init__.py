"""Generators: features of target groups to pictures. A file with a class of `Generator` is one kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
