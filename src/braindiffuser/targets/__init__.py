"""Targets: stimuli to the features that decoders learn to predict. A file with a class of `Target` is one kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
