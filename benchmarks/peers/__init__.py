"""Other networks, written by us from their papers, with random weights: how fast they are, not how good.

Nothing here uses `hear_diffres`, so that what makes that faster does not make these faster too.
"""
