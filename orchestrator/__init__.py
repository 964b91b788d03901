"""The lip-sync service: audio chunks in, frames of a speaking face out, in real time."""
