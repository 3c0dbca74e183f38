"""The web face: pages for people. They show what an index would answer, and why.

Every page is whole without script. People never delay installers: only a few pages are made at a
time, and nothing but opening the page of one project asks an upstream.
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
