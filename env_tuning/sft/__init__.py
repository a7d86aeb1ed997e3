"""Supervised fine-tuning for tool calling: conversations, their files, training and evaluation."""
