"""The web face: pages for people. They show what an index would answer, and why.

Every page is complete without scripts. People never delay installers: only a few pages are made at
a time, and only the page of one project requests from an upstream.
"""

from proxy.face.past_figures import RANGES, CountedInterval, History
from proxy.face.recent import Recent
from proxy.face.routes import Face, create_face
from proxy.face.surroundings import Surroundings

__all__ = [
    "RANGES",
    "CountedInterval",
    "Face",
    "History",
    "Recent",
    "Surroundings",
    "create_face",
]
