from .cluster import Cluster as Cluster
from .folds import Folds as Folds
from .layout import Layout as Layout
from .listed import Listed as Listed
from .most_repeated import MostRepeated as MostRepeated
from .shared import Shared as Shared
from .split import Split as Split
from .split import with_split as with_split
