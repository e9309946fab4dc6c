"""What a site keeps, for how long, and what nobody may dispose of."""
