"""Events from streams into history and online, each once in effect.

How far a stream has been taken is kept in the history itself, in the write that adds the rows. So no crash can come
between the two: whoever goes on begins where history stands, and a consumer that was overtaken, because it was taken
for dead, is refused its write. What brokers know of a consumer's progress is only for their tools to show.
"""
