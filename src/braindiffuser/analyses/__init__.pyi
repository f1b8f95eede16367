from .analysis import Analysis as Analysis
from .analysis import Findings as Findings
from .analysis import Outcome as Outcome
from .roi_maximisation import ROIMaximisation as ROIMaximisation
