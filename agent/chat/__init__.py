"""The model seam: one call in, one reply out, whether it goes to an endpoint, a local server or a recording."""

from curveroute.agent.chat.seam import Call, Chat, Reply

__all__ = ["Call", "Chat", "Reply"]
