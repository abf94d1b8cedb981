"""What a run takes before it is begun: memory, the fastest layout, hours, cost."""
