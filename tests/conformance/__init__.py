"""What every implementation of a port must do, run on the real ones and on the simulated ones."""
