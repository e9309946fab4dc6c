"""REST and WebSocket over the same services as every other surface."""

from galenic.app.api.build import create_app

__all__ = ["create_app"]
