"""Webhooks: the changes of local indexes, sent to receivers that the settings name."""

from proxy.webhooks.delivery import Delivery, StateFile, Webhook

__all__ = ["Delivery", "StateFile", "Webhook"]
