"""SadTalker: adapter, expression, head motion and paste."""
