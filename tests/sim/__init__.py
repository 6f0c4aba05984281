"""A simulated world: drives that lose what was not synced, a network that fails, time that costs nothing.

Everything follows from one seed. Each part can be used alone; ``tests.sim.world`` puts whole pools together.
"""
