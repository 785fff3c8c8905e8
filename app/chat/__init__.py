"""The router where a chat model stood: LangChain's messages in and out, and the graph behind."""

from curveroute.chat.router_chat import RouterChat

__all__ = ["RouterChat"]
