"""What runs inside a sandbox: the program's side and the tests' side. Standard library only, no project imports."""
