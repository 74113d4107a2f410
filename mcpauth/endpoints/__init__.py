"""The endpoints, one file each, named after the RFC 8414 member that announces it."""
