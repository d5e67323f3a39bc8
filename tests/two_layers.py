"""A network of two layers that the mapper solves at once, read without torch."""

NETWORK = """\
name: two
input_shape: [3, 8, 8]
edges:
  - {name: image, shape: [3, 8, 8]}
  - {name: a, shape: [4, 6, 6]}
  - {name: b, shape: [8, 6, 6]}
layers:
  - {name: conv, reads: image, writes: a, dims: {C: 3, M: 4, R: 3, S: 3, P: 6, Q: 6}}
  - {name: point, reads: a, writes: b, dims: {C: 4, M: 8, P: 6, Q: 6}}
"""
