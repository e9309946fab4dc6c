"""Services on models themselves: catalogue, card, check, simulation, steady state."""
