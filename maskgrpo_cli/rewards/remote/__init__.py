"""Rewards that servers make: who is asked, over which protocol, and what becomes of every kind of failure.

`reward` is what a recipe names. `adapter` says what a protocol is; `maskgrpo`, `flow_grpo` and `chat` are the three.
`servers` knows who is well, `exchange` carries one request, `asking` spreads a batch over the servers. `pickles` reads
what published servers answer, and runs nothing of it.
"""
