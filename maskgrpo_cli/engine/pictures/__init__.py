"""Pictures that were drawn: grids, films, what they carry in them, and how a terminal shows them."""
