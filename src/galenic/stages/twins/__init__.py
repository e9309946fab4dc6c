"""Services on live twins: what they know, what they foresee, and what people tell them."""
