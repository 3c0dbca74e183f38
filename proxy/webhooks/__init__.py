"""Webhooks: the changes of local indexes, sent to receivers that the settings name."""

from proxy.webhooks.delivery import Delivery, Webhook
from proxy.webhooks.delivery_state import DeliveryState, StateFile

__all__ = ["Delivery", "DeliveryState", "StateFile", "Webhook"]
