"""Programs that measure Sentinel, or try it for longer than a test does; each says at its top how it is run."""
