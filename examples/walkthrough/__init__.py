"""The main job from end to end: one authorization server, two protected MCP servers, one real client."""
