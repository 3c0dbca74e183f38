"""The look of pages for people: templates, one style, safe READMEs and texts, plots. Knows no HTTP.

The web face and static trees share it, so that both look alike.
"""

from proxy.presentation.assets import Asset, assets
from proxy.presentation.graph import need_graph
from proxy.presentation.plots import Series, plot, sparkline
from proxy.presentation.readme import ReadmeRenderer, can_render
from proxy.presentation.rendering import FileLine, ago, day, moment, render

__all__ = [
    "Asset",
    "FileLine",
    "ReadmeRenderer",
    "Series",
    "ago",
    "assets",
    "can_render",
    "day",
    "moment",
    "need_graph",
    "plot",
    "render",
    "sparkline",
]
