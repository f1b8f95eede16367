from .analysis import Analysis as Analysis
from .analysis import Outcome as Outcome
from .analysis import RunData as RunData
from .roi_maximisation import ROIMaximisation as ROIMaximisation
