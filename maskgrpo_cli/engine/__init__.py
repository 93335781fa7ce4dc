"""The engine: puts the stages together by name, and runs them."""
