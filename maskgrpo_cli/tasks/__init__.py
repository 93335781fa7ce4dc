"""Tasks: data + prompt + the names of the rewards; training and evaluation share them."""
