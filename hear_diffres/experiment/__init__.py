"""The studies that motivate learnable front ends and compression of the time axis, each of them one command.

A study is a grid of cells (variant x fold x seed); `grid` runs them, in a loop or through Ray Tune, and keeps one JSON
file per finished cell. `esc`, `digits` and `compression` train networks from scratch on a task directory;
`time_frequency` is synthetic.
"""
