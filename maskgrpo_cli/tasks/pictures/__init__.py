"""Where pictures come from, with what is said about them: folders, tables, tars and the hub."""
