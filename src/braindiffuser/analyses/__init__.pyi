from .analysis import Analysis as Analysis
from .analysis import Outcome as Outcome
from .analysis import RunData as RunData
from .curve import Curve as Curve
from .decoder_accuracy import DecoderAccuracy as DecoderAccuracy
from .roi_maximisation import ROIMaximisation as ROIMaximisation
from .split_audit import SplitAudit as SplitAudit
from .voxel_weights import VoxelWeights as VoxelWeights
