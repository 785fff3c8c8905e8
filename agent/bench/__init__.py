"""The bench: tasks, graders and the curve table that recorded answers become."""
