"""HTTP and WebSocket server (aiohttp)."""
