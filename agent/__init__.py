"""The reasoning of curveroute and its seams; nothing here knows LangGraph."""
