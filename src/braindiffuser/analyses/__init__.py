"""Analyses of a finished run, each of which ends in a section of its page. A file with a class of `Analysis` is one kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
