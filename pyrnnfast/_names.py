"""The names that models and their commands take; nothing is imported, as a command's help lists them."""

CELLS = ("lstm", "gru", "rnn", "rnn_relu", "gru_reset_before", "one_gate_gru")
"""Of a model's recurrent stack."""
POOLINGS = ("mean", "last", "max", "attention")
UNITS = ("char", "word")
"""What a token of a text is."""
