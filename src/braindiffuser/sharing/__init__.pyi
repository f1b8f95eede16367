from .facts import DecoderFacts as DecoderFacts
from .making import share_run as share_run
from .shared_decoder import SharedDecoder as SharedDecoder
