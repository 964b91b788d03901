"""Built-in model: `audio2motion` and the warp renderer."""
