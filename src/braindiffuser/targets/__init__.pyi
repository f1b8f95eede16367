from .clip_text import CLIPText as CLIPText
from .clip_vision import CLIPVision as CLIPVision
from .target import Features as Features
from .target import Stimuli as Stimuli
from .target import Target as Target
from .vdvae import VDVAELatents as VDVAELatents
