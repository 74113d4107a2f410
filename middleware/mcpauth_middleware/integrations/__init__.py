"""How the frameworks that run behind the middleware learn who calls."""
