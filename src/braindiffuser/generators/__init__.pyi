from .brain_diffuser import BrainDiffuser as BrainDiffuser
from .generator import Draw as Draw
from .generator import Generator as Generator
from .generator import GroupFeatures as GroupFeatures
from .generator import Variant as Variant
from .settings import DiffusionConfig as DiffusionConfig
from .settings import LowLevelConfig as LowLevelConfig
