"""What a set costs before anything is computed: bytes on disk and hours, from measured rates."""
