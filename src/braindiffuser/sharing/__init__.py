"""A finished run's decoders of reduced rank: to be passed on without training responses, and to decode new responses with."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
