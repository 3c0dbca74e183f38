"""Packages in an object store, for any number of equal machines."""

from proxy.publish.objects.object_index import ObjectIndex
from proxy.publish.objects.object_log import ObjectLog
from proxy.publish.objects.object_packages import ObjectPackages

__all__ = ["ObjectIndex", "ObjectLog", "ObjectPackages"]
