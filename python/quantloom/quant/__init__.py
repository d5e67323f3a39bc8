"""Quantization of traced networks, the accuracy it leaves, and the data to measure it on; its modules load torch."""
