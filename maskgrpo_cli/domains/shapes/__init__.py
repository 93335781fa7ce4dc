"""Pictures of coloured shapes: prompts, what they state, how it is drawn, and how it is read from a picture.

    words     the closed vocabulary, scenes and their statements
    reading   a prompt in words -> the scene it asks for
    splits    scenes of the generated problems, disjoint between the splits
    drawing   a scene -> where everything lies -> a picture
    seeing    a picture -> the objects in it
    checking  objects against a scene: which statements hold, and why not
"""
