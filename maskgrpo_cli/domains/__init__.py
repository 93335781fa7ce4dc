"""Pure knowledge that tasks, rewards and evaluation share; nothing here imports torch or transformers."""
