from .datasets.in_memory import recording as recording
from .datasets.nsd_layout import open_nsd as open_nsd
from .datasets.saved_recordings import save_recording as save_recording
from .datasets.simulation.simulate import simulate as simulate
from .datasets.simulation.subject import SimulatedSubject as SimulatedSubject
from .errors import DependencyError as DependencyError
from .errors import RecordingError as RecordingError
from .errors import RunError as RunError
from .experiment import Experiment as Experiment
from .metrics.scorer import Scorer as Scorer
from .regression.estimators import Ridge as Ridge
from .regression.estimators import RidgeCV as RidgeCV
from .run import Run as Run
from .run import run_demo as run_demo
from .sharing.shared_decoder import SharedDecoder as SharedDecoder

__version__: str
