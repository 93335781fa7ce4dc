"""Small Python tasks, made without end: what a function must do, in words, and tests of it.

    stage      one step of what is asked: its words, its Python and its meaning
    lists      a list of numbers is filtered, changed and summed up
    chains     a string, or two numbers, and what is done to them one after another
    choices    one thing or another, by a condition
    composing  specifications, and the split that each belongs to
    testing    arguments on which every slip shows, and the results that are expected
    writing    requests and programs as text, and their vocabulary
"""
