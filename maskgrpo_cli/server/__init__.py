"""The reward server: rewards over HTTP, for clients that speak `domains.scoring_protocol`."""
