"""The one trainer: loop, optimiser groups, schedules, resume, official checkpoints."""
