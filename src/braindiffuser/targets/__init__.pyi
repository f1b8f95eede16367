from .clip_text import CLIPText as CLIPText
from .clip_tokens import extract_text_tokens as extract_text_tokens
from .clip_tokens import extract_vision_tokens as extract_vision_tokens
from .clip_vision import CLIPVision as CLIPVision
from .target import Features as Features
from .target import Stimuli as Stimuli
from .target import Target as Target
from .vdvae import VDVAELatents as VDVAELatents
