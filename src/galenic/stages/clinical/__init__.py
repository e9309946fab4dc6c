"""The clinical stage: patients followed by their drug levels, and advice on their doses."""
