"""The differential suite's machinery: conversations, their players, what they are compared with."""
