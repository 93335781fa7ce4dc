"""`python -m maskgrpo_cli` is `maskgrpo`; `accelerate launch -m maskgrpo_cli` starts it on several processes."""

from maskgrpo_cli.cli import main

main()
