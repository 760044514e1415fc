"""What a run would do, before it is run: sampled sources, throughput of earlier runs, bytes, time and money."""
