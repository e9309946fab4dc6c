"""Mixed effects: estimate a population from the data of many, and judge the estimate."""
