"""Scores of the pictures of any method, in folders or stacks: computed, printed, and written to files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
