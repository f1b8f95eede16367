from .scoring import evaluate_folders as evaluate_folders
from .scoring import evaluate_methods as evaluate_methods
