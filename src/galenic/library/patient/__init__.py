"""What a patient's body tells of kinetics: kidneys, size, age, genes, other drugs."""
