from .analysis import Analysis as Analysis
from .analysis import Outcome as Outcome
from .analysis import RunData as RunData
from .decoder_accuracy import DecoderAccuracy as DecoderAccuracy
from .roi_maximisation import ROIMaximisation as ROIMaximisation
from .voxel_weights import VoxelWeights as VoxelWeights
