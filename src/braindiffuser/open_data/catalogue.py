"""What open data sets hold, where it lies and on which terms: a table of facts that their authors published.

What is not known here is said to be so, with the place to look at. Sizes of downloads are those that the server lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from braindiffuser.open_data.servers import Article, Bucket, Server

ROLES = ("design", "regions", "betas", "stimuli", "captions")
"""What files hold: which trial showed what; masks, regions and maps; betas; pictures; captions."""


@dataclass(frozen=True)
class Files:
    """Files of one role.

    Attributes:
        role: one of `ROLES`.
        server: where they are.
        patterns: names, in which * stands for any characters, {subject} and {session} for those that are asked for.
        needed: whether a recording cannot be read without them; what is not needed may be missing from the listing.
    """

    role: str
    server: Server
    patterns: tuple[str, ...]
    needed: bool = True


@dataclass(frozen=True)
class OpenData:
    """One open data set.

    Attributes:
        name: as it is asked for.
        holds: what it is, in words.
        size: how much it is, in words.
        licence: of what is downloaded, and further terms.
        page: address where data and terms are explained.
        sessions: subject → number of sessions.
        files: what can be downloaded.
        by_hand: what the reader needs besides, and where to get it.
        experiment: experiment(folder, subject, sessions) returns the entries of `dataset` in an experiment file; sessions are
            None if all were asked for.
        responses: entries of `responses` in that file.
        terms: what a person must have done or read before the download; empty if nothing.
        word: to be typed as a sign that it was.
    """

    name: str
    holds: str
    size: str
    licence: str
    page: str
    sessions: Mapping[str, int]
    files: tuple[Files, ...]
    by_hand: tuple[str, ...]
    experiment: Callable[[Path, str, list[int] | None], dict[str, Any]]
    responses: Mapping[str, Any] = field(default_factory=dict)
    terms: str = ""
    word: str = ""

    @property
    def has_session_files(self) -> bool:
        """Whether files are kept by session."""
        return any("{session" in pattern for files in self.files for pattern in files.patterns)


_NSD_BUCKET = Bucket("natural-scenes-dataset", "us-east-2")
NSD = OpenData(
    name="nsd",
    holds="Natural Scenes Dataset: 8 people, 30 to 40 sessions of 750 trials, 7 T",
    size="about 1 GB of betas a session (1.8 mm), 29 to 44 GB a subject; stimuli 39.6 GB",
    licence="NSD's terms: research and education only, no part of it may be passed on",
    page="https://naturalscenesdataset.org",
    sessions={f"subj{n:02}": count for n, count in enumerate((40, 40, 32, 30, 40, 32, 40, 30), start=1)},
    files=(
        Files("design", _NSD_BUCKET, ("nsddata/experiments/nsd/nsd_expdesign.mat",)),
        Files("regions", _NSD_BUCKET, ("nsddata/ppdata/{subject}/func1pt8mm/roi/*.nii.gz",)),
        Files(
            "regions",
            _NSD_BUCKET,
            (
                "nsddata/freesurfer/{subject}/label/*.mgz.ctab",
                "nsddata/freesurfer/fsaverage/label/*.mgz.ctab",
                "nsddata/templates/*.ctab",
                "nsddata/ppdata/{subject}/func1pt8mm/prf_*.nii.gz",
            ),
            needed=False,
        ),
        Files(
            "betas",
            _NSD_BUCKET,
            ("nsddata_betas/ppdata/{subject}/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session{session:02}.hdf5",),
        ),
        Files("stimuli", _NSD_BUCKET, ("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5",)),
    ),
    by_hand=(
        "captions, which are not part of NSD: COCO_73k_annots_curated.npy of pscotti/naturalscenesdataset on Hugging Face, as "
        "annots/COCO_73k_annots_curated.npy",
    ),
    experiment=lambda folder, subject, sessions: {
        "kind": "nsd",
        "root": str(folder),
        "subject": int(subject.removeprefix("subj")),
        **({"sessions": sessions} if sessions else {}),
    },
    terms="sign NSD's Data Access Agreement first: no part of the data may be passed on or sold, nobody may be identified again, "
    "and the paper and its grants are to be cited",
    word="signed",
)

_BESIDE_NSD = "NSD itself, in the same folder: braindiffuser fetch nsd"
_LAST_SESSIONS = "sessions after those of NSD, which test and never train"


def _with_further(name: str) -> Callable[[Path, str, list[int] | None], dict[str, Any]]:
    return lambda folder, subject, sessions: NSD.experiment(folder, subject, sessions) | {"further": [name]}


NSD_SYNTHETIC = replace(
    NSD,
    name="nsd_synthetic",
    holds=f"NSD-synthetic: 744 trials of 284 pictures unlike photographs, for each of NSD's 8 people; {_LAST_SESSIONS}",
    size="about 1 GB of betas a subject (1.8 mm); stimuli: the server's listing says it before a download",
    sessions=dict.fromkeys(NSD.sessions, 0),
    files=(
        Files("design", _NSD_BUCKET, ("nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat",)),
        Files(
            "betas",
            _NSD_BUCKET,
            (
                "nsddata_betas/ppdata/{subject}/func1pt8mm/nsdsyntheticbetas_fithrf_GLMdenoise_RR/"
                "betas_nsdsynthetic.hdf5",
            ),
        ),
        Files(
            "stimuli",
            _NSD_BUCKET,
            (
                "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5",
                "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_{subject}.hdf5",
            ),
        ),
    ),
    by_hand=(_BESIDE_NSD,),
    experiment=_with_further("synthetic"),
    responses={"normalisation": "training"},
)
NSD_IMAGERY = replace(
    NSD,
    name="nsd_imagery",
    holds=f"NSD-Imagery: 720 betas of pictures seen, attended or imagined, for each of NSD's 8 people; {_LAST_SESSIONS}",
    size="about 1 GB of betas a subject (1.8 mm)",
    sessions=dict.fromkeys(NSD.sessions, 0),
    files=(
        Files("design", _NSD_BUCKET, ("nsddata/bdata/nsdimagery/nsdimagery_{subject}_*.tsv",)),
        Files(
            "betas",
            _NSD_BUCKET,
            ("nsddata_betas/ppdata/{subject}/func1pt8mm/nsdimagerybetas_fithrf_GLMdenoise_RR/betas_nsdimagery.hdf5",),
        ),
        Files("stimuli", _NSD_BUCKET, ("nsddata/experiments/nsdimagery/rawtargetimages/*",), needed=False),
    ),
    by_hand=(
        _BESIDE_NSD,
        "a picture for each letter, such as nsddata_stimuli/stimuli/nsdimagery/by_cue/H.png: copy those of "
        "nsddata/experiments/nsdimagery/rawtargetimages there, under the letter that stands for them",
    ),
    experiment=_with_further("imagery"),
    responses={"normalisation": "training"},
)

_LAION_BUCKET = Bucket("laion-fmri", "us-west-2")
_LAION_BETAS = "derivatives/glmsingle-tedana/{subject}"
_LAION_SESSION = f"{_LAION_BETAS}/ses-{{session:02}}/func/{{subject}}_ses-{{session:02}}_task-images"
_LAION_SUBJECT = f"{_LAION_BETAS}/{{subject}}_task-images_space-T1w"
LAION_FMRI = OpenData(
    name="laion_fmri",
    holds="LAION-fMRI: 5 people, 30 sessions of about 1,060 trials, about 6,200 pictures each, 3 T",
    size="not listed here: the server's listing says it before a download; pictures 3.2 GB",
    licence="betas, regions and tables CC0; captions: not listed here; pictures: an agreement",
    page="https://laion-fmri.hebartlab.com",
    sessions=dict.fromkeys(("sub-01", "sub-03", "sub-05", "sub-06", "sub-07"), 30),
    files=(
        Files("design", _LAION_BUCKET, (f"{_LAION_SESSION}_desc-SingletrialBetas_trials.tsv",)),
        Files("regions", _LAION_BUCKET, (f"{_LAION_SUBJECT}_stat-rsquare_desc-R2mean_statmap.nii.gz",)),
        Files(
            "regions",
            _LAION_BUCKET,
            (
                "derivatives/anatomical/{subject}/ses-PrismaAnat/anat/"
                "{subject}_ses-PrismaAnat_space-T1w_res-1pt8_desc-brain_mask.nii.gz",
                "derivatives/rois/{subject}/*/{subject}_space-T1w_res-1pt8_label-*_mask.nii.gz",
                f"{_LAION_SUBJECT}_desc-Noiseceiling*_statmap.*",
            ),
            needed=False,
        ),
        Files(
            "betas",
            _LAION_BUCKET,
            (f"{_LAION_SESSION}_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz",),
        ),
        Files("captions", _LAION_BUCKET, ("stimuli/task-images_desc-captions.csv",), needed=False),
    ),
    by_hand=(
        "pictures and their table, which come after an agreement at https://laion-fmri.hebartlab.com/request (no passing on, no "
        "commerce, no training of general-purpose AI models): stimuli/task-images_stimuli.h5 and "
        "stimuli/task-images_metadata.csv",
        "splits, in the package of github.com/ViCCo-Group/LAION-fMRI: install it, or put laion_fmri/splits/data there",
    ),
    experiment=lambda folder, subject, sessions: {
        "kind": "laion_fmri",
        "root": str(folder),
        "subject": subject,
        **({"sessions": sessions} if sessions else {}),
        "split": "tau",
    },
)

_BOLD5000_ARTICLE, _ROIS = Article(14456124), Bucket("openneuro.org", "us-east-1", "ds001499/")
BOLD5000 = OpenData(
    name="bold5000",
    holds="BOLD5000, release 2.0: 4 people, 15 sessions (CSI4: 9), 4,916 pictures, 3 T",
    size="not listed here: the server's listing says it before a download",
    licence="raw data and regions (OpenNeuro ds001499) CC0; betas (figshare 14456124): not listed here",
    page="https://github.com/BOLD5000-dataset/BOLD5000",
    sessions={"CSI1": 15, "CSI2": 15, "CSI3": 15, "CSI4": 9},
    files=(
        Files("design", _BOLD5000_ARTICLE, ("{subject}_imgnames.txt",)),
        Files("design", _BOLD5000_ARTICLE, ("repeated_stimuli_113_list.txt",), needed=False),
        Files("regions", _BOLD5000_ARTICLE, ("{subject}_brainmask.nii.gz",)),
        Files("regions", _ROIS, ("derivatives/spm/sub-{subject}/sub-{subject}_mask-[LR]H*.nii.gz",), needed=False),
        Files(
            "betas", _BOLD5000_ARTICLE, ("{subject}_GLMbetas-TY[PB]ED-FITHRF-GLMDENOISE-RR_ses-{session:02}.nii.gz",)
        ),
    ),
    by_hand=(
        "pictures: the folder Presented_Stimuli and repeated_stimuli_113_list.txt of the zip of stimuli; its address is not "
        "listed here, see https://github.com/BOLD5000-dataset/BOLD5000",
    ),
    experiment=lambda folder, subject, _: {"kind": "bold5000", "root": str(folder), "subject": subject},
    terms="read the licence of the betas at https://figshare.com/articles/dataset/_/14456124, which is not listed here",
    word="read",
)

THINGS = OpenData(
    name="things",
    holds="THINGS-fMRI: 3 people, 12 sessions, 8,640 training pictures once and 100 test pictures 12 times, 3 T",
    size="not listed here",
    licence="raw data (OpenNeuro ds004192) CC0; betas (figshare): not listed here",
    page="https://github.com/ViCCo-Group/THINGS-data",
    sessions={"sub-01": 12, "sub-02": 12, "sub-03": 12},
    files=(),
    by_hand=(
        "betas as tables (betas_csv of a figshare collection, whose address is not listed here, see "
        "https://github.com/ViCCo-Group/THINGS-data): sub-01_ResponseData.h5, sub-01_StimulusMetadata.csv, "
        "sub-01_VoxelMetadata.csv",
        "pictures, as images/; where to get them is not listed here",
    ),
    experiment=lambda folder, subject, _: {
        "kind": "things",
        "root": str(folder),
        "subject": int(subject.removeprefix("sub-")),
        "unit": "raw",
    },
)

GOD = OpenData(
    name="god",
    holds="Generic Object Decoding: 5 people, 1,200 training pictures, 50 test pictures 35 times, imagery, 3 T",
    size="not listed here: the server's listing says it before a download",
    licence="not listed here: see figshare 7387130",
    page="https://github.com/KamitaniLab/GenericObjectDecoding",
    sessions={f"Subject{n}": 0 for n in range(1, 6)},
    files=(Files("betas", Article(7387130), ("{subject}.h5",)),),
    by_hand=("pictures, as images/: ask the authors (https://github.com/KamitaniLab/GenericObjectDecoding)",),
    experiment=lambda folder, subject, _: {
        "kind": "bdata",
        "responses": str(folder / f"{subject}.h5"),
        "pictures": str(folder / "images"),
        "unit": "raw",
        "subject": subject,
        "regions": ["VC"],
    },
    terms="read the licence at https://figshare.com/articles/dataset/_/7387130, which is not listed here",
    word="read",
)

ALL = (NSD, NSD_SYNTHETIC, NSD_IMAGERY, LAION_FMRI, BOLD5000, THINGS, GOD)
"""All data sets, in the order in which they are listed."""
