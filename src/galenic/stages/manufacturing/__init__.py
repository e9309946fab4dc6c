"""Making the medicine: the production line, its virtual plant, its twin."""
